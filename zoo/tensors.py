"""The tensors of a checkpoint's model.safetensors, each checked against the shape that its config asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from .errors import CheckpointError
from .hub import BITS, read_header

READABLE = {"F16", "F32"}


class TensorFile:
    """One model.safetensors; remembers which tensors were asked for, so that left-over ones are noticed.

    Raises:
        CheckpointError: the file is missing, cut off or damaged.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / "model.safetensors"
        if not self.path.is_file():
            raise CheckpointError(f"{folder} has no model.safetensors; name a checkpoint folder")
        self.header = read_header(self.path)
        self._asked: set[str] = set()
        try:
            self._file = safe_open(self.path, framework="numpy")
        except SafetensorError as error:
            raise CheckpointError(f"{self.path} is damaged: {error}; get the checkpoint again") from error

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Refuses a tensor that is missing or of another shape (CheckpointError)."""
        self._asked.add(name)
        if name not in self.header:
            raise CheckpointError(
                f"{self.path} lacks the tensor {name} {list(shape)} that config.json asks for; "
                "config and weights are of different checkpoints: get both again"
            )
        found = self.header[name]["shape"]
        if found != list(shape):
            raise CheckpointError(
                f"{self.path} has {name} of shape {found} and config.json asks for {list(shape)}; "
                "config and weights are of different checkpoints: get both again"
            )

    def check_all_asked(self) -> None:
        """Refuses a file with tensors that nothing asked for (CheckpointError)."""
        left = sorted(set(self.header) - self._asked)
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            raise CheckpointError(
                f"{self.path} has the tensor {left[0]}{more}, which config.json has no place for; "
                "config and weights are of different checkpoints: get both again"
            )

    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A tensor as float32, after `check`."""
        self.check(name, shape)
        kind = self.header[name]["dtype"]
        if kind not in READABLE:
            raise CheckpointError(
                f"{self.path} stores {name} as {kind}; without torch {' and '.join(sorted(READABLE))} are read: "
                "load it with zoo.loading.load"
            )
        return self._file.get_tensor(name).astype(np.float32)

    def stored(self) -> Iterator[tuple[str, int, int, int]]:
        """(name, parameters, nonzeros, bytes) of every tensor, of any type of number, in the order of the file."""
        for name, entry in self.header.items():
            first, last = entry["data_offsets"]
            bits = BITS[entry["dtype"]]
            kind = np.dtype(f"<u{bits // 8}")
            size = (last - first) // kind.itemsize
            # By bits, because numpy lacks some of the types; -0.0 is a zero, so a float's sign does not count.
            sign = 1 << bits - 1 if "F" in entry["dtype"] else 0
            numbers = np.memmap(self.path, kind, "r", first, (size,)) if size else np.zeros(0, kind)
            yield name, size, int(np.count_nonzero(numbers & kind.type((1 << bits) - 1 - sign))), last - first
