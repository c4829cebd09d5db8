"""Bytes of the tensors that a computation in torch makes."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.loading import load


class Memory(TorchDispatchMode):
    """Counts the bytes of tensors made while it is on: those alive at once at most, and the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        known = {t.untyped_storage().data_ptr() for t in args if _is_plain(t)}
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if _is_plain(tensor) and (storage := tensor.untyped_storage()).data_ptr() not in known:
                size = storage.nbytes()
                self.alive += size
                self.peak, self.largest = max(self.peak, self.alive), max(self.largest, size)
                weakref.finalize(tensor, self._gone, size)
        return out

    def _gone(self, size: int) -> None:
        self.alive -= size


def _is_plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided


def step_memory(folder: str | Path) -> dict[str, int]:
    """Bytes of one step of the model in torch: its tensors, and those that the step makes and holds at once at most."""
    model, _ = load(folder)
    tensors = {tensor.data_ptr(): tensor for tensor in model.state_dict().values()}.values()
    with torch.no_grad():
        _, states = model.step(torch.tensor([0]))
        with Memory() as memory:
            model.step(torch.tensor([1]), states)
    return {
        "weights": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "step_peak": memory.peak,
        "step_largest": memory.largest,
    }
