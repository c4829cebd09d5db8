"""ONNX Runtime on the CPU: fp32, its dynamic 8 bits, and MatMulNBits with 4 bits.

Letters: V vocabulary, O layer output, H hidden.
"""

from __future__ import annotations

import copy
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.contenders import TOP, files_in
from bench.touched import touched_bytes

EXTRA = "export"
VARIANTS = ("fp32", "int8", "int4")
FILE = "model.onnx"
GROUP = 32  # columns that share a scale in 4 bits
INT8_SUMS = 4  # the `accuracy_level` of MatMulNBits that multiplies in 8 bits
FORMATS = {
    "fp32": "fp32",
    "int8": "quantize_dynamic, int8 weights",
    "int4": f"MatMulNBits, int4 weights in groups of {GROUP}, accuracy_level {INT8_SUMS}",
}


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Writes `model.onnx`."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    graph = build(folder)
    if variant == "fp32":
        onnx.save(graph, work / FILE)
    elif variant == "int8":  # per matrix: a scale per column overflows on processors without VNNI
        quantize_dynamic(graph, work / FILE, weight_type=QuantType.QInt8)
    else:
        config = DefaultWeightOnlyQuantConfig(block_size=GROUP, is_symmetric=True, accuracy_level=INT8_SUMS)
        quantizer = MatMulNBitsQuantizer(graph, algo_config=config)
        quantizer.process()
        quantizer.model.save_model_to_file(str(work / FILE))


def build(folder: Path, top: bool = True) -> Any:
    """The network as ONNX: `token` [1] and `past.*` -> `values`, `ids` [1, TOP] and `present.*`, matrices as MatMul.

    top: whether it chooses the best words; else `logits` [1, V] are in the place of both.
    """
    import onnx
    from onnx import TensorProto, helper
    from onnxruntime.quantization.onnx_model import ONNXModel

    from conversion.exporters.builder import FLOAT, IR_VERSION, OPSET, Graph, Storage
    from conversion.exporters.network import cell, lookup, product, state_names

    from .network import joined

    model = joined(folder)
    g, count, V = Graph(Storage()), min(TOP, model.config.vocab_size), model.config.vocab_size
    x = lookup(g, model.model.embed_tokens, "token")
    for number, layer in enumerate(model.model.layers):
        h, c = f"past.{number}.h", f"past.{number}.c"
        if layer.joined is None:
            h, c = cell(g, layer, product(g, layer.input, x, g.vector(layer.bias)), h, c)
        else:
            whole = SimpleNamespace(
                cell=layer.cell, bias=layer.joined.bias, recurrent=layer.joined, projection=layer.projection
            )
            h, c = cell(g, whole, g.vector(layer.joined.bias), g.op("Concat", x, h, axis=1), c)
        x = h
        g.op("Identity", h, name=f"present.{number}.h")
        if layer.state_sizes[1]:
            g.op("Identity", c, name=f"present.{number}.c")
    if model.output_projection is not None:
        x = product(g, model.output_projection, x)
    logits = product(g, model.lm_head, x, None if model.lm_head.bias is None else g.vector(model.lm_head.bias))
    if top:
        g.ops("TopK", logits, g.ints(count), names=["values", "ids"])
        given = [("values", FLOAT, count), ("ids", TensorProto.INT64, count)]
    else:
        g.op("Identity", logits, name="logits")
        given = [("logits", FLOAT, V)]

    def states(prefix: str) -> list[Any]:
        sizes = state_names(model, prefix).items()
        return [helper.make_tensor_value_info(name, FLOAT, [1, size]) for name, size in sizes]

    token = helper.make_tensor_value_info("token", TensorProto.INT64, [1])
    found = [helper.make_tensor_value_info(name, kind, [1, width]) for name, kind, width in given]
    graph = helper.make_graph(g.nodes, "step", [token, *states("past")], [*found, *states("present")], g.constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(proto, full_check=True)
    plain = ONNXModel(proto)
    plain.replace_gemm_with_matmul()  # the quantizers look for MatMul
    used = {name for node in plain.model.graph.node for name in node.input}
    kept = [constant for constant in plain.model.graph.initializer if constant.name in used]
    plain.model.graph.ClearField("initializer")
    plain.model.graph.initializer.extend(copy.deepcopy(kept))
    return plain.model


class OnnxStep:
    """Two bindings that take turns: the states that one writes are those that the other reads."""

    def __init__(self, folder: Path, work: Path, variant: str, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(work / FILE, options, providers=["CPUExecutionProvider"])
        self.folder, self.work, self.variant = folder, work, variant
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self.token = np.zeros(1, np.int64)
        self.values = np.zeros(outputs[0].shape, np.float32)
        self.ids = np.zeros(outputs[1].shape, np.int64)
        self.states = [[np.zeros(state.shape, np.float32) for state in inputs[1:]] for _ in range(2)]
        self.bindings = []
        for place in range(2):
            binding = self.session.io_binding()
            for given, array in zip(inputs, [self.token, *self.states[place]], strict=True):
                binding.bind_input(given.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            for given, array in zip(outputs, [self.values, self.ids, *self.states[1 - place]], strict=True):
                binding.bind_output(given.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
            self.bindings.append(binding)
        self.turn = 0

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        self.token[0] = token
        self.session.run_with_iobinding(self.bindings[self.turn])
        self.turn = 1 - self.turn
        return self.ids[0].tolist(), self.values[0].tolist()

    def reset(self) -> None:
        for state in self.states[self.turn]:
            state[...] = 0

    def describe(self) -> dict[str, Any]:
        bits = {"fp32": 32, "int8": 8, "int4": 4}[self.variant]
        return {
            "format": FORMATS[self.variant],
            "versions": {"onnxruntime": version("onnxruntime")},
            "file_bytes": files_in(self.work),
            "touched_bytes": touched_bytes(self.folder, bits, GROUP if bits == 4 else None),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> OnnxStep:
    """The step over `model.onnx`."""
    return OnnxStep(folder, work, variant, threads)
