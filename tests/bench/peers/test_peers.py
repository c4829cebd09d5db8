"""The libraries give the same three words as the numpy step, in fp32, whatever the cell and the weight form."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest

from bench.contenders import CONTENDERS, Step
from bench.peers.network import one_step
from bench.peers.numpy_step import NumpyStep
from bench.touched import dense_bytes, loaded_bytes, touched_bytes
from tests.zoo.folders import write_checkpoint
from tests.zoo.models import model_of
from zoo.errors import ZooError

# Of libraries that deprecate what they are still best at.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
TOKENS = [2, 5, 3, 30, 2, 2, 7, 9, 11, 4, 1, 0]
PEERS = {name: place for name, place in CONTENDERS.items() if place[0].startswith("bench.peers.")}
EXACT = [name for name in PEERS if name.endswith("-fp32") or name in ("torch", "torch-step", "plain-torch", "c")]
SMALL = [name for name in PEERS if name.endswith(("-int8", "-int4", "-fp16"))]
MODELS = {
    "projected lstm": dict(projected=True, tied=False),
    "int8 lstm, tied": dict(form="int8"),
    "low rank lstm": dict(form="low_rank-int4", tied=False),
    "gru": dict(cell="gru"),
    "projected gru in trains": dict(cell="gru", projected=True, form="tensor_train", tied=False),
    "rnn": dict(cell="rnn", form="sparse"),
}


def opened(name: str, folder, work) -> Step:
    """The contender over a folder; skips where its packages are absent or it is not meant for the model."""
    module, variant = PEERS[name]
    try:
        loaded = importlib.import_module(module)
        work.mkdir()
        loaded.prepare(folder, work, variant)
        return loaded.open_step(folder, work, variant, 1)
    except ImportError as error:
        pytest.skip(f"{name}: {error}; type: pip install -e '.[{loaded.EXTRA}]'")
    except ZooError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("model", MODELS)
def test_fp32_gives_the_same_words(tmp_path, name, model):
    if name == "openvino-fp32" and "trains" in model:
        pytest.skip("OpenVINO 2026.4 cannot compile this graph: 'Layout rank can't be larger than tensor rank'")
    folder = write_checkpoint(tmp_path / "tiny", model_of(**MODELS[model]))
    step, reference = opened(name, folder, tmp_path / "work"), NumpyStep(folder)
    for _ in range(2):  # the second time from the beginning again
        for token in TOKENS:
            (ids, values), (expected, log_probs) = step(token), reference(token)
            assert ids == expected
            differences = np.subtract(values, log_probs)  # a constant: they may be logits
            assert np.ptp(differences) < 1e-3
        step.reset()
        reference.reset()


@pytest.mark.parametrize("name", SMALL)
def test_fewer_bits_change_little_and_the_state_counts(tmp_path, name):
    folder = write_checkpoint(tmp_path / "tiny", model_of(projected=True, tied=False))
    step, reference = opened(name, folder, tmp_path / "work"), NumpyStep(folder)
    same = [len({*step(token)[0]} & {*reference(token)[0]}) for token in TOKENS]
    assert sum(same) / len(same) > (1.5 if name.endswith("int4") else 2)
    first = [step(token)[0] for token in TOKENS]
    step.reset()
    assert first[0] != step(TOKENS[0])[0] or first[1] != step(TOKENS[1])[0]
    facts = step.describe()
    assert facts["format"] and facts["versions"] and facts["file_bytes"] > 0 and facts["touched_bytes"] > 0


@pytest.mark.parametrize("name", PEERS)
def test_modules_have_what_a_contender_has(name):
    module, variant = PEERS[name]
    loaded = importlib.import_module(module)
    assert variant in loaded.VARIANTS and isinstance(loaded.EXTRA, str)
    assert list(inspect.signature(loaded.prepare).parameters) == ["folder", "work", "variant"]
    assert list(inspect.signature(loaded.open_step).parameters) == ["folder", "work", "variant", "threads"]


def test_a_library_is_fed_with_joined_products(tmp_path):
    model = one_step(write_checkpoint(tmp_path / "tiny", model_of(form="int8"))).lm
    assert all(
        tuple(layer.joined.weight.shape) == (36, columns)
        for layer, columns in zip(model.model.layers, (16, 18), strict=True)
    )
    factored = one_step(write_checkpoint(tmp_path / "factored", model_of(form="low_rank"))).lm
    assert all(layer.joined is None for layer in factored.model.layers)


def test_touched_bytes_by_hand(tmp_path):
    untied = write_checkpoint(tmp_path / "untied", model_of(tied=False, layers=1))
    matrices, biases = 7 + 36 * 7 + 36 * 9 + 31 * 9, 36 + 31
    assert touched_bytes(untied) == loaded_bytes(untied) == dense_bytes(untied) == 4 * (matrices + biases)
    scales = 36 + 36 + 31
    assert touched_bytes(untied, 8) == matrices + 4 * (scales + biases + 1)  # the row's scale too
    tied = write_checkpoint(tmp_path / "tied", model_of(layers=1, form="int8"))
    whole = 31 * 7 + 36 * 7 + 36 * 9 + 7 * 9
    assert loaded_bytes(tied) == whole + 4 * (31 + 36 + 36 + 7 + biases)
