"""Specs of the weight forms, checked, put into words and counted without torch: the plain twin of `weights_rnnlm`.

A spec is the JSON object that a config gives a matrix, e.g. {"form": "low_rank", "rank": 50, "values": {"form": "int4",
"group": 32}}. Letters: M rows, N columns, R rank, K stored numbers, d modes; i, j row and column mode, r bond.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import CheckpointError

Spec = Mapping[str, Any]
DENSE: Spec = {"form": "dense"}
SCHEMES = ("row", "range")
# form -> fields that it needs, fields that it may have; and their types.
FIELDS: dict[str, tuple[dict[str, type], dict[str, type]]] = {
    "dense": ({}, {}),
    "int8": ({"scheme": str}, {}),
    "int4": ({"group": int}, {}),
    "low_rank": ({"rank": int}, {"values": dict}),
    "tensor_train": ({"row_modes": list, "column_modes": list, "ranks": list}, {"values": dict}),
    "sparse": ({"nonzeros": int}, {"values": dict}),
}
LEAVES = ("dense", "int8", "int4")
KINDS: dict[type, str] = {str: "a text", dict: "a form"}
KINDS |= {int: "a whole number of at least 1", list: "a list of whole numbers of at least 1"}


def check(spec: Any, rows: int, columns: int, where: str) -> None:
    """Refuses what is no spec, or none that a matrix [M, N] can have.

    Raises:
        CheckpointError: begins with `where`; names what is wrong and what is allowed or nearest to it.
    """
    _check_fields(spec, where, tuple(FIELDS))
    _check_size(spec, rows, columns, where)


def _check_fields(spec: Any, where: str, forms: Sequence[str]) -> None:
    """Refuses an unknown form, and missing, unknown or wrong-typed fields."""
    form = spec.get("form") if isinstance(spec, Mapping) else None
    if not isinstance(form, str) or form not in forms:
        raise CheckpointError(f"{where} is {spec!r}; it must be {{'form': one of {', '.join(forms)}, ...}}")
    needed, optional = FIELDS[form]
    fields = set(spec) - {"form"}
    if not set(needed) <= fields <= set(needed) | set(optional):
        also = f", and may have {', '.join(optional)}" if optional else ""
        raise CheckpointError(
            f"{where}, {form}, has the fields {', '.join(sorted(fields)) or '(none)'}; "
            f"it needs {', '.join(needed) or 'none'}{also}"
        )
    for name in sorted(fields):
        kind = {**needed, **optional}[name]
        if not _is(spec[name], kind):
            raise CheckpointError(f"{where}, {form}, has {spec[name]!r} as {name}; it must be {KINDS[kind]}")
    if form == "sparse":
        if spec.get("values", {"form": "int8"}) != {"form": "int8"}:
            raise CheckpointError(
                f"{where}, sparse, has {spec['values']!r} as values; leave it out (floats) or give {{'form': 'int8'}}"
            )
    elif "values" in spec:
        _check_fields(spec["values"], f"{where}, values of {form}", LEAVES)


def _is(value: Any, kind: type) -> bool:
    """Whether the field of a spec has the type that it should have."""
    if kind is list:
        return isinstance(value, list | tuple) and all(_is(item, int) for item in value)
    return type(value) is int and value >= 1 if kind is int else type(value) is kind


def _check_size(spec: Spec, rows: int, columns: int, where: str) -> None:
    """Refuses numbers that no matrix [M, N] can have."""
    form, size = spec["form"], f"{rows} x {columns}"
    where = f"{where}, {form},"
    if form == "int8" and spec["scheme"] not in SCHEMES:
        raise CheckpointError(f"{where} has the scheme {spec['scheme']!r}; it must be {' or '.join(SCHEMES)}")
    if form == "int4" and spec["group"] % 2:
        raise CheckpointError(f"{where} has the group {spec['group']}; it must be even, e.g. {spec['group'] + 1}")
    if form == "low_rank" and spec["rank"] > min(rows, columns):
        raise CheckpointError(f"{where} has rank {spec['rank']} for {size}; it must be at most {min(rows, columns)}")
    if form == "sparse" and spec["nonzeros"] > rows * columns:
        raise CheckpointError(f"{where} has {spec['nonzeros']} nonzeros for {size}; at most {rows * columns}")
    if form == "tensor_train":
        _check_train(spec, rows, columns, where)
    if "values" in spec and form != "sparse":
        _check_size(spec["values"], rows, columns, where.removesuffix(",") + " of")


def _check_train(spec: Spec, rows: int, columns: int, where: str) -> None:
    """Refuses modes that do not multiply to the sizes, and ranks above the full ones."""
    d, ranks = len(spec["row_modes"]), list(spec["ranks"])
    for name, size in (("row_modes", rows), ("column_modes", columns)):
        modes = list(spec[name])
        if not modes or math.prod(modes) != size:
            raise CheckpointError(
                f"{where} has {name} {modes}, which multiply to {math.prod(modes)}, not {size}; "
                f"e.g. {balanced_modes(size, max(1, len(modes)))} do"
            )
    if len(spec["column_modes"]) != d or len(ranks) != d - 1:
        raise CheckpointError(
            f"{where} has {d} row_modes, {len(spec['column_modes'])} column_modes and {len(ranks)} ranks; as many "
            "column modes as row modes are needed (fill up with 1) and one rank less"
        )
    full = full_ranks(spec["row_modes"], spec["column_modes"])
    if any(rank > most for rank, most in zip(ranks, full, strict=True)):
        raise CheckpointError(f"{where} has ranks {ranks}; with these modes they are at most {full}")


def full_ranks(row_modes: Sequence[int], column_modes: Sequence[int]) -> list[int]:
    """The largest rank that each bond can need [d-1]."""
    sizes = [i * j for i, j in zip(row_modes, column_modes, strict=True)]
    return [min(math.prod(sizes[:m]), math.prod(sizes[m:])) for m in range(1, len(sizes))]


def balanced_modes(size: int, count: int) -> list[int]:
    """`count` whole numbers, as equal as they can be, whose product is `size`."""
    modes = []
    for left in range(count, 0, -1):
        root = size ** (1 / left)
        divisors = [k for k in range(1, size + 1) if size % k == 0]
        modes.append(size if left == 1 else min(divisors, key=lambda k: abs(k - root)))
        size //= modes[-1]
    return sorted(modes)


def core_shapes(spec: Spec) -> list[tuple[int, int]]:
    """(rows, columns) of each core of a Tensor Train, stored as a matrix [r_m-1 i_m, j_m r_m]."""
    bonds = [1, *spec["ranks"], 1]
    modes = zip(bonds[:-1], spec["row_modes"], spec["column_modes"], bonds[1:], strict=True)
    return [(r * i, j * s) for r, i, j, s in modes]


def parameters(spec: Spec, rows: int, columns: int) -> int:
    """Numbers of a matrix [M, N] of this form: those of its factors; scales and indices are none."""
    if spec["form"] == "low_rank":
        return spec["rank"] * (rows + columns)
    if spec["form"] == "tensor_train":
        return sum(m * n for m, n in core_shapes(spec))
    return rows * columns


def words(spec: Spec) -> str:
    """A spec in a few words, e.g. "low_rank 50 of int8 row"; a Tensor Train as its modes with the ranks between."""
    form = spec["form"]
    text = ""
    if form == "int8" and "scheme" in spec:  # the numbers of a sparse matrix have none
        text = f" {spec['scheme']}"
    elif form == "int4":
        text = f" groups of {spec['group']}"
    elif form == "low_rank":
        text = f" {spec['rank']}"
    elif form == "sparse":
        text = f" {spec['nonzeros']:,}"
    elif form == "tensor_train":
        modes = [f"{i}x{j}" for i, j in zip(spec["row_modes"], spec["column_modes"], strict=True)]
        text = " " + modes[0] + "".join(f"-{r}-{mode}" for r, mode in zip(spec["ranks"], modes[1:], strict=True))
    values = spec.get("values", DENSE)
    return form + text + ("" if values["form"] == "dense" else f" of {words(values)}")
