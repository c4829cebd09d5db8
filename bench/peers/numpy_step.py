"""The step behind `zoo suggest`, which needs no torch; it computes with the forms as they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.contenders import TOP
from bench.touched import loaded_bytes
from zoo.runtime import NumpyModel

EXTRA = "bench"
VARIANTS = ("stored",)


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Nothing: the checkpoint is read as it is."""


class NumpyStep:
    """A step of `zoo.runtime`."""

    def __init__(self, folder: Path):
        self.folder, self.model = folder, NumpyModel(folder)
        self.top = min(TOP, self.model.layout.vocab_size)
        self.state = self.model.initial_state()

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        log_probs, self.state = self.model.step(token, self.state)
        best = np.argpartition(log_probs, -self.top)[-self.top :]
        best = best[np.argsort(-log_probs[best], kind="stable")]
        return best.tolist(), log_probs[best].tolist()

    def reset(self) -> None:
        self.state = self.model.initial_state()

    def describe(self) -> dict[str, Any]:
        return {
            "format": "as stored, floats as fp32",
            "versions": {"numpy": np.__version__},
            "file_bytes": sum((self.folder / name).stat().st_size for name in ("config.json", "model.safetensors")),
            "touched_bytes": loaded_bytes(self.folder),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> NumpyStep:
    """The step; its threads are those of the BLAS library, which reads them from the environment."""
    return NumpyStep(folder)
