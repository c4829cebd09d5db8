"""The benchmark where torch, transformers and tokenizers are not installed, as on a phone. No times are looked at."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.latency import text_of
from tests.zoo.folders import write_checkpoint
from tests.zoo.models import model_of
from zoo.corpora import load_corpus
from zoo.loading import load

ROOT = Path(bench.__file__).parents[1]
NEEDED = ("numpy", "safetensors", "tqdm")


@pytest.fixture
def phone(tmp_path: Path):
    """An environment with nothing but NEEDED: (its interpreter, the variables for it)."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in NEEDED:
        (place,) = importlib.util.find_spec(name).submodule_search_locations
        for path in Path(place).parent.glob(f"{name}*"):  # its libraries and its version too
            (packages / path.name).symlink_to(path)
    venv.create(tmp_path / "phone", symlinks=True)
    (python,) = (tmp_path / "phone").glob("*/python")
    kept = {name: value for name, value in os.environ.items() if name != "ZOO_DATA"}
    return python, {**kept, "PYTHONPATH": str(packages), "ZOO_CACHE": str(tmp_path / "cache")}


def test_latency_is_measured_and_the_answers_held_to_numpy(tmp_path, phone):
    python, environment = phone
    folder = write_checkpoint(tmp_path / "tiny", model_of())
    options = ["--backend", "opencl", "numpy", "torch", "--out", tmp_path / "out"]
    command = [python, "-m", "bench.latency", folder, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "out" / "tiny").iterdir()
    result = json.loads(path.read_text())
    assert result["reference"] == "numpy" and "memory" not in result
    assert set(result["versions"]) == {"zoo", "python", "numpy"}
    assert result["milliseconds"].keys() == {"numpy"} and result["contenders"]["numpy"]["top3_agreement"] == 1
    assert "pip install" in result["skipped"]["opencl"] and "torch" in result["skipped"]["torch"]


def test_tuning_needs_no_more(phone):
    python, environment = phone
    done = subprocess.run([python, "-m", "bench.tune"], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 2 and done.stderr.startswith("error: OpenCL needs pyopencl")


def test_a_text_has_the_ids_of_the_tokenizer(tmp_path, monkeypatch):
    folder, text = write_checkpoint(tmp_path / "tiny", model_of()), tmp_path / "test.txt"
    text.write_text("w2 w3 strange\nw30 w4\n")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.latency.load_corpus", lambda name, *rest, **more: load_corpus(text, *rest, **more))
    _, tokenizer = load(folder)
    ids, told = text_of(folder, str(tmp_path), 5)
    assert ids == np.array(tokenizer(text.read_text())["input_ids"])[:5].tolist()
    assert told == "ptb, test, its first tokens"
