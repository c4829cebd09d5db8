"""What computes a step, behind one protocol: numpy, torch, ONNX Runtime, OpenCL, C.

A state is the same for all of them, so that a text can go on in another engine: (h [O], c [H or 0]) per layer, float32.
Letters: V vocabulary, H hidden, O layer output.
"""

from __future__ import annotations

import importlib
import math
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import CheckpointError, ZooError
from ..layout import Layout, read_layout
from ..runtime import NumpyModel, State


class Engine(Protocol):
    """A model that reads one token; holds weights only, and any number of threads may use it."""

    layout: Layout

    def step(self, token: int, state: State | None) -> tuple[np.ndarray, State]:
        """Log probabilities [V], float32, after a token, and the state after it; None: the beginning."""
        ...


def open_engine(name: str, folder: str | Path) -> Engine:
    """The engine of a name over a checkpoint folder.

    Args:
        name: `numpy`, `torch`, `onnx`, `onnx-fp16`, `onnx-int8`, `opencl` or `c`.

    Raises:
        ZooError: no such engine, or what it needs is not installed.
        CheckpointError: the folder is not whole, or has no ONNX or C files.
    """
    if name not in ENGINES:
        raise ZooError(f"there is no engine {name!r}; allowed: {', '.join(ENGINES)}")
    return ENGINES[name](Path(folder))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """logits [V] -> log probabilities [V], float32, as in `runtime.NumpyModel.step`.

    Raises:
        CheckpointError: they are not finite.
    """
    logits = logits.astype(np.float32, copy=False)
    top = logits.max()
    norm = float(top) + math.log(np.exp(logits - top).sum())
    if not math.isfinite(norm):
        raise CheckpointError("the model gives no finite probabilities; get the checkpoint again")
    return logits - np.float32(norm)


def zero_state(layout: Layout) -> State:
    """The state before the first token."""
    zeros = (np.zeros(layout.layer_output_size, np.float32), np.zeros(layout.cell_size, np.float32))
    return (zeros,) * layout.num_hidden_layers


class TorchEngine:
    """The model in torch on the CPU, in fp32."""

    def __init__(self, folder: Path):
        import torch

        from ..loading import load

        self._torch = torch
        self._model, _ = load(folder)
        self.layout = read_layout(folder)

    def step(self, token: int, state: State | None) -> tuple[np.ndarray, State]:
        """As in `Engine`."""
        torch = self._torch
        given = zero_state(self.layout) if state is None else state
        with torch.inference_mode():
            states = [(torch.tensor(h)[None], torch.tensor(c)[None]) for h, c in given]
            logits, after = self._model.step(torch.tensor([int(token)]), states)
            return log_softmax(logits[0].numpy()), tuple((h[0].numpy(), c[0].numpy()) for h, c in after)


class OnnxEngine:
    """A file that `zoo export NAME --to onnx` wrote, in ONNX Runtime on one CPU thread."""

    def __init__(self, folder: Path, suffix: str = ""):
        try:
            import onnxruntime
        except ImportError as error:
            raise ZooError("the engine onnx needs onnxruntime; type: pip install 'rnnlm-zoo[export]'") from error
        path = folder / "onnx" / f"model{suffix}.onnx"
        if not path.is_file():
            raise CheckpointError(f"{folder} has no onnx/{path.name}; type: zoo export {folder} --to onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._names = [given.name for given in self._session.get_inputs()][1:]
        self.layout = read_layout(folder)

    def step(self, token: int, state: State | None) -> tuple[np.ndarray, State]:
        """As in `Engine`."""
        given = zero_state(self.layout) if state is None else state
        pairs = {f"past.{number}.h": h for number, (h, _) in enumerate(given)}
        pairs |= {f"past.{number}.c": c for number, (_, c) in enumerate(given)}
        feed = {name: pairs[name][None] for name in self._names}
        logits, *after = self._session.run(None, {"input_ids": np.array([[token]], np.int64), **feed})
        found = dict(zip(self._names, (array[0] for array in after), strict=True))
        empty = np.zeros(0, np.float32)
        layers = range(self.layout.num_hidden_layers)
        return log_softmax(logits[0, 0]), tuple((found[f"past.{n}.h"], found.get(f"past.{n}.c", empty)) for n in layers)


class OpenClEngine:
    """The step of `bench.opencl` in fp32, integers unpacked; one device queue, so that threads take turns.

    Products of integers round what they multiply, which changes a few bars.
    """

    def __init__(self, folder: Path):
        try:
            importlib.import_module("pyopencl")
            model = importlib.import_module("bench.opencl.model")
        except ImportError as error:
            raise ZooError(
                f"the engine opencl needs {error.name}; type: pip install 'rnnlm-zoo[opencl]', with the package bench"
            ) from error
        self._model = model.OpenClModel(folder, storage="unpacked")
        self._lock = threading.Lock()
        self.layout = read_layout(folder)

    def step(self, token: int, state: State | None) -> tuple[np.ndarray, State]:
        """As in `Engine`."""
        with self._lock:
            self._model.load_state(zero_state(self.layout) if state is None else state)
            self._model.step(int(token))
            return log_softmax(self._model.logits()), self._model.state()


class CEngine:
    """The C step, compiled when it is opened: of the files of `zoo export NAME --to c`, where there are some."""

    def __init__(self, folder: Path):
        try:
            c_library, c_file = (
                importlib.import_module(f"conversion.exporters.{name}") for name in ("c_library", "c_file")
            )
        except ImportError as error:
            raise ZooError("the engine c needs the package conversion; type: pip install rnnlm-zoo") from error
        path = folder / "c" / "model.rnnlm"
        sources, file = (path.parent, path) if path.is_file() else (c_library.SOURCES, c_file.file_of(folder))
        self._model = c_library.CModel(c_library.library_of(sources, flags=None), file)
        self.layout = read_layout(folder)

    def step(self, token: int, state: State | None) -> tuple[np.ndarray, State]:
        """As in `Engine`."""
        given = zero_state(self.layout) if state is None else state
        flat = np.concatenate([part for pair in given for part in pair])
        logits = np.empty(self.layout.vocab_size, np.float32)
        self._model.step(int(token), flat, logits, self._model.scratch())
        parts = np.split(flat, np.cumsum([part.size for pair in given for part in pair])[:-1])
        return log_softmax(logits), tuple(zip(parts[::2], parts[1::2], strict=True))


ENGINES: dict[str, Any] = {
    "numpy": NumpyModel,
    "torch": TorchEngine,
    "onnx": OnnxEngine,
    "onnx-fp16": lambda folder: OnnxEngine(folder, "_fp16"),
    "onnx-int8": lambda folder: OnnxEngine(folder, "_int8"),
    "opencl": OpenClEngine,
    "c": CEngine,
}
