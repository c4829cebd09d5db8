"""The layout read without torch against RnnLmConfig: the same matrices, forms and refusals."""

import re

import pytest

from zoo import RnnLmConfig
from zoo.errors import CheckpointError
from zoo.layout import layout_of, prefix_of, read_layout
from zoo.modeling_rnnlm import RnnLmForCausalLM

from .folders import write_checkpoint
from .models import model_of

FIELDS = {
    "vocab_size": 24,
    "embedding_size": 12,
    "hidden_size": 10,
    "num_hidden_layers": 2,
    "cell": "lstm",
    "tie_word_embeddings": False,
}
PROJECTED = {"projection_size": 6}
TRAIN = {"form": "tensor_train", "row_modes": [4, 6], "column_modes": [2, 5], "ranks": [3]}
GOOD = [
    {},
    {"weights": {"embed": {"form": "low_rank", "rank": 12}, "head": TRAIN}},
    {"weights": {"input": {"form": "int8", "scheme": "range"}, "input.1": {"form": "int4", "group": 64}}},
    {"weights": {"recurrent": {"form": "sparse", "nonzeros": 400, "values": {"form": "int8"}}}},
    {"weights": {"recurrent": {"form": "low_rank", "rank": 2, "values": {"form": "int8", "scheme": "row"}}}},
    {"cell": "gru", **PROJECTED, "weights": {"recurrent": {"form": "low_rank", "rank": 4}}},
    {
        "cell": "gru",
        **PROJECTED,
        "weights": {
            "recurrent.1": {"form": "low_rank", "rank": 4},
            "candidate": TRAIN | {"row_modes": [5, 2], "column_modes": [2, 3]},
        },
    },
    {"tie_word_embeddings": True, "output_projection_size": 12, "weights": {"embed": {"form": "low_rank", "rank": 3}}},
]
# Fields that are refused, and what the message without torch says of them.
BAD = [
    ({"weights": {"head": {"form": "low_rank", "rank": 11}}}, "has rank 11 for 24 x 10; it must be at most 10"),
    ({"weights": {"head": {"form": "low_rank", "rank": 0}}}, "has 0 as rank; it must be a whole number"),
    ({"weights": {"head": {"form": "low_rank", "rank": True}}}, "has True as rank"),
    ({"weights": {"head": {"form": "low_rank"}}}, r"has the fields \(none\); it needs rank, and may have values"),
    ({"weights": {"head": {"form": "low_rank", "rank": 3, "bits": 8}}}, "has the fields bits, rank; it needs rank"),
    ({"weights": {"head": {"form": "lowrank", "rank": 3}}}, "must be .*one of dense, int8, int4, low_rank"),
    ({"weights": {"head": {"form": "dense", "rank": 3}}}, "has the fields rank; it needs none"),
    ({"weights": {"head": {"form": "int8"}}}, "it needs scheme"),
    ({"weights": {"head": {"form": "int8", "scheme": "column"}}}, "scheme 'column'; it must be row or range"),
    ({"weights": {"head": {"form": "int8", "scheme": 3}}}, "has 3 as scheme; it must be a text"),
    ({"weights": {"head": {"form": "int4", "group": 7}}}, "group 7; it must be even, e.g. 8"),
    ({"weights": {"head": {"form": "sparse", "nonzeros": 241}}}, "has 241 nonzeros for 24 x 10; at most 240"),
    ({"weights": {"head": {"form": "sparse", "nonzeros": 9, "values": {"form": "int4", "group": 2}}}}, "as values"),
    ({"weights": {"head": TRAIN | {"row_modes": [4, 5]}}}, r"row_modes \[4, 5\].*to 20, not 24; e.g. \[4, 6\] do"),
    ({"weights": {"head": TRAIN | {"column_modes": [10]}}}, "2 row_modes, 1 column_modes and 1 ranks"),
    ({"weights": {"head": TRAIN | {"ranks": [3, 3]}}}, "2 row_modes, 2 column_modes and 2 ranks"),
    ({"weights": {"head": TRAIN | {"ranks": [9]}}}, r"has ranks \[9\]; with these modes they are at most \[8\]"),
    ({"weights": {"head": TRAIN | {"ranks": [2.0]}}}, "as ranks; it must be a list of whole numbers"),
    ({"weights": {"head": TRAIN | {"values": {"form": "int8"}}}}, "values of tensor_train, int8, has the fields"),
    ({"weights": {"head": TRAIN | {"values": {"form": "sparse", "nonzeros": 3}}}}, "one of dense, int8, int4, ..."),
    ({"weights": {"head": TRAIN | {"values": {"form": "int4", "group": 3}}}}, "tensor_train of, int4, has the group 3"),
    ({"weights": {"haed": {"form": "dense"}}}, "'haed', which this model has not; it has embed, input"),
    ({"weights": {"input.2": {"form": "dense"}}}, "a layer's own are input.0 to input.1"),
    ({"weights": {"embed.0": {"form": "dense"}}}, "'embed.0', which this model has not"),
    ({"weights": {"projection": {"form": "dense"}}}, "'projection', which this model has not"),
    ({"weights": {"candidate": {"form": "dense"}}}, "'candidate', which this model has not"),
    (
        {"weights": {"head": {"form": "dense"}}, "tie_word_embeddings": True, "output_projection_size": 12},
        "'head', which this model has not.*the head is tied to embed",
    ),
    # The candidate of a projected GRU [10, 6] has the form of its other recurrent matrix [12, 6] unless told otherwise.
    (
        {"cell": "gru", **PROJECTED, "weights": {"recurrent": TRAIN | {"row_modes": [3, 4], "column_modes": [2, 3]}}},
        r"weights of candidate.0, tensor_train, has row_modes \[3, 4\]",
    ),
]


