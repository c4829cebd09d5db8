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

from .packing import Packed, as_float, by_digit, in_order, is_half, narrow, pack, pad, size_of
from .screen import Screen, can_screen, screen_of
from .settings import Settings
from .slices import Slices, slices_of

LEAVES = (Dense, Int8, Int4)
FLOATS, INTS, BYTES = "const float", "const int", "const uchar"  # what a kernel reads; without const: writes
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
        screen: an 8-bit output layer is read whole only where its upper halves leave a row a chance (screen.py).
        arrays: weights, biases: name -> contents, read only.
        vectors: name -> contents at the start; `h.*` and `c.*` are the state.
        touched: bytes of weights that a step reads.
    """

    settings: Settings
    top: int
    half: bool
    unpacked: bool = False
    screen: bool = False
    calls: list[Call] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    touched: int = 0
    packed: dict[str, Packed] = field(default_factory=dict)
    sliced: dict[str, Slices] = field(default_factory=dict)
    screens: dict[str, Screen] = field(default_factory=dict)

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
        if isinstance(form, Sparse):
            found, args = self._sparse(name, form, "rows", "scale", "level")
            self.touched += sum(self.arrays[buffer].nbytes for _, buffer in args)
            ordered = None if bias is None else bias[found.arrays["rows"][:rows]]
            args += [(FLOATS, self.bias(name, ordered, rows)), (FLOATS, x), ("float", y)]
            items = found.fields["SLICES"] * self.settings.lanes
            self.call("sparse", found.fields | known, args, scratch=found.scratch, items=items)
            return
        fields, args, more = self.tiles(name, form, self.bias(name, bias, rows))
        self.call("product", {**fields, "M": rows, **known}, [*args, (FLOATS, x), ("float", y)], **more)

    def tiles(self, name: str, leaf: Any, bias: str) -> tuple[dict[str, Any], list[tuple[str, str]], dict[str, int]]:
        """Macros, first arguments and sizes of a product with a matrix that is stored number by number."""
        packed = self.matrix(name, leaf, in_order(size_of(leaf)[0], self.settings), self.half)
        self.touched += packed.touched
        told, added = self.narrow_bias(bias)
        fields = {"STAGE(v, x)": packed.stage, "DOT(w, s, v, tile)": packed.dot, "OFFSET": packed.offset}
        args = [(BYTES, f"{name}.w"), (BYTES, f"{name}.s"), added]
        return {**fields, "TILES": packed.tiles, **told}, args, {"scratch": packed.scratch, "items": packed.tiles}

    def screened(self, name: str, form: Any) -> Screen | None:
        """The parts of an output layer and their buffers `name.rows` and `name.reach`; None where it is read whole."""
        if not self.screen or self.unpacked or not can_screen(form, self.settings):
            return None
        if name not in self.screens:
            found = self.screens[name] = screen_of(form, self.settings, len(in_order(form.size[0], self.settings)))
            self.array(f"{name}.rows", found.rows)
            self.array(f"{name}.reach", found.reach)
        return self.screens[name]

    def _train(self, name: str, form: TensorTrain, x: str, y: str, bias: np.ndarray | None, known: dict) -> None:
        """The last core first (Novikov et al. 2015, section 4); kernels/train.cl says how what is between lies."""
        C, last, side = 1, len(form.cores) - 1, 8 if self.settings.simd == 2 else 4
        for m in range(last, -1, -1):
            vectors, core = math.prod(form.column_modes[:m]) * C, f"{name}.core{m}"
            I, R, N = form.row_modes[m], form.bonds[m], form.column_modes[m] * form.bonds[m + 1]
            into = y if m == 0 else self.vector(f"{name}.between{m}", vectors * I * R)
            ends = known if m == 0 else {"START": 0, "AT": 0}
            leaf, added = by_digit(form.cores[m], R), bias if m == 0 else None
            if vectors == 1:
                self.product(core, leaf, x, into, added, ends["AT"], ends["START"] == 2)
            else:
                packed, fields = self._core(core, leaf)
                self.touched += packed.touched
                fields |= {"M": I * R, "N": N, "VECTORS": vectors, "SIDE": side}
                fields |= {"I": I, "R": R, "J": form.column_modes[m - 1] if m else 1, "C": C}
                args = [(BYTES, f"{core}.w"), (BYTES, f"{core}.s"), (FLOATS, self.bias(core, added, I * C))]
                items = -(-I * R // (2 * self.settings.vec)) * -(-vectors // side)
                self.call("train", fields | ends, [*args, (FLOATS, x), ("float", into)], items=items)
            x, C = into, C * I

    def _core(self, name: str, leaf: Any) -> tuple[Packed, dict[str, Any]]:
        """A core of a train and the KIND of its numbers, as kernels/train.cl wants them; int8 with row scales stays."""
        small, order = isinstance(leaf, Int8) and leaf.offset == 0, in_order(size_of(leaf)[0], self.settings)
        small &= not self.unpacked
        packed = self.matrix(name, leaf, order, self.half, unpacked=not small and not isinstance(leaf, Dense))
        kind = 2 if small else int(self.half and isinstance(leaf, Dense))
        return packed, {"KIND": kind, "HALF_SCALES": is_half(packed, order)}

    def _sparse(self, name: str, form: Sparse, *parts: str) -> tuple[Slices, list[tuple[str, str]]]:
        """A sparse matrix and the buffers of its `parts`."""
        if name not in self.sliced:
            self.sliced[name] = slices_of(form, self.settings, self.half, self.unpacked)
        found, parts = self.sliced[name], ("values", "columns", "starts", *parts)
        args = [(f"const {found.kinds[part]}", self.array(f"{name}.{part}", found.arrays[part])) for part in parts]
        return found, args

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
            found, args = self._sparse(name, form, "places", "scale")
            self.touched += 0 if shared else int(len(form.values) / (len(form.starts) - 1) * found.each)
            self.call("sparse_row", found.fields, [*args, ("float", x)])
        else:
            (M, N), order = size_of(form), in_order(size_of(form)[0], self.settings)
            if shared and (screen := self.screened(name, form)):  # its numbers lie row by row already
                weight, packed = f"{name}.rows", self.matrix(name, screen.upper, order, self.half)
                number = f"at_screen(w, s, m, n, {screen.stride}, {is_half(packed, order)})"
            else:
                weight, packed = f"{name}.w", self.matrix(name, form, order, self.half)
                number = packed.number
            self.touched += 0 if shared else packed.touched // M
            args = [(BYTES, weight), (BYTES, f"{name}.s"), ("float", x)]
            self.call("row", {"NUMBER(w, s, m, n)": number, "N": N}, args, items=N)

    def _train_row(self, name: str, form: TensorTrain, x: str, shared: bool) -> None:
        before, B, stride = x, 1, math.prod(form.row_modes)
        for m, core in enumerate(form.cores):
            stride //= form.row_modes[m]
            columns = form.column_modes[m] * form.bonds[m + 1]
            packed, _ = self._core(f"{name}.core{m}", by_digit(core, form.bonds[m]))
            self.touched += 0 if shared else packed.touched // form.row_modes[m]
            into = x if m == len(form.cores) - 1 else self.vector(f"{name}.digits{m}", B * columns)
            fields = {"NUMBER(w, s, m, n)": packed.number, "B": B, "COLUMNS": columns, "R": form.bonds[m]}
            fields |= {"STRIDE": stride, "MODE": form.row_modes[m], "IS_FIRST": int(m == 0)}
            args = [(BYTES, f"{name}.core{m}.w"), (BYTES, f"{name}.core{m}.s"), (FLOATS, before), ("float", into)]
            self.call("train_row", fields, args, items=B * columns)
            before, B = into, B * form.column_modes[m]


def rows_of(form: Any) -> int:
    """M of any form."""
    if isinstance(form, LowRank):
        return rows_of(form.left)
    if isinstance(form, TensorTrain):
        return math.prod(form.row_modes)
    return len(form.starts) - 1 if isinstance(form, Sparse) else size_of(form)[0]
