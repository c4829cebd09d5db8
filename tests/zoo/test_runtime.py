"""The numpy step against the torch model, what is refused, and suggestions."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from zoo.errors import CheckpointError, VocabularyError, ZooError
from zoo.loading import load
from zoo.runtime import NumpyModel
from zoo.suggestions import Suggester
from zoo.tensors import TensorFile
from zoo.tokenization import build_tokenizer

from .folders import WORDS, write_checkpoint
from .models import VARIANTS, VOCABULARY, model_of, name_of


@pytest.fixture
def folder(tmp_path):
    return write_checkpoint(tmp_path / "tiny")


def change_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def log_probs_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].log_softmax(-1).numpy()


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_steps_equal_the_torch_model(tmp_path, variant):
    model, ids = model_of(**variant), [1, 5, 30, 0, 7, 7, 12]
    numpy_model, state = NumpyModel(write_checkpoint(tmp_path / "tiny", model)), None
    for token, expected in zip(ids, log_probs_of(model, ids), strict=True):
        log_probs, state = numpy_model.step(token, state)
        np.testing.assert_allclose(log_probs, expected, atol=1e-4, rtol=1e-5)
        assert log_probs.dtype == np.float32 and log_probs.shape == (VOCABULARY,)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_layer_with_a_form_of_its_own_and_no_head_bias(tmp_path, layers):
    model = model_of(cell="gru", layers=layers, head_bias=False)
    last = f"recurrent.{layers - 1}"
    model = type(model)(
        type(model.config)(**(model.config.to_dict() | {"weights": {last: {"form": "low_rank", "rank": 2}}}))
    ).eval()
    numpy_model = NumpyModel(write_checkpoint(tmp_path / "tiny", model))
    log_probs, _ = numpy_model.step(4)
    np.testing.assert_allclose(log_probs, log_probs_of(model, [4])[0], atol=1e-4)


def test_float16_file_gives_what_torch_gives(tmp_path):
    folder = write_checkpoint(tmp_path / "tiny", half=True)
    model, _ = load(folder)
    assert model.dtype == torch.float32
    np.testing.assert_allclose(NumpyModel(folder).step(3)[0], log_probs_of(model, [3])[0], atol=1e-4)


def test_the_state_given_is_left_as_it_is(folder):
    model = NumpyModel(folder)
    _, state = model.step(1)
    copy = [(h.copy(), c.copy()) for h, c in state]
    first, _ = model.step(5, state)
    model.step(9, state)
    for (h, c), (same_h, same_c) in zip(state, copy, strict=True):
        assert (h == same_h).all() and (c == same_c).all()
    assert (model.step(5, state)[0] == first).all()


@pytest.mark.parametrize("token", [-1, VOCABULARY, 10**9, "the", 1.5, None])
def test_an_id_outside_the_vocabulary(folder, token):
    with pytest.raises(VocabularyError, match=rf"outside this vocabulary of {VOCABULARY} words; allowed: 0 to 30"):
        NumpyModel(folder).step(token)


def test_a_state_of_another_model(folder, tmp_path):
    _, state = NumpyModel(write_checkpoint(tmp_path / "other", model_of(layers=1))).step(1)
    with pytest.raises(ZooError, match="state is of another model"):
        NumpyModel(folder).step(1, state)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 8}, r"has model\.layers\.0\.\w+.* of shape \[36.*\] and config\.json asks for \[32"),
        ({"num_hidden_layers": 3}, r"lacks the tensor model\.layers\.2\..* \[36.*\] that config\.json asks for"),
        (
            {"num_hidden_layers": 1},
            r"has the tensor model\.layers\.1\.bias and 2 more, which config\.json has no place",
        ),
        ({"cell": "gru"}, r"has model\.layers\.0\.\w+.* of shape \[36"),
        ({"weights": {"input": {"form": "low_rank", "rank": 3}}}, r"lacks the tensor model\.layers\.0\.input\.left"),
        ({"tie_word_embeddings": False}, r"lacks the tensor lm_head\.weight \[31, 7\]"),
        ({"head_bias": False}, r"has the tensor lm_head\.bias, which"),
    ],
)
@pytest.mark.parametrize("read", [NumpyModel, load], ids=["numpy", "torch"])
def test_config_and_weights_that_do_not_belong_together(folder, fields, message, read):
    change_config(folder, **fields)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": "9"},
        {"hidden_size": 0},
        {"hidden_size": None},
        {"hidden_size": True},
        {"projection_size": -1},
        {"embedding_size": 5},
        {"cell": "transformer"},
        {"weights": {"input": "low_rank"}},
        {"weights": {"input": {"form": "unheard_of"}}},
        {"weights": {"input": {"form": "low_rank", "rank": 0}}},
        {"weights": {"input": {"form": "low_rank", "rank": 8}}},
        {"weights": {"input": {"form": "int8"}}},
        {"weights": {"inptu": {"form": "dense"}}},
        {"weights": {"head": {"form": "dense"}}},
        {"weights": 7},
        {"tie_word_embeddings": "no"},
    ],
)
@pytest.mark.parametrize("read", [NumpyModel, load], ids=["numpy", "torch"])
def test_impossible_configs(folder, fields, read):
    change_config(folder, **fields)
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [NumpyModel, load], ids=["numpy", "torch"])
@pytest.mark.parametrize("kept", [0, 7, 60, -3])
def test_weights_cut_off(folder, read, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged"):
        read(folder)


def test_weights_that_are_not_numbers(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.bias"][3] = np.nan
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="no finite probabilities"):
        NumpyModel(folder).step(1)


@pytest.mark.parametrize(("kind", "stored"), [("bfloat16", "BF16"), ("float64", "F64")])
def test_floats_that_numpy_lacks_or_that_are_wide(folder, kind, stored):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = {name: tensor.to(getattr(torch, kind)) for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    model, _ = load(folder)
    numpy_model = NumpyModel(folder)
    assert next(iter(TensorFile(folder).header.values()))["dtype"] == stored
    np.testing.assert_allclose(numpy_model.step(3)[0], log_probs_of(model.float(), [3])[0], atol=1e-4)


def test_integers_where_the_config_asks_for_floats(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.bias"] = tensors["lm_head.bias"].astype(np.int32)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"stores lm_head\.bias as I32 and config\.json asks for F16 or F32"):
        NumpyModel(folder)


def test_suggestions_are_the_most_probable_words(folder):
    model, tokenizer = load(folder)
    expected = np.exp(log_probs_of(model, [1, *tokenizer("w4 w20")["input_ids"]])[-1])
    found = Suggester(folder).suggest("w4 w20", k=VOCABULARY - 2)
    order = [i for i in np.argsort(-expected, kind="stable") if i > 1]
    assert [word for word, _ in found] == [WORDS[i] for i in order]
    np.testing.assert_allclose([probability for _, probability in found], expected[order], atol=1e-5)


def test_special_words_are_suggested_when_asked_for(folder):
    suggester = Suggester(folder)
    everything = suggester.suggest("w4", k=VOCABULARY, special=True)
    assert {word for word, _ in everything} == set(WORDS)
    assert sum(probability for _, probability in everything) == pytest.approx(1, abs=1e-5)
    assert not {"<eos>", "<unk>"} & {word for word, _ in suggester.suggest("w4", k=VOCABULARY - 2)}


@pytest.mark.parametrize("k", [0, -1, VOCABULARY - 1, 10**9, True, 2.0])
def test_a_number_of_suggestions_that_cannot_be(folder, k):
    with pytest.raises(VocabularyError, match=r"can suggest 1 to 29 words"):
        Suggester(folder).suggest("w4", k=k)


def test_case_and_unknown_words(tmp_path):
    words = ["<unk>", "<eos>", "N", "the", "Paris", *WORDS[5:]]
    suggester = Suggester(write_checkpoint(tmp_path / "tiny", words=words))
    assert suggester.suggest("The N paris rome Paris") == suggester.suggest("the N Paris <unk> Paris")
    assert suggester.unknown_words("The N rome Paris <unk> xyz\nw7") == ["rome", "xyz"]
    assert suggester.suggest("the\nw7") == suggester.suggest("the <eos> w7")
    assert suggester.suggest("") == suggester.suggest("  ") != suggester.suggest("the")
    assert suggester.suggest("\udcff") == suggester.suggest("<unk>")


def test_a_vocabulary_without_unknown_words(tmp_path):
    suggester = Suggester(write_checkpoint(tmp_path / "tiny", words=["a", "<eos>", *WORDS[2:]]))
    assert len(suggester.suggest("a w5", k=30)) == 30
    with pytest.raises(VocabularyError, match="neither the word 'strange' nor <unk>"):
        suggester.suggest("a strange w5")


def test_a_tokenizer_of_another_vocabulary(folder):
    build_tokenizer(WORDS[:-1]).save_pretrained(folder)
    with pytest.raises(CheckpointError, match="another vocabulary"):
        Suggester(folder)


def test_words_are_timed(folder):
    suggester = Suggester(folder)
    assert suggester.ms_per_word is None
    suggester.suggest("w4 w5")
    assert suggester.ms_per_word > 0


def test_suggesting_imports_neither_torch_nor_transformers(folder):
    code = (
        "import sys; from zoo.cli import main; code = main(['suggest', 'w4 w5', '--model', sys.argv[1]]); "
        "heavy = {'torch', 'transformers', 'datasets', 'evaluate', 'huggingface_hub'} & set(sys.modules); "
        "print(heavy, file=sys.stderr); sys.exit(code or bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "MB" in done.stdout.splitlines()[-1]
