"""The OpenCL step beside torch: a tiny model on an invented text, through the command, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import agreement
from tests.bench.opencl.devices import DEVICES
from tests.zoo.folders import write_checkpoint, write_classifier
from zoo.loading import load
from zoo.scoring import score_stream

TEXT = "w2 w3 w4\nw5 strange w6\n\nw9 w2 w3 w30\n"
TARGETS = 14
needs_device = pytest.mark.skipif(not DEVICES, reason="no OpenCL device; pip install 'pyopencl[pocl]'")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.delenv("PYOPENCL_CTX", raising=False)
    (tmp_path / "story").mkdir()
    (tmp_path / "story" / "test.txt").write_text(TEXT)
    return write_checkpoint(tmp_path / "tiny")


def run(folder: Path, *options: str) -> int:
    """The command on the invented text."""
    texts, out = folder.parent / "story", folder.parent / "out"
    return agreement.main([str(folder), "--corpus", str(texts), "--out", str(out), *options])


@needs_device
def test_the_command_writes_what_agrees(folder, monkeypatch, capsys):
    monkeypatch.setattr(agreement, "WINDOW", 4)  # torch carries its state from one window to the next
    assert run(folder, "--storage", "fp32", "--words", "10") == 0
    (path,) = (folder.parent / "out" / "tiny").iterdir()
    found = json.loads(path.read_text())
    keys = ("name", "sha256", "command", "device", "versions", "corpus", "words", "targets", "storages")
    assert tuple(found) == keys
    assert (found["corpus"], found["words"], found["targets"]) == ("story", 10, TARGETS)
    assert found["command"] == "python -m bench.agreement tiny --corpus story --words 10 --storage fp32 --data DIR"
    assert found["device"] and str(folder.parent) not in path.read_text()
    (row,) = found["storages"].values()
    assert row["floats"] == "fp32" and row["same_top3"] == row["same_set"] == 1
    assert row["max_logit_difference"] < 1e-4
    model, tokenizer = load(folder)
    ids = tokenizer(TEXT, return_tensors="np")["input_ids"][0]
    assert row["perplexity"] == pytest.approx(score_stream(model, ids, eos_id=1).perplexity, rel=1e-4)
    assert row["torch_perplexity"] is None
    printed = capsys.readouterr().out
    assert printed.startswith("tiny fp32, story: same three best words at 100.00% of 10 words")
    assert "torch: not measured, type python -m bench.quality" in printed


def test_a_result_of_more_words_stays(folder, capsys):
    assert run(folder, "--storage", "fp32", "--words", "10") == 0
    (path,) = (folder.parent / "out" / "tiny").iterdir()
    before = path.read_bytes()
    assert run(folder, "--storage", "fp32", "--words", "3") == 2
    assert "has 10 words, more than --words; give --out, or --replace" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert run(folder, "--storage", "fp32", "--words", "3", "--replace") == 0


def test_torch_is_quoted_for_the_same_weights_only(tmp_path):
    path = tmp_path / "ptb.json"
    assert agreement.torch_perplexity(path, "a") is None
    path.write_text(json.dumps({"sha256": "a", "test": {"perplexity": 90.5}}))
    assert agreement.torch_perplexity(path, "a") == 90.5
    assert agreement.torch_perplexity(path, "b") is None


@needs_device
def test_a_device_that_there_is_not(folder, capsys):
    assert run(folder, "--device", "nothing") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no OpenCL device is called 'nothing'; give a part of one of these to --device: ")
    assert all(device.name.strip() in error for device in DEVICES) and error.count("\n") == 1
    assert not (folder.parent / "out").exists()


def test_no_words_to_compare(folder, capsys):
    assert run(folder, "--words", "0") == 2
    assert capsys.readouterr().err == "error: --words is 0; give at least 1\n"
    assert not (folder.parent / "out").exists()


@needs_device
def test_a_text_classifier_is_refused(folder, capsys):
    assert run(write_classifier(folder.parent / "sentiment")) == 2
    assert "sentiment is a text classifier and a language model is needed" in capsys.readouterr().err
