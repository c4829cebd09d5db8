"""A step on every OpenCL device gives what its numpy twin gives, for every form and cell, in every shape of launch."""

from __future__ import annotations

import numpy as np
import pytest

from bench.opencl.model import OpenClModel
from bench.opencl.reference import best, rounded_model
from bench.opencl.settings import Settings, device_simd, host_simd
from tests.bench.opencl.devices import DEVICES, POCL, simds
from tests.zoo.folders import write_checkpoint
from tests.zoo.models import VARIANTS, VOCABULARY, model_of, name_of
from zoo.errors import VocabularyError, ZooError
from zoo.runtime import NumpyModel

pytestmark = pytest.mark.skipif(not DEVICES, reason="no OpenCL device; pip install 'pyopencl[pocl]'")
WORDS = np.random.default_rng(0).integers(0, VOCABULARY, 12).tolist()
SHAPES = {
    "one launch": Settings(4, 1, one_launch=True, groups=1),
    "chain of two groups": Settings(4, 1, groups=2),
    "one launch of four lanes": Settings(1, 4, one_launch=True, groups=1),
    "chain of lanes": Settings(1, 4),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(variant, half):
        key = (name_of(variant), half)
        if key not in made:
            made[key] = write_checkpoint(tmp_path_factory.mktemp("tiny"), model_of(**variant), half=half)
        return made[key]

    return folder


# A number halfway between two integers may be rounded either way, which a step carries on; test_kernels.py is exact.
ROUNDED = 2e-2


def agree(model: OpenClModel, twin: NumpyModel, atol: float) -> None:
    """Logits as the twin's; ids and log probabilities as the logits say."""
    state = None
    for word in WORDS:
        ids, log_probs = model.step(word)
        expected, state = twin.step(word, state)
        logits = model.logits()
        found = logits - np.logaddexp.reduce(logits)
        np.testing.assert_allclose(found, expected, atol=atol)
        own_ids, own = best(logits, model.top)
        assert ids == own_ids
        np.testing.assert_allclose(log_probs, own, atol=1e-5)


# Compiling takes a second or two each: every form once, the cells in the forms that have kernels of their own.
FORMS = [variant for variant in VARIANTS if variant["cell"] == "gru" and variant["projected"] and not variant["tied"]]
CELLS = [variant for variant in VARIANTS if variant["form"] == "dense" and variant["tied"]]


@pytest.mark.parametrize("variant", FORMS + CELLS, ids=name_of)
def test_every_form_and_cell(folders, variant):
    folder = folders(variant, half=False)
    agree(OpenClModel(folder, DEVICES[0], settings=SHAPES["one launch"]), rounded_model(folder), ROUNDED)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "one launch"])
@pytest.mark.parametrize(
    "variant",
    [
        {"cell": "lstm", "projected": True, "form": "int8", "tied": True},
        {"cell": "lstm", "projected": False, "form": "int4", "tied": False},
        {"cell": "gru", "projected": True, "form": "sparse-int8", "tied": False},
    ],
    ids=name_of,
)
def test_every_shape_of_launch(folders, variant, shape):
    folder = folders(variant, half=True)
    agree(OpenClModel(folder, DEVICES[0], settings=SHAPES[shape]), rounded_model(folder), ROUNDED)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_every_device_with_its_own_settings(folders, device):
    folder = folders({"cell": "lstm", "projected": True, "form": "int8", "tied": True}, half=True)
    agree(OpenClModel(folder, device), rounded_model(folder), ROUNDED)


@pytest.mark.parametrize("form", ["dense", "int8", "int8-range", "int4", "low_rank-int8"])
@pytest.mark.parametrize(
    "simd", simds() or [pytest.param(0, marks=pytest.mark.skip(reason="no PoCL on an x86 with AVX2"))]
)
def test_instructions_of_the_processor(folders, form, simd):
    folder = folders({"cell": "lstm", "projected": True, "form": form, "tied": True}, half=True)
    settings = Settings(8 * simd, 1, simd, one_launch=True, groups=1)
    agree(OpenClModel(folder, POCL, settings=settings), rounded_model(folder), ROUNDED)


def test_float_storage(folders):
    folder = folders({"cell": "lstm", "projected": True, "form": "dense", "tied": True}, half=True)
    twin = NumpyModel(folder)
    for storage in ("stored", "fp16", "fp32"):
        model = OpenClModel(folder, DEVICES[0], storage=storage)
        assert model.storage == ("fp32" if storage == "fp32" else "fp16")
        agree(model, twin, 1e-5)
    half = OpenClModel(folder, DEVICES[0], storage="fp16").touched
    assert half < OpenClModel(folder, DEVICES[0], storage="fp32").touched <= 2 * half


