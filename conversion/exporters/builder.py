"""An ONNX graph under construction: operations, constants, and the weights as they are stored in the file.

Weights are stored small and unpacked to fp32 by operations on constants, which runtimes carry out once, on loading.

Letters: M rows, N columns, K stored numbers, G blocks of columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from zoo.errors import ZooError
from zoo.weights_rnnlm import FORMS

OPSET, IR_VERSION = 18, 8  # read by every onnxruntime since 1.14
BLOCK = 16  # columns that share a scale in 8 bits
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@dataclass
class Storage:
    """How float matrices lie in the file; integer matrices keep their integers.

    Args:
        half: in fp16 instead of fp32.
        eight_bits: id of a dense matrix that is rounded to 8 bits -> the rows of it that are not.
    """

    half: bool = False
    eight_bits: Mapping[int, np.ndarray] = field(default_factory=dict)


def to_eight_bits(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """matrix [M, N] -> q [M, G, BLOCK] int8, scale [M, G, 1] fp16, unit []: W = unit scale q, zeros after column N."""
    M, N = matrix.shape
    blocks = np.pad(matrix, ((0, 0), (0, -N % BLOCK))).reshape(M, -1, BLOCK)
    size = np.abs(blocks).max(axis=2, keepdims=True) / 127
    unit = np.array(size.max() or 1, np.float32)
    scale = (size / unit).astype(np.float16)
    step = unit * scale.astype(np.float32)
    q = np.rint(blocks / np.where(step == 0, 1, step)).clip(-127, 127)
    return q.astype(np.int8), scale, unit


def from_eight_bits(q: np.ndarray, scale: np.ndarray, unit: np.ndarray, columns: int) -> np.ndarray:
    """The matrix [M, N] that `to_eight_bits` stored."""
    return (q.astype(np.float32) * (scale.astype(np.float32) * unit)).reshape(len(q), -1)[:, :columns]


class Graph:
    """Operations of a graph, or of a loop's body, which has a parent; constants belong to the outermost."""

    def __init__(self, storage: Storage, parent: Graph | None = None):
        self.storage, self.nodes = storage, list[onnx.NodeProto]()
        self.root: Graph = self if parent is None else parent.root
        self.constants: list[onnx.TensorProto] = []
        self._numbers = itertools.count()
        self._known: dict[Any, str] = {}
        self._weights: dict[int, tuple[torch.Tensor, str]] = {}

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Adds an operation with one result; the result's name."""
        return self.ops(kind, *inputs, names=[name or self._name(kind)], **attributes)[0]

    def ops(self, kind: str, *inputs: str, names: Collection[str], **attributes: Any) -> list[str]:
        """Adds an operation with results of these names; the names."""
        self.nodes.append(helper.make_node(kind, list(inputs), list(names), **attributes))
        return list(names)

    def split(self, x: str, sizes: list[int]) -> list[str]:
        """x [n, sum of sizes] -> its pieces [n, size]."""
        names = [self._name("Split") for _ in sizes]
        return self.ops("Split", x, self.ints(*sizes), names=names, axis=1)

    def ints(self, *values: int) -> str:
        """A constant list of whole numbers, e.g. a shape."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """A constant number."""
        return self.constant(np.array(value, np.float32))

    def constant(self, array: np.ndarray) -> str:
        """Adds an array to the file, small ones once; its name."""
        root = self.root
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size < 16 else None
        if key in root._known:
            return root._known[key]
        name = self._name("constant")
        root.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return root._known.setdefault(key, name) if key else name

    def vector(self, tensor: torch.Tensor) -> str:
        """A bias, in fp32 in every file."""
        return self._remembered(tensor, lambda root: root.constant(_array(tensor)))

    def matrix(self, form: Any) -> str:
        """The matrix [M, N] of a form that is one matrix, in fp32; a tied one once."""
        if isinstance(form, FORMS["int8"]):
            return self._remembered(form.weight, lambda root: root._int8(form))
        if isinstance(form, FORMS["int4"]):
            return self._remembered(form.weight, lambda root: root._int4(form))
        if isinstance(form, FORMS["sparse"]):
            return self._remembered(form.values, lambda root: root._sparse(form))
        weight = form.to_dense()
        return self._remembered(weight, lambda root: root._dense(weight))

    def _remembered(self, key: torch.Tensor, build: Callable[[Graph], str]) -> str:
        weights = self.root._weights
        if id(key) not in weights:
            weights[id(key)] = (key, build(self.root))  # the tensor is kept, so that its id stays its own
        return weights[id(key)][1]

    def _floats(self, array: np.ndarray) -> str:
        if not self.storage.half:
            return self.constant(array)
        if np.abs(array).max(initial=0) > np.finfo(np.float16).max:
            raise ZooError("a weight is too large for fp16; export with --variant fp32")
        return self.op("Cast", self.constant(array.astype(np.float16)), to=FLOAT)

    def _dense(self, weight: torch.Tensor) -> str:
        matrix = _array(weight)
        exact = self.storage.eight_bits.get(id(weight))
        if exact is None:
            return self._floats(matrix)
        q, scale, unit = to_eight_bits(matrix)
        step = self.op("Mul", self._float(scale), self.constant(unit))
        rounded = self._cut(self.op("Mul", self._float(q), step), q[0].size, *matrix.shape)
        if not len(exact):
            return rounded
        rows = self.op("Cast", self.constant(exact[:, None].astype(np.int32)), to=INT64)
        return self.op("ScatterND", rounded, rows, self._floats(matrix[exact]))

    def _int8(self, form: Any) -> str:
        q = self._float(_array(form.weight))
        if form.scale is not None:
            return self.op("Mul", q, self.constant(_array(form.scale)[:, None]))
        steps = self.op("Mul", self.op("Add", q, self.scalar(128)), self.constant(_array(form.step)))
        return self.op("Add", steps, self.constant(_array(form.low)))

    def _int4(self, form: Any) -> str:
        M, N, G = form.num_rows, form.num_columns, form.scale.shape[1]
        pairs = _array(form.weight)
        pairs = np.pad(pairs, ((0, 0), (0, G * form.group // 2 - pairs.shape[1])))  # whole groups
        pair = self._float(pairs[..., None])
        high = self.op("Floor", self.op("Div", pair, self.scalar(16)))
        low = self.op("Sub", pair, self.op("Mul", high, self.scalar(16)))
        q = self.op("Sub", self.op("Concat", low, high, axis=2), self.scalar(8))
        blocks = self.op("Reshape", q, self.ints(M, G, form.group))
        scaled = self.op("Mul", blocks, self.constant(_array(form.scale)[..., None]))
        return self._cut(scaled, G * form.group, M, N)

    def _sparse(self, form: Any) -> str:
        M, N = form.num_rows, form.num_columns
        lines = np.repeat(np.arange(M), np.diff(_array(form.starts))).astype(np.uint16 if M <= 1 << 16 else np.int32)
        row, column = (self.op("Cast", self.constant(part), to=INT64) for part in (lines, _array(form.columns)))
        places = self.op("Add", self.op("Mul", row, self.ints(N)), column)
        if form.scale is None:
            values = self._floats(_array(form.values))
        else:
            values = self._float(_array(form.values))
            values = self.op("Mul", values, self.op("Gather", self.constant(_array(form.scale)), row))
        zeros = self.op("ConstantOfShape", self.ints(M * N))
        return self.op("Reshape", self.op("ScatterElements", zeros, places, values), self.ints(M, N))

    def _float(self, array: np.ndarray) -> str:
        """A stored array of another type, as fp32."""
        return self.op("Cast", self.constant(array), to=FLOAT)

    def _cut(self, blocks: str, stored: int, rows: int, columns: int) -> str:
        """Blocks of columns side by side, without what fills up the last one."""
        matrix = self.op("Reshape", blocks, self.ints(rows, stored))
        if stored == columns:
            return matrix
        return self.op("Slice", matrix, self.ints(0), self.ints(columns), self.ints(1))

    def _name(self, kind: str) -> str:
        return f"{kind}_{next(self.root._numbers)}"


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
