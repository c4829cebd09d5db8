"""The OpenCL step as a contender of the latency benchmark."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .bandwidth import bandwidth
from .devices import device_of, library
from .model import OpenClModel
from .settings import as_json

EXTRA = "opencl"
VARIANTS = ("stored", "fp32", "fp16")
SCREENED = ", of most words' output 4 bits of 8"
DEVICE = "RNNLM_OPENCL_DEVICE"  # a part of the device's description; `python -m bench.latency --device` sets it


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Nothing: the checkpoint is read as it is."""


class OpenClStep:
    """A step on the device that is meant; graphics processors measure their own times too."""

    def __init__(self, folder: Path, variant: str):
        cl = library()
        device = device_of(os.environ.get(DEVICE))
        self.is_gpu = bool(device.type & cl.device_type.GPU)
        self.folder = folder
        self.model = OpenClModel(folder, device, variant, profile=self.is_gpu, screen=variant == "stored")
        self.reset = self.model.reset

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        return self.model.step(token)

    def device_seconds(self) -> float | None:
        """The device's own time of the last step; None on a processor, where it would slow the step down."""
        return self.model.device_seconds() if self.is_gpu else None

    def bandwidth(self, sizes: list[int]) -> list[float]:
        """Bytes a second of streaming reads of each size."""
        return bandwidth(self.model.device, self.model.settings, sizes)

    def describe(self) -> dict[str, Any]:
        model, cl = self.model, library()
        device, settings = model.device, model.settings
        return {
            "format": f"as stored, floats as {model.storage}{SCREENED if model.screened else ''}",
            "versions": {"pyopencl": cl.VERSION_TEXT, "driver": device.driver_version},
            "file_bytes": sum((self.folder / name).stat().st_size for name in ("config.json", "model.safetensors")),
            "touched_bytes": model.touched,
            "device_type": "gpu" if self.is_gpu else "cpu",
            "device": device.name.strip(),
            "platform": device.platform.version.strip(),
            "launches": model.launches,
            "chain": "one launch" if settings.one_launch else "one launch per operation",
            "settings": as_json(settings),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> OpenClStep:
    """The step; a driver for processors reads its threads from the environment."""
    return OpenClStep(folder, variant)
