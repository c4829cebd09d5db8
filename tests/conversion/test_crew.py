"""Two processes that share the batch make the updates of one."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conversion.crew import Crew
from conversion.recipe import read_recipe
from conversion.state import load_state
from zoo.errors import RecipeError

from .tiny import run, write_recipe

# Without dropout, of which every process draws its own.
PLAIN = (
    ("input_dropout = 0.1\noutput_dropout = 0.1\nembedding_dropout = 0.05\nweight_drop = 0.1\n", ""),
    ("window = 9", "window = 9\nwindow_jitter = 2\nreset_state = 0.2"),
    ("epochs = 2", "epochs = 1"),
    ("average = \"ema\"\ndecay = 0.9", ""),
)  # fmt: skip


def start(recipe: Path, folder: Path, rank: int, port: int) -> subprocess.Popen:
    """One process of two, with the surroundings that `accelerate launch` gives it."""
    environment = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "true",
    }
    environment |= {name: str(rank) for name in ("RANK", "LOCAL_RANK")}
    command = [sys.executable, "-m", "conversion.build", str(recipe), "--device", "cpu", "--threads", "1"]
    command += ["--runs", str(folder / "runs"), "--out", str(folder / "out")]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_equal_one(tmp_path: Path, corpus: Path):
    recipe = write_recipe(tmp_path / "tiny.toml", corpus, *PLAIN)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [start(recipe, tmp_path, rank, port) for rank in (0, 1)]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    one, two = run(recipe, tmp_path / "one"), load_state(tmp_path / "runs" / "tiny" / "state.pt")
    assert len(two["rng"]) == 2
    assert two["position"]["tokens"] == one["position"]["tokens"]
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], tensor, atol=1e-4, rtol=1e-3)
    assert (tmp_path / "out" / "tiny" / "model.safetensors").is_file()
    assert read_recipe(tmp_path / "out" / "tiny" / "recipe.toml") == read_recipe(recipe)


def test_unequal_shares_are_refused(monkeypatch: pytest.MonkeyPatch):
    class Three:
        device, process_index, num_processes, is_main_process = torch.device("cpu"), 0, 3, True

    monkeypatch.setattr("conversion.crew.Accelerator", lambda cpu: Three())
    with pytest.raises(RecipeError, match="batch_size 32 cannot be shared by 3 processes"):
        Crew("cpu", 32)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.delitem(sys.modules, "conversion.crew")
    with pytest.raises(ModuleNotFoundError, match=r"training needs accelerate; type: pip install 'rnnlm-zoo\[train\]'"):
        importlib.import_module("conversion.crew")
