"""The three counts, on files written by hand and through the command."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench import size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint with zeros of both signs, several number types and a tied head that is stored all the same."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    config = {"model_type": "rnnlm", "vocab_size": 2, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"<eos>": 0, "<unk>": 1}}}))
    (folder / "tokenizer_config.json").write_text("{}")
    tensors = {
        "model.embed_tokens.weight": np.array([[1, 0, -0.0], [2, -3, 6e-8]], np.float16),
        "lm_head.weight": np.ones((2, 3), np.float16),
        "lm_head.bias": np.array([0, -1], np.float32),
        "model.layers.0.input.weight": np.array([[-128, 0, 127]], np.int8),
        "model.layers.0.bias": np.zeros(0, np.float64),
        "model.layers.1.bias": np.array([-0.0, 5e-324, 1], np.float64),
    }
    save_file(tensors, folder / "model.safetensors")
    return folder


def file_size(folder: Path, *names: str) -> int:
    return sum((folder / name).stat().st_size for name in names)


def test_counts(folder: Path):
    assert size.measure(folder) == {
        "parameters": 6 + 2 + 3 + 3,
        "nonzeros": 4 + 1 + 2 + 2,
        "bytes": file_size(folder, "config.json", "model.safetensors"),
        "tokenizer_bytes": file_size(folder, "tokenizer.json", "tokenizer_config.json"),
    }


def test_untied_head_counts(folder: Path):
    config = {"model_type": "rnnlm", "vocab_size": 2, "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    assert size.measure(folder)["parameters"] == 14 + 6


def test_command_writes_the_counts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert size.main([str(folder), "--out", str(tmp_path / "results")]) == 0
    written = json.loads((tmp_path / "results" / "tiny" / "size.json").read_text())
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert written == {"name": "tiny", "sha256": sha256} | size.measure(folder)
    assert capsys.readouterr().out.startswith("tiny: 14 parameters, 9 nonzeros, ")


def test_command_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert size.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
