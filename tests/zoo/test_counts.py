"""The three counts of every form, by matrix and in all, against the files."""

import pytest
from safetensors import safe_open

from zoo import RnnLmConfig, RnnLmForCausalLM
from zoo.counts import COUNTS, count, parameters_of, total
from zoo.layout import layout_of, read_layout

from .folders import write_checkpoint, write_classifier
from .models import VARIANTS, fill, model_of, name_of

FIELDS = {"vocab_size": 100, "embedding_size": 20, "hidden_size": 30, "num_hidden_layers": 1, "cell": "lstm"}
FIELDS |= {"tie_word_embeddings": False, "head_bias": False}
TRAIN = {"form": "tensor_train", "row_modes": [10, 10], "column_modes": [5, 6], "ranks": [7]}


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_parts_make_up_the_file(tmp_path, variant):
    model = model_of(**variant)
    folder = write_checkpoint(tmp_path / "tiny", model)
    parts, layout = count(folder), read_layout(folder)
    with safe_open(folder / "model.safetensors", "pt") as file:
        stored = sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118
    assert total(parts)["bytes"] == stored
    assert {part.name: part.parameters for part in parts} == parameters_of(layout)
    assert [part.name for part in parts[: len(layout.shapes)]] == list(layout.shapes)
    assert all(0 < part.nonzeros <= part.parameters for part in parts)
    assert sum(part.rows for part in parts if part.form == "bias") == sum(layout.biases.values())
    if variant["form"] in ("dense", "low_rank"):
        assert total(parts)["parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("spec", "words", "parameters", "nonzeros", "size"),
    [
        ({"form": "dense"}, "dense", 3000, 3000, 12_000),
        ({"form": "int8", "scheme": "row"}, "int8 row", 3000, None, 3000 + 400),
        ({"form": "int8", "scheme": "range"}, "int8 range", 3000, None, 3000 + 8),
        ({"form": "int4", "group": 8}, "int4 groups of 8", 3000, None, 1500 + 4 * 400),
        ({"form": "low_rank", "rank": 5}, "low_rank 5", 650, 650, 2600),
        (
            {"form": "low_rank", "rank": 5, "values": {"form": "int8", "scheme": "row"}},
            "low_rank 5 of int8 row",
            650,
            None,
            650 + 4 * 105,
        ),
        (TRAIN, "tensor_train 10x5-7-10x6", 350 + 420, 770, 4 * 770),
        ({"form": "sparse", "nonzeros": 300}, "sparse 300", 3000, 300, 300 * 5 + 404),
        (
            {"form": "sparse", "nonzeros": 300, "values": {"form": "int8"}},
            "sparse 300 of int8",
            3000,
            None,
            300 * 2 + 404 + 400,
        ),
    ],
)
def test_counts_of_a_form(tmp_path, spec, words, parameters, nonzeros, size):
    config = RnnLmConfig(**{**FIELDS, "weights": {"head": spec}}, eos_token_id=1)
    words_of_vocabulary = ["<unk>", "<eos>", *(f"w{number}" for number in range(98))]
    folder = write_checkpoint(tmp_path / "tiny", fill(RnnLmForCausalLM(config)), words_of_vocabulary)
    head = next(part for part in count(folder) if part.name == "head")
    assert (head.role, head.rows, head.columns, head.form) == ("head", 100, 30, words)
    assert (head.parameters, head.bytes) == (parameters, size)
    assert parameters_of(layout_of(FIELDS | {"weights": {"head": spec}}))["head"] == parameters
    if nonzeros is None:
        assert 0.8 * min(parameters, spec.get("nonzeros", parameters)) < head.nonzeros <= parameters
    else:
        assert head.nonzeros == nonzeros


def test_a_tied_matrix_counts_once_and_biases_count():
    layout = layout_of(FIELDS | {"tie_word_embeddings": True, "output_projection_size": 20, "head_bias": True})
    found = parameters_of(layout)
    assert found["embed"] == 2000 and "head" not in found and found["bias.head"] == 100 and found["bias.0"] == 120
    assert sum(found.values()) == 2000 + 120 * (20 + 30) + 600 + 100 + 120
    gru = parameters_of(layout_of(FIELDS | {"cell": "gru"}))
    assert (gru["bias.0"], gru["candidate_bias.0"]) == (90, 30)


def test_no_parts_sum_to_nothing():
    assert total([]) == dict.fromkeys(COUNTS, 0)


@pytest.mark.parametrize(("labels", "projected"), [(1, False), (2, True)])
def test_parts_of_a_text_classifier_make_up_its_file(tmp_path, labels, projected):
    folder = write_classifier(tmp_path / "tiny", labels, projected=projected, form="low_rank")
    parts, layout = count(folder), read_layout(folder)
    with safe_open(folder / "model.safetensors", "pt") as file:
        stored = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    assert total(parts)["bytes"] == sum(tensor.nbytes for tensor in stored)
    assert total(parts)["parameters"] == sum(tensor.numel() for tensor in stored)
    assert {part.name: part.parameters for part in parts} == parameters_of(layout)
    score, bias = (next(part for part in parts if part.name == name) for name in ("score", "bias.score"))
    assert score.parameters == labels * (5 if projected else 9) and score.bytes == 4 * score.parameters
    assert (bias.parameters, bias.bytes) == (labels, 4 * labels)
