"""The page's step beside numpy's: every cell and weight form, words of any script; and that it is of these C files."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from conversion.exporters import wasm
from conversion.exporters.c_file import file_of
from tests.zoo.folders import WORDS, write_checkpoint
from tests.zoo.models import VARIANTS, VOCABULARY, model_of, name_of
from zoo.errors import ZooError
from zoo.runtime import NumpyModel

READ = [1, 4, 9, 0, 30, 30, 2, 17]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Reads tokens in the page's engine, of a wasm file or the committed one: words and log probabilities."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here; install Node.js 20 or later")
    folder = tmp_path_factory.mktemp("engine")
    shutil.copyfile(wasm.PAGE / "engine.js", folder / "engine.js")
    (folder / "package.json").write_text('{"type": "module"}')
    script = Path(__file__).with_name("engine.mjs")

    def run_(file: bytes, tokens=READ, code: Path = wasm.FILE):
        (folder / "model.rnnlm").write_bytes(file)
        command = [node, script, folder / "engine.js", code, folder / "model.rnnlm", json.dumps(tokens)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run_


def expected(folder: Path, tokens=READ) -> list[np.ndarray]:
    """The log probabilities after each token; the state goes on."""
    model, state, found = NumpyModel(folder), None, []
    for token in tokens:
        log_probs, state = model.step(token, state)
        found.append(log_probs)
    return found


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_same_numbers_as_numpy(tmp_path, run, variant):
    half = variant["tied"]
    folder = write_checkpoint(tmp_path / "tiny", model_of(**variant), half=half)
    found = run(file_of(folder))
    assert found["words"] == WORDS
    np.testing.assert_allclose(found["logProbs"], expected(folder), rtol=1e-5, atol=2e-5)
    # A step leaves the state that it was given as it is.
    assert found["again"] == found["logProbs"][-1]


def test_words_of_any_script(tmp_path, run):
    words = ["<unk>", "<eos>", "\ufeffx", "и", "ё", "שלום", "日本", "😀", "e\u0301", "é"]
    words += [f"w{number}" for number in range(len(words), VOCABULARY)]
    assert run(file_of(write_checkpoint(tmp_path / "tiny", words=words)))["words"] == words


def test_a_model_of_more_than_a_page_of_memory(tmp_path, run):
    words = ["<unk>", "<eos>", *map(str, range(9998))]
    folder = write_checkpoint(tmp_path / "tiny", model_of(form="int8", vocab_size=10_000), words=words)
    found = run(file_of(folder), [1, 9999, 5000])
    np.testing.assert_allclose(found["logProbs"], expected(folder, [1, 9999, 5000]), rtol=1e-5, atol=2e-5)


def test_a_token_outside_the_vocabulary_is_refused(tmp_path, run):
    file = file_of(write_checkpoint(tmp_path / "tiny"))
    assert "the id is outside the vocabulary" in run(file, [1, VOCABULARY])["error"]
    assert "the file is cut off" in run(file[:-1])["error"] and "is cut off" in run(b"")["error"]


def test_the_committed_step_is_of_these_sources():
    record = wasm.record()
    told = "the C files or flags have changed: python -m conversion.exporters.wasm (pip install 'rnnlm-zoo[wasm]')"
    assert record["sources"] == wasm.sources_hash(), told
    assert record["sha256"] == hashlib.sha256(wasm.FILE.read_bytes()).hexdigest(), told
    assert len(wasm.FILE.read_bytes()) < 40_000


def test_a_step_that_is_compiled_here_computes_the_same(tmp_path, run):
    try:
        wasm.zig()
    except ZooError as error:
        pytest.skip(str(error))
    wasm.build(tmp_path / "rnnlm.wasm")
    for variant in VARIANTS[:: len(VARIANTS) // 8]:
        file = file_of(write_checkpoint(tmp_path / name_of(variant), model_of(**variant)))
        found, committed = run(file, code=tmp_path / "rnnlm.wasm"), run(file)
        np.testing.assert_allclose(found["logProbs"], committed["logProbs"], rtol=1e-5, atol=1e-5)


def test_without_the_compiler(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(wasm.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wasm.main([]) == 2
    assert "compiled by zig; type: pip install 'rnnlm-zoo[wasm]'" in capsys.readouterr().err
    (tmp_path / "zig").write_text("#!/bin/sh\necho a mistake >&2\nexit 1\n")
    os.chmod(tmp_path / "zig", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert wasm.main([]) == 2
    assert capsys.readouterr().err == "error: zig cannot compile the step: a mistake\n"