@pytest.mark.parametrize("form", ["int8", "int8-range", "int4", "low_rank-int8"])
@pytest.mark.parametrize("cell", ["cifg", "gru"])
def test_unpacked_integers_multiply_what_is_not_rounded(folders, form, cell):
    folder = folders({"cell": cell, "projected": True, "form": form, "tied": True}, half=False)
    agree(OpenClModel(folder, DEVICES[0], storage="unpacked"), NumpyModel(folder), 1e-5)


@pytest.mark.parametrize("cell", ["cifg", "gru", "lstm", "rnn"])
def test_a_state_goes_on_elsewhere(folders, cell):
    """After an odd and an even number of steps, as the state lies in another place then."""
    folder = folders({"cell": cell, "projected": cell != "rnn", "form": "dense", "tied": True}, half=False)
    twin, model, other = NumpyModel(folder), OpenClModel(folder, DEVICES[0]), OpenClModel(folder, DEVICES[0])
    state = None
    for word in WORDS[:6]:
        model.step(word)
        _, state = twin.step(word, state)
        for pair, (h, c) in zip(model.state(), state, strict=True):
            np.testing.assert_allclose(pair[0], h, atol=1e-5)
            np.testing.assert_allclose(pair[1], c, atol=1e-5)
        other.load_state(model.state())
        other.step(WORDS[6])
        logits = other.logits()
        np.testing.assert_allclose(logits - np.logaddexp.reduce(logits), twin.step(WORDS[6], state)[0], atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_a_screened_step_has_the_same_best_words(folders, tied):
    folder = folders({"cell": "lstm", "projected": True, "form": "int8", "tied": tied}, half=True)
    shapes = [SHAPES["one launch"], *(Settings(8 * simd, 1, simd, one_launch=True, groups=1) for simd in simds())]
    for settings in shapes:
        whole, screened = (
            OpenClModel(folder, DEVICES[0], settings=settings, screen=screen) for screen in (False, True)
        )
        assert screened.screened and not whole.screened
        for word in WORDS:
            (ids, expected), (found, log_probs) = whole.step(word), screened.step(word)
            assert found == ids
            np.testing.assert_allclose(log_probs, expected, atol=0.05)
        with pytest.raises(ZooError, match="make the model with screen=False"):
            screened.logits()
    for other in (SHAPES["chain of lanes"], SHAPES["one launch of four lanes"]):
        assert not OpenClModel(folder, DEVICES[0], settings=other, screen=True).screened


def test_reset_begins_again(folders):
    folder = folders({"cell": "lstm", "projected": False, "form": "dense", "tied": True}, half=False)
    model = OpenClModel(folder, DEVICES[0])
    first = [model.step(word) for word in WORDS[:5]]
    model.reset()
    assert [model.step(word) for word in WORDS[:5]] == first
    assert model.step(WORDS[0]) != first[0]


def test_more_words_and_times(folders):
    folder = folders({"cell": "rnn", "projected": False, "form": "dense", "tied": True}, half=False)
    model = OpenClModel(folder, DEVICES[0], top=VOCABULARY, profile=True)
    ids, log_probs = model.step(3)
    assert sorted(ids) == list(range(VOCABULARY))
    assert np.exp(log_probs).sum() == pytest.approx(1, abs=1e-5)
    assert model.device_seconds() > 0


def test_refusals(folders):
    folder = folders({"cell": "rnn", "projected": False, "form": "dense", "tied": True}, half=False)
    with pytest.raises(ZooError, match="storage is 'fp8'; give one of stored, fp32, fp16, unpacked"):
        OpenClModel(folder, DEVICES[0], storage="fp8")
    with pytest.raises(VocabularyError, match=f"top is 0; this model can give 1 to {VOCABULARY} words"):
        OpenClModel(folder, DEVICES[0], top=0)
    model = OpenClModel(folder, DEVICES[0])
    with pytest.raises(VocabularyError, match="the id 31 is outside this vocabulary"):
        model.step(VOCABULARY)
    with pytest.raises(ZooError, match="only with profile=True"):
        model.device_seconds()
    with pytest.raises(ZooError, match="simd 1 has vectors of 8 floats, not 4"):
        Settings(4, 1, 1)


def test_a_device_has_instructions_of_the_host():
    assert all(device_simd(device) in range(host_simd() + 1) for device in DEVICES)