@pytest.mark.parametrize("more", GOOD)
def test_matrices_are_those_of_the_config(more):
    layout, config = layout_of(FIELDS | more), RnnLmConfig(**{**FIELDS, **more})
    assert layout.shapes == config.shapes
    for name in layout.shapes:
        role, _, number = name.partition(".")
        assert layout.spec(name) == config.form_of(role, int(number) if number else None)


@pytest.mark.parametrize(("more", "message"), BAD)
def test_what_is_refused(more, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        layout_of(FIELDS | more, "there")
    assert str(caught.value).startswith("there") and "\n" not in str(caught.value)
    with pytest.raises(Exception):  # noqa: B017  the library's own classes
        RnnLmConfig(**{**FIELDS, **more})


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_names_and_lengths_of_tensors(tmp_path, cell, projected, tied):
    model = model_of(cell=cell, projected=projected, tied=tied)
    layout = read_layout(write_checkpoint(tmp_path / "tiny", model))
    left_out = model.all_tied_weights_keys if tied else {}
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in left_out}
    found = {f"{prefix_of(name)}.weight": shape for name, shape in layout.shapes.items()}
    assert found | {name: (length,) for name, length in layout.biases.items()} == expected


def test_without_a_bias_of_the_head():
    layout, config = layout_of(FIELDS | {"head_bias": False}), RnnLmConfig(**{**FIELDS, "head_bias": False})
    biases = {name for name in RnnLmForCausalLM(config).state_dict() if re.search(r"bias$", name)}
    assert set(layout.biases) == biases == {"model.layers.0.bias", "model.layers.1.bias"}


CLASSIFIES = {"architectures": ["RnnLmForSequenceClassification"]}


@pytest.mark.parametrize(
    ("more", "labels", "told"),
    [
        ({}, 2, "2 x LSTM 10, embedding 12, vocabulary 24, 2 classes"),
        ({"id2label": {"0": "rating"}}, 1, "2 x LSTM 10, embedding 12, vocabulary 24, a number"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}, "tie_word_embeddings": True}, 3, "2 x LSTM 10, embedding 12"),
        ({"projection_size": 6}, 2, "2 x LSTM 10, projection 6, embedding 12, vocabulary 24, 2 classes"),
    ],
)
def test_a_text_classifier_has_a_score_and_no_head(more, labels, told):
    layout, language = layout_of(FIELDS | CLASSIFIES | more), layout_of(FIELDS | {**more, "tie_word_embeddings": False})
    assert layout.labels == labels and language.labels is None
    assert layout.shapes == {name: shape for name, shape in language.shapes.items() if name != "head"} | {
        "score": (labels, layout.layer_output_size)
    }
    assert layout.biases == {name: size for name, size in language.biases.items() if name != "lm_head.bias"} | {
        "score.bias": labels
    }
    assert layout.describe().startswith(told) and prefix_of("score") == "score"
    with pytest.raises(CheckpointError, match="tiny is a text classifier, and latency is measured of language models"):
        layout.check_language_model("tiny", "latency is measured of")
    language.check_language_model("tiny", "latency is measured of")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"id2label": ["a", "b"]}, "as id2label; it must be an object with a name per label"),
        (
            {"weights": {"score": {"form": "dense"}}},
            "'score', which this model has not; it has embed, input, recurrent",
        ),
        ({"weights": {"head": {"form": "dense"}}}, "'head', which this model has not"),
    ],
)
def test_what_is_refused_of_a_text_classifier(more, message):
    with pytest.raises(CheckpointError, match=message):
        layout_of(FIELDS | CLASSIFIES | more, "there")
