"""The export to C, its example programs, and what is said where something is missing."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from conversion.exporters import export
from conversion.exporters.c_file import file_of
from conversion.exporters.c_library import SOURCES, compiled
from tests.zoo.folders import WORDS, write_checkpoint
from tests.zoo.models import VOCABULARY, model_of
from zoo.errors import CheckpointError, ZooError
from zoo.runtime import NumpyModel

DOCS = Path(__file__).parents[3] / "docs" / "export.md"


@pytest.fixture(autouse=True)
def few_positions(monkeypatch):
    monkeypatch.delenv("ZOO_DATA", raising=False)
    from conversion.exporters import text

    monkeypatch.setattr(text.check_text, "__defaults__", (100,))


def test_export_and_the_example_program(tmp_path, c_compiler):
    folder = write_checkpoint(tmp_path / "tiny", model_of(form="int8"), half=True)
    written = export(folder, "c", tmp_path / "out")
    files = [path.name for path in written if path.parent.name == "c"]
    assert files == ["model.rnnlm", *sorted(path.name for path in SOURCES.iterdir()), "check.json"]
    report = json.loads(written[-1].read_text())
    numbers = report["files"]["model.rnnlm"]
    assert numbers["positions"] == 100 and numbers["same_top3"] == 1 and numbers["max_logit_difference"] < 1e-4
    assert report["versions"]["flags"] == "-std=c99 -O3" and report["versions"]["cc"]
    assert report["bytes"].keys() == {*files} - {"check.json"}

    here = tmp_path / "out" / "c"
    program = compiled([here / "suggest.c", *sorted(here.glob("rnnlm*.c"))], tmp_path / "suggest")
    given = "w4 w9\tnothing\n\n  w5  \n"
    done = subprocess.run([program, here / "model.rnnlm"], input=given, capture_output=True, text=True, check=True)
    reference, lines = NumpyModel(folder), done.stdout.splitlines()
    for line, ids in zip(lines, ([1, 4, 9, 0], [1], [1, 5]), strict=True):
        state = None
        for token in ids:
            log_probs, state = reference.step(token, state)
        best = np.argsort(-log_probs, kind="stable")[:3]
        words, probabilities = line.split()[::2], [float(text) for text in line.split()[1::2]]
        assert words == [WORDS[token] for token in best]
        np.testing.assert_allclose(probabilities, np.exp(log_probs[best]), atol=1e-4)

    torn = (here / "model.rnnlm").read_bytes()
    (tmp_path / "torn").write_bytes(torn[: len(torn) // 2] + bytes(len(torn) - len(torn) // 2))
    (here / "model.rnnlm").write_bytes(b"rnnlm-c\0" + bytes(500))
    for arguments, says in (
        ([here / "model.rnnlm"], "another version"),
        ([tmp_path / "none"], "cannot be read"),
        ([tmp_path / "torn"], "is damaged"),
    ):
        done = subprocess.run([program, *arguments], input="", capture_output=True, text=True)
        assert done.returncode == 2 and says in done.stderr and done.stderr.startswith("error: ")


def test_snippet_of_the_docs(tmp_path, c_compiler):
    (snippet,) = re.findall(r"```c\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    words = ["<unk>", "<eos>", "the", "meeting", "will", "be", *(f"w{number}" for number in range(6, VOCABULARY))]
    folder, expected = write_checkpoint(tmp_path / "tiny", words=words), None
    (tmp_path / "model.rnnlm").write_bytes(file_of(folder))
    (tmp_path / "main.c").write_text(snippet)
    sources = [tmp_path / "main.c", *sorted(SOURCES.glob("rnnlm*.c"))]
    program = compiled(sources, tmp_path / "main", ("-Wall", "-Wextra", "-Werror", f"-I{SOURCES}"))
    done = subprocess.run([program], cwd=tmp_path, capture_output=True, text=True, check=True)
    for token in range(1, 6):
        log_probs, expected = NumpyModel(folder).step(token, expected)
    best = np.argsort(-log_probs)[:3]
    assert done.stdout == "".join(f"{words[token]} {log_probs[token]:.2f}\n" for token in best)


def test_a_step_that_computes_otherwise_is_not_written(tmp_path, monkeypatch, c_compiler):
    from conversion.exporters import to_c

    folder = write_checkpoint(tmp_path / "tiny")
    right = to_c.file_of
    model = model_of()
    model.lm_head.bias.data += torch.linspace(-1, 1, VOCABULARY)
    other = write_checkpoint(tmp_path / "other", model)
    monkeypatch.setattr(to_c, "file_of", lambda folder: right(other))
    with pytest.raises(CheckpointError, match=r"model.rnnlm gives the same best three words .* nothing was written"):
        export(folder, "c", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_compiler_says_what_to_install(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path / "tiny")
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(ZooError, match=r"CC is 'no-such-compiler', which is not there; type: apt-get install gcc"):
        export(folder, "c", tmp_path / "out")
    monkeypatch.setenv("CC", "")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ZooError, match="there is none of cc, gcc, clang; type: apt-get install gcc"):
        export(folder, "c", tmp_path / "out")
    assert not (tmp_path / "out").exists()
