"""The three counts, on files written by hand and through the command."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench import size
from tests.zoo.folders import write_classifier
from zoo.catalog import CHECKPOINTS
from zoo.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An RNN with zeros of both signs, a head of two factors in 8 bits and a sparse matrix."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    config = {"model_type": "rnnlm", "cell": "rnn", "vocab_size": 2, "embedding_size": 3, "hidden_size": 4}
    config |= {"num_hidden_layers": 1, "tie_word_embeddings": False}
    config["weights"] = {
        "head": {"form": "low_rank", "rank": 1, "values": {"form": "int8", "scheme": "row"}},
        "recurrent": {"form": "sparse", "nonzeros": 3},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"<eos>": 0, "<unk>": 1}}}))
    (folder / "tokenizer_config.json").write_text("{}")
    tensors = {
        "model.embed_tokens.weight": np.array([[1, 0, -0.0], [2, -3, 6e-8]], np.float16),
        "model.layers.0.input.weight": np.ones((4, 3), np.float32),
        "model.layers.0.recurrent.values": np.array([1, 0, 2], np.float32),
        "model.layers.0.recurrent.columns": np.array([1, 3, 0], np.uint8),
        "model.layers.0.recurrent.starts": np.array([0, 2, 2, 3, 3], np.int32),
        "model.layers.0.bias": np.array([-0.0, 1, 2, 3], np.float32),
        "lm_head.left.weight": np.array([[-127], [0]], np.int8),
        "lm_head.left.scale": np.ones(2, np.float32),
        "lm_head.right.weight": np.array([[1, 2, 3, 4]], np.int8),
        "lm_head.right.scale": np.ones(1, np.float16),
        "lm_head.bias": np.array([0, -1], np.float32),
    }
    save_file(tensors, folder / "model.safetensors")
    return folder


def file_size(folder: Path, *names: str) -> int:
    return sum((folder / name).stat().st_size for name in names)


def test_counts(folder: Path):
    assert size.measure(folder) == {
        "parameters": 6 + 12 + 16 + 4 + (2 + 4) + 2,
        "nonzeros": 4 + 12 + 2 + 3 + (1 + 4) + 1,
        "by_rows": 6 + 12 + 2 * 4 + 4 + (2 + 4) + 2,
        "bytes": file_size(folder, "config.json", "model.safetensors"),
        "tokenizer_bytes": file_size(folder, "tokenizer.json", "tokenizer_config.json"),
    }


@pytest.mark.parametrize("name", ["lr-cifg-1200-born-again-ptb", "lstm-200-ptb"])
def test_counts_of_shipped_checkpoints_are_the_committed_ones(name: str):
    if not (CHECKPOINTS / name).is_dir():
        pytest.skip(f"{name} is not in this copy")
    committed = json.loads((size.RESULTS / name / "size.json").read_text())
    found = size.measure(CHECKPOINTS / name)
    assert {key: committed[key] for key in found} == found


def test_weights_of_another_config_are_refused(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    del config["weights"]["head"]
    config |= {"tie_word_embeddings": True, "output_projection_size": 3}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"lacks the tensor output_projection\.weight"):
        size.measure(folder)


def test_command_writes_the_counts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert size.main([str(folder), "--out", str(tmp_path / "results")]) == 0
    written = json.loads((tmp_path / "results" / "tiny" / "size.json").read_text())
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    config = json.loads((folder / "config.json").read_text())
    assert written == {"name": "tiny", "sha256": sha256, "config": config} | size.measure(folder)
    assert capsys.readouterr().out.startswith("tiny: 46 parameters, 27 nonzeros, ")


def test_command_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert size.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_the_last_layer_of_a_text_classifier_counts(tmp_path: Path):
    found = size.measure(write_classifier(tmp_path / "tiny", 2))
    assert found["parameters"] == found["nonzeros"] == 31 * 7 + 36 * (7 + 9 + 1) + 2 * (9 + 1)
