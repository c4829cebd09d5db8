"""The tensors of a checkpoint's model.safetensors, each checked against what its config asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from .errors import CheckpointError
from .hub import read_header

FLOATS = ("F16", "F32", "BF16", "F64")
INTEGERS: dict[type[np.generic], str]
INTEGERS = {np.int8: "I8", np.uint8: "U8", np.int16: "I16", np.uint16: "U16", np.int32: "I32"}


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

    def check(self, name: str, shape: tuple[int, ...], kind: type[np.generic] | None = np.generic) -> None:
        """Refuses a tensor that is missing, of another shape or of other numbers.

        Args:
            kind: a type of INTEGERS; None: any floats; np.generic: whatever they are.

        Raises:
            CheckpointError: names the tensor, what it is and what it should be.
        """
        self._asked.add(name)
        if name not in self.header:
            raise CheckpointError(
                f"{self.path} lacks the tensor {name} {list(shape)} that config.json asks for; "
                "config and weights are of different checkpoints: get both again"
            )
        found, dtype = self.header[name]["shape"], self.header[name]["dtype"]
        if found != list(shape):
            raise CheckpointError(
                f"{self.path} has {name} of shape {found} and config.json asks for {list(shape)}; "
                "config and weights are of different checkpoints: get both again"
            )
        if kind is np.generic:
            return
        allowed = FLOATS if kind is None else (INTEGERS[kind],)
        if dtype not in allowed:
            raise CheckpointError(
                f"{self.path} stores {name} as {dtype} and config.json asks for {' or '.join(allowed)}; "
                "an older zoo made it (compress it again), or they are of different checkpoints (get both again)"
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

    def read(self, name: str, shape: tuple[int, ...], kind: type[np.generic] | None = None) -> np.ndarray:
        """A tensor after `check`: integers as they are stored, floats as float32."""
        self.check(name, shape, kind)
        if self.header[name]["dtype"] == "BF16":  # numpy has no such type: the upper half of a float32
            first, _ = self.header[name]["data_offsets"]
            halves = np.fromfile(self.path, "<u2", int(np.prod(shape)), offset=first).reshape(shape)
            return (halves.astype(np.uint32) << 16).view(np.float32)
        tensor = self._file.get_tensor(name)
        return tensor.astype(np.float32, copy=False) if kind is None else tensor

    def bytes_below(self, prefix: str) -> int:
        """Bytes of the data of all tensors whose names begin with a prefix."""
        offsets = (entry["data_offsets"] for name, entry in self.header.items() if name.startswith(prefix))
        return sum(last - first for first, last in offsets)
