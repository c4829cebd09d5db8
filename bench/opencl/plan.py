"""Calls of kernels over named buffers: products with matrices of every form, and their rows; knows no device.

Letters: M rows, N columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.forms import LowRank, Sparse, TensorTrain
from zoo.leaves import Dense, Int4, Int8

from .packing import Packed, as_float, in_order, narrow, pack, pad, slices_of
from .settings import Settings

LEAVES = (Dense, Int8, Int4)
FLOATS, INTS, BYTES = "const float", "const int", "const uchar"  # what a kernel reads; without const: writes
TOGETHER = 16  # sums of a train's core side by side in registers
WITH_TOKEN = ("row", "train_row", "sparse_row")


@dataclass(frozen=True)
class Call:
    """One call of a kernel's function.

    Args:
        file: the operation, a file of kernels/ without its suffix.
        defines: its macros.
        args: type and name of the buffer of each argument.
        scratch: ints of local memory.
        items: work-items that find work.
    """

    file: str
    defines: tuple[tuple[str, str], ...]
    args: tuple[tuple[str, str], ...]
    scratch: int = 0
    items: int = 1


@dataclass
class Plan:
    """Calls in order and the buffers that they use.

    Args:
        unpacked: matrices of integers are stored as floats.
        arrays: weights, biases: name -> contents, read only.
        vectors: name -> contents at the start; `h.*` and `c.*` are the state.
        touched: bytes of weights that a step reads.
    """

    settings: Settings
    top: int
    half: bool
    unpacked: bool = False
    calls: list[Call] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    touched: int = 0
    packed: dict[str, Packed] = field(default_factory=dict)

    def vector(self, name: str, length: int, fill: float = 0.0) -> str:
        """A vector of floats, with room for the rows that fill the last tile up."""
        self.vectors[name] = np.full(pad(length + 2 * self.settings.rows), fill, np.float32)
        return name

    def array(self, name: str, contents: np.ndarray) -> str:
        """Contents that only are read."""
        self.arrays[name] = contents if contents.size else np.zeros(4, np.uint8)  # there are no empty buffers
        return name

    def bias(self, name: str, values: np.ndarray | None, rows: int, fill: float = 0.0) -> str:
        """The buffer `name.bias`, with room as `vector` has it; one number where there is no bias."""
        filled = np.full(pad(rows + 2 * self.settings.rows) if values is not None else 1, fill, np.float32)
        if values is not None:
            filled[:rows] = values
        return self.array(f"{name}.bias", filled)

    def narrow_bias(self, bias: str) -> tuple[dict[str, str], tuple[str, str]]:
        """Macros and argument of a bias that lies in halfs where that changes none of its numbers."""
        values = self.arrays[bias] = narrow(self.arrays[bias], self.half)
        self.touched += values.nbytes
        kind, read = ("half", "LOAD_HALF(p)") if values.dtype == np.float16 else ("float", "LOAD(p)")
        return {"BIAS(p)": read, "NUMBERS": kind}, (f"const {kind}", bias)

    def call(self, file: str, defines: dict[str, Any], args: list[tuple[str, str]], **more: Any) -> None:
        """One call more."""
        written = tuple(
            (name, as_float(value) if isinstance(value, float) else str(value)) for name, value in defines.items()
        )
        self.calls.append(Call(file, written, tuple(args), **more))

    def matrix(self, name: str, leaf: Any, order: np.ndarray, half: bool, unpacked: bool = False) -> Packed:
        """The buffers `name.w` and `name.s` of a matrix, made once where embedding and head share it.

        unpacked: integers become floats, in 32 bits, whatever the plan does with others.
        """
        if name not in self.packed:
            if (self.unpacked or unpacked) and not isinstance(leaf, Dense):
                leaf, half = Dense(leaf.rows(slice(None))), False
            packed = self.packed[name] = pack(leaf, order, self.settings, half)
            self.array(f"{name}.w", packed.weight)
            self.array(f"{name}.s", packed.scale)
        return self.packed[name]

    def product(
        self, name: str, form: Any, x: str, y: str, bias: np.ndarray | None = None, at: int = 0, add: bool = False,
    ) -> None:  # fmt: skip
        """y[at:] = form x + bias, or += with `add`."""
        start = 2 if add else 0 if bias is None else 1
        known = {"START": start, "AT": at}
        if isinstance(form, LowRank):
            R = size_of(form.right)[0]
            between = self.vector(f"{name}.between", R)
            self.product(f"{name}.right", form.right, x, between)
            self.product(f"{name}.left", form.left, between, y, bias, at, add)
            return
        if isinstance(form, TensorTrain):
            self._train(name, form, x, y, bias, known)
            return
        rows = rows_of(form)
        ends = [(FLOATS, self.bias(name, bias, rows)), (FLOATS, x), ("float", y)]
        if isinstance(form, Sparse):
            fields, args = self._sparse(name, form, "rows")
            slices = len(self.arrays[f"{name}.starts"]) - 1
            fields |= {"SLICES": slices, **known}
            self.call("sparse", fields, args + ends, items=slices * self.settings.lanes)
            return
        fields, args, more = self.tiles(name, form, self.bias(name, bias, rows))
        self.call("product", {**fields, "M": rows, **known}, [*args, *ends[1:]], **more)

    def tiles(self, name: str, leaf: Any, bias: str) -> tuple[dict[str, Any], list[tuple[str, str]], dict[str, int]]:
        """Macros, first arguments and sizes of a product with a matrix that is stored number by number."""
        packed = self.matrix(name, leaf, in_order(size_of(leaf)[0], self.settings), self.half)
        self.touched += packed.touched
        told, added = self.narrow_bias(bias)
        fields = {"STAGE(v, x)": packed.stage, "DOT(w, s, v, tile)": packed.dot, "OFFSET": packed.offset}
        args = [(BYTES, f"{name}.w"), (BYTES, f"{name}.s"), added]
        return {**fields, "TILES": packed.tiles, **told}, args, {"scratch": packed.scratch, "items": packed.tiles}

    def _train(self, name: str, form: TensorTrain, x: str, y: str, bias: np.ndarray | None, known: dict) -> None:
        """The last core first (Novikov et al. 2015, section 4)."""
        done, last = 1, len(form.cores) - 1
        for m in range(last, -1, -1):
            width = form.column_modes[m] * form.bonds[m + 1]
            B, M = math.prod(form.column_modes[:m]), form.bonds[m] * form.row_modes[m]
            core, into = f"{name}.core{m}", y if m == 0 else self.vector(f"{name}.between{m}", B * M * done)
            if B == done == 1 and m > 0:
                self.product(core, form.cores[m], x, into)
            else:
                packed = self._core(core, form.cores[m], M)
                self.touched += packed.touched
                ends = known if m == 0 else {"START": 0, "AT": 0}
                added = self.bias(core, bias if m == 0 else None, M * done)
                args = [(BYTES, f"{core}.w"), (BYTES, f"{core}.s"), (FLOATS, added), (FLOATS, x), ("float", into)]
                fields = {"NUMBER(w, s, m, n)": packed.number, "B": B, "M": M, "N": width, "C": done}
                fields |= {"IS_HALF": int(self.half and isinstance(form.cores[m], Dense)), "TOGETHER": TOGETHER}
                across = self.settings.vec
                items = -(-M // across) if done == 1 and B <= TOGETHER else B * M * max(1, done // across)
                self.call("train", {**fields, **ends}, args, items=items)
            x, done = into, done * form.row_modes[m]

    def _core(self, name: str, core: Any, rows: int) -> Packed:
        """A core of a train in floats: there are few numbers, and each is read many times."""
        return self.matrix(name, core, in_order(rows, self.settings), self.half, unpacked=True)

    def _sparse(self, name: str, form: Sparse, order: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Macros and buffers of a sparse matrix; `order`: the table needed, `rows` of places or `places` of rows."""
        small, wide, found = form.scale is not None, form.num_columns > 1 << 16, slices_of(form, self.settings)
        half = self.half and not small
        kind, column = "char" if small else "half" if half else "float", "int" if wide else "ushort"
        numpy_of = {"values": {"char": np.int8, "half": np.float16, "float": np.float32}[kind], "scale": np.float32}
        numpy_of["columns"] = np.int32 if wide else np.uint16
        number, vector = "vload_half(i, (__global const half *)w)", "LOAD_HALF((__global const half *)w + i)"
        if not half:
            number, vector = f"((__global const {kind} *)w)[i]", f"TO_FLOAT(LOAD((__global const {kind} *)w + i))"
        types = ((BYTES, "values"), (f"const {column}", "columns"), (INTS, "starts"), (INTS, order), (FLOATS, "scale"))
        for _, part in types:
            contents = self.arrays.get(f"{name}.{part}", found[part].astype(numpy_of.get(part, np.int32)))
            self.array(f"{name}.{part}", contents)
            self.touched += contents.nbytes if order == "rows" else 0
        fields: dict[str, Any] = {"VALUE(w, i)": number, "VALUES(w, i)": vector, "LOAD_COLUMNS(p)": "TO_INT(LOAD(p))"}
        fields |= {"COLUMN": column, "SCALED": int(small)}
        return fields, [(kind, f"{name}.{part}") for kind, part in types]

    def row(self, name: str, form: Any, x: str, shared: bool) -> None:
        """x = the row of `form` that the word selects; `shared`: its buffers are there already, the head's."""
        if isinstance(form, LowRank):
            R = size_of(form.left)[1]
            picked = self.vector(f"{name}.row", R)
            self.row(f"{name}.left", form.left, picked, shared)
            turned = Dense(np.ascontiguousarray(form.right.rows(slice(None)).T))  # scales are a row's, so as floats
            self.product(f"{name}.turned", turned, picked, x)
        elif isinstance(form, TensorTrain):
            self._train_row(name, form, x, shared)
        elif isinstance(form, Sparse):
            fields, args = self._sparse(name, form, "places")
            self.touched += 0 if shared else int(len(form.values) / (len(form.starts) - 1) * 4)
            self.call("sparse_row", {**fields, "N": form.num_columns}, [*args, ("float", x)])
        else:
            M, N = size_of(form)
            packed = self.matrix(name, form, in_order(M, self.settings), self.half)
            self.touched += 0 if shared else packed.touched // M
            args = [(BYTES, f"{name}.w"), (BYTES, f"{name}.s"), ("float", x)]
            self.call("row", {"NUMBER(w, s, m, n)": packed.number, "N": N}, args, items=N)

    def _train_row(self, name: str, form: TensorTrain, x: str, shared: bool) -> None:
        before, B, stride = x, 1, math.prod(form.row_modes)
        for m, core in enumerate(form.cores):
            stride //= form.row_modes[m]
            rows, columns = form.bonds[m] * form.row_modes[m], form.column_modes[m] * form.bonds[m + 1]
            packed = self._core(f"{name}.core{m}", core, rows)
            self.touched += 0 if shared else packed.touched // form.row_modes[m]
            into = x if m == len(form.cores) - 1 else self.vector(f"{name}.digits{m}", B * columns)
            fields = {"NUMBER(w, s, m, n)": packed.number, "B": B, "COLUMNS": columns, "R": form.bonds[m]}
            fields |= {"STRIDE": stride, "MODE": form.row_modes[m], "IS_FIRST": int(m == 0)}
            args = [(BYTES, f"{name}.core{m}.w"), (BYTES, f"{name}.core{m}.s"), (FLOATS, before), ("float", into)]
            self.call("train_row", fields, args, items=B * columns)
            before, B = into, B * form.column_modes[m]


def size_of(leaf: Any) -> tuple[int, int]:
    """Rows and columns of a leaf."""
    return leaf.weight.shape if isinstance(leaf, Dense) else leaf.size


def rows_of(form: Any) -> int:
    """M of any form."""
    if isinstance(form, LowRank):
        return rows_of(form.left)
    if isinstance(form, TensorTrain):
        return math.prod(form.row_modes)
    return len(form.starts) - 1 if isinstance(form, Sparse) else size_of(form)[0]
