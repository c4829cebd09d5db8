"""MNN on the CPU: fp32, and dynamic 8 and 4 bits.

Letters: V vocabulary, S all states together.
"""

from __future__ import annotations

import ctypes
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.contenders import TOP, best_of, files_in
from bench.touched import touched_bytes
from zoo.errors import ZooError
from zoo.layout import read_layout

EXTRA = "mnn"
VARIANTS = ("fp32", "int8", "int4")
FILE = "model.mnn"
GROUP = 32  # columns that share a scale in 4 bits, where the columns divide by it
BITS: dict[str, list[str]] = {
    "fp32": [],
    "int8": ["--weightQuantBits", "8"],
    "int4": ["--weightQuantBits", "4", "--weightQuantBlock", str(GROUP), "--weightQuantAsymmetric"],
}
FORMATS = {
    "fp32": "fp32",
    "int8": "weightQuantBits 8, int8 weights per row, memory low: activations quantized on the way",
    "int4": f"weightQuantBits 4, int4 weights in groups of {GROUP} where the columns divide by it, memory low",
}
LOW = 2  # BackendConfig::Memory_Low
CONFIG = "_ZN3MNN7Express8Executor14RuntimeManager11getBnConfigEv"


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Writes `model.mnn`: `token` [1] and `before` [1, S] -> `logits` [1, V] and `after` [1, S].

    MNN's own TopKV2 takes longer than looking for the best words outside.
    """
    import onnx

    source = work / "model.onnx"
    onnx.save(_network(folder), source)
    # The script `mnnconvert` installs a package that reports its use; what it calls does not.
    import _tools

    options = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(work / FILE), "--bizCode", "zoo"]
    _tools.mnnconvert(["mnnconvert", *options, *BITS[variant]])
    source.unlink()
    if not (work / FILE).is_file():
        raise ZooError("MNN cannot convert this network")


def _network(folder: Path) -> Any:
    """The network of the other libraries without the choice of words, its states one row."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from .onnx_runtime import build

    model = build(folder, top=False)
    graph = model.graph
    before, after = [given.name for given in graph.input[1:]], [given.name for given in graph.output[1:]]
    sizes = [given.type.tensor_type.shape.dim[1].dim_value for given in graph.input[1:]]
    if len(sizes) > 1:
        graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), "state_sizes"))
        graph.node.insert(0, helper.make_node("Split", ["before", "state_sizes"], before, axis=1))
    else:
        graph.node.insert(0, helper.make_node("Identity", ["before"], before))
    graph.node.append(helper.make_node("Concat", after, ["after"], axis=1))

    def row(name: str, width: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])

    del graph.input[1:], graph.output[1:]
    graph.input.append(row("before", sum(sizes)))
    graph.output.append(row("after", sum(sizes)))
    onnx.checker.check_model(model)
    return model


def _runtime(threads: int) -> Any:
    """A runtime that computes with the weights as they are stored.

    The Python package reads neither `memory` from a runtime's settings, nor the number of threads where a module is
    given `memory` instead (it takes four), so the setting is written where the library keeps it, as C++ would.

    Raises:
        ZooError: the setting is not where it is in MNN 3.6.
    """
    import _mnncengine
    from MNN import nn

    settings = {"backend": "CPU", "numThread": threads, "precision": "high", "power": "high"}
    runtime = nn.create_runtime_manager((settings,))
    read = ctypes.CDLL(_mnncengine.__file__)[CONFIG]
    read.argtypes, read.restype = [ctypes.c_void_p], ctypes.POINTER(ctypes.c_int * 3)
    shared = ctypes.c_void_p.from_address(id(runtime) + object.__basicsize__).value
    config = read(ctypes.c_void_p.from_address(shared).value).contents  # type: ignore[arg-type]
    if list(config)[::2] != [0, 1]:  # memory normal, power, precision high
        raise ZooError("this MNN keeps its settings elsewhere than MNN 3.6 does; install MNN 3.6, or leave out mnn")
    config[0] = LOW
    return runtime


class MnnStep:
    """A step of the module; the row that comes out as its states goes in again."""

    def __init__(self, folder: Path, work: Path, variant: str, threads: int):
        from MNN import expr, nn

        self.folder, self.work, self.variant = folder, work, variant
        layout = read_layout(folder)
        size = (layout.layer_output_size + (layout.cell_size or 0)) * layout.num_hidden_layers
        self.runtime = _runtime(threads)
        self.module = nn.load_module_from_file(
            os.fspath(work / FILE),
            ["token", "before"],
            ["logits", "after"],
            runtime_manager=self.runtime,
            shape_mutable=False,
        )
        self.token = expr.placeholder([1], expr.NCHW, expr.int)
        self.zeros = expr.const(np.zeros((1, size), np.float32), [1, size], expr.NCHW, expr.float)
        self.state, self.top = self.zeros, min(TOP, layout.vocab_size)

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        self.token.write([token])
        logits, self.state = self.module.onForward([self.token, self.state])
        return best_of(logits.read()[0], self.top)

    def reset(self) -> None:
        self.state = self.zeros

    def describe(self) -> dict[str, Any]:
        bits = {"fp32": 32, "int8": 8, "int4": 4}[self.variant]
        return {
            "format": FORMATS[self.variant],
            "versions": {"mnn": version("mnn")},
            "file_bytes": files_in(self.work),
            "touched_bytes": touched_bytes(self.folder, bits, GROUP if bits == 4 else None),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> MnnStep:
    """The step over `model.mnn`.

    Raises:
        ZooError: another MNN than the one that this was written for.
    """
    return MnnStep(folder, work, variant, threads)
