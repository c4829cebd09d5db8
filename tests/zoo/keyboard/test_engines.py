"""The same suggestions, states and digest from every engine, over sentences typed a key at a time."""

import contextlib
import importlib.util
import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from zoo.errors import CheckpointError, ZooError
from zoo.keyboard import Keyboard, KeyboardModel
from zoo.keyboard.engines import ENGINES, log_softmax, open_engine

from .invented import WORDS, scripted, write_keyboard

SENTENCES = 8
VARIANTS = [{}, {"cell": "lstm", "form": "int8"}, {"cell": "gru", "projected": False, "layers": 1}]


@pytest.fixture(scope="module", params=VARIANTS, ids=["cifg", "lstm-int8", "gru"])
def folder(request, tmp_path_factory):
    folder = write_keyboard(tmp_path_factory.mktemp("models") / "tiny", **request.param)
    if importlib.util.find_spec("onnxruntime"):
        from conversion.exporters.export import export

        export(folder, "onnx", variants="fp32")
    with contextlib.suppress(ZooError):  # no compiler
        from conversion.exporters.export import export

        export(folder, "c")
    return folder


def opened(name, folder):
    """A model in an engine; skips where its packages are not installed."""
    if name == "opencl":
        pytest.importorskip("pyopencl")
        from bench.opencl.devices import device_of

        try:
            device_of()
        except ZooError as error:
            pytest.skip(str(error))
    if name.startswith("onnx"):
        pytest.importorskip("onnxruntime")
    if name == "c":
        from conversion.exporters.c_library import compiler

        try:
            compiler()
        except ZooError as error:
            pytest.skip(str(error))
    return KeyboardModel(folder, name)


def typed(keyboard, seed=0):
    """What is suggested at every key of random sentences, with the digest of each."""
    generator, seen = np.random.default_rng(seed), []
    for _ in range(SENTENCES):
        keyboard.reset()
        for word in generator.choice([*WORDS[2:], "zork", "Zonk"], generator.integers(2, 8)):
            for letters in range(min(len(word), 3) + 1):
                seen.append([one.text for one in keyboard.suggest(str(word[:letters]))])
            keyboard.commit(str(word))
        seen.append([keyboard.digest])
    return seen


@pytest.mark.parametrize("name", ["torch", "onnx", "opencl", "c"])
def test_same_answers_as_numpy(name, folder):
    assert typed(Keyboard(opened(name, folder), private=True)) == typed(Keyboard(folder, private=True))


@pytest.mark.parametrize("name", ["torch", "onnx", "opencl", "c"])
def test_a_text_goes_on_in_another_engine(name, folder):
    here, there = Keyboard(folder), Keyboard(opened(name, folder))
    for word in ("it", "is", "good"):
        here.commit(word)
    there.restore(json.loads(json.dumps(here.save())))
    there.personal.load(here.personal.export())
    assert [one.text for one in there.suggest("t")] == [one.text for one in here.suggest("t")]
    here.commit("they"), there.commit("they")
    assert here.digest == there.digest
    np.testing.assert_allclose(
        here._point.after[0][0], there._point.after[0][0], atol=2e-3
    )  # OpenCL multiplies 8-bit matrices in 8 bits


@pytest.mark.parametrize("name", ["numpy", "torch", "onnx", "opencl", "c"])
def test_a_step_leaves_its_arguments_alone(name, folder):
    engine = opened(name, folder).engine
    _, state = engine.step(3, None)
    kept = [(h.copy(), c.copy()) for h, c in state]
    first, after = engine.step(4, state)
    again, _ = engine.step(4, state)
    assert np.array_equal(first, again) and first.dtype == np.float32
    engine.step(5, after)
    assert all(
        np.array_equal(a, b) for old, new in zip(kept, state, strict=True) for a, b in zip(old, new, strict=True)
    )
    assert np.exp(first).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["numpy", "opencl", "c"])
def test_threads_share_a_model(name, folder):
    model, found = opened(name, folder), {}

    def write(seed):
        found[seed] = typed(Keyboard(model, private=True), seed)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[seed] == typed(Keyboard(model, private=True), seed) for seed in range(3))


def test_unknown_engines_are_named(folder):
    with pytest.raises(ZooError, match="no engine 'jax'; allowed: numpy, torch"):
        open_engine("jax", folder)


def test_missing_files_say_what_to_type(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(CheckpointError, match=r"has no onnx/model_int8.onnx; type: zoo export .* --to onnx"):
        KeyboardModel(write_keyboard(tmp_path / "tiny"), "onnx-int8")


def test_c_needs_no_files(tmp_path):
    from conversion.exporters.export import export

    folder = write_keyboard(tmp_path / "tiny")
    alone = typed(Keyboard(opened("c", folder), private=True), 3)
    export(folder, "c")
    (folder / "c" / "rnnlm_blocks.c").write_text("other code")
    with pytest.raises(ZooError, match="cannot compile"):  # which is taken where there is some
        KeyboardModel(folder, "c")
    assert alone == typed(Keyboard(KeyboardModel(folder, "numpy"), private=True), 3)


def test_missing_packages_say_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "pyopencl", None)
    for name, extra in (("onnx", "export"), ("opencl", "opencl")):
        with pytest.raises(ZooError, match=f"rnnlm-zoo\\[{extra}\\]"):
            ENGINES[name](tmp_path)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(CheckpointError, match="no finite probabilities"):
        log_softmax(np.array([1, np.nan], np.float32))


def test_vocabulary_and_model_of_different_sizes():
    model = scripted()
    with pytest.raises(CheckpointError, match="of different checkpoints"):
        KeyboardModel.of("mixed", scripted(WORDS[:-1]).vocabulary, model.engine)


def test_the_default_engine_needs_no_torch(folder):
    code = (
        "import sys; from zoo.keyboard import Keyboard; "
        f"keyboard = Keyboard({str(folder)!r}); keyboard.commit('it'); keyboard.suggest('t'); "
        "heavy = {'torch', 'transformers', 'tokenizers', 'onnxruntime', 'pyopencl'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
