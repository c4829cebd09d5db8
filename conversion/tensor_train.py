"""Tensor Train of matrices by TT-SVD (Oseledets 2011, algorithm 1; Grachev et al. 2019, section 4.3, eq. 22).

Letters: M rows, N columns, d modes, r rank of a bond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.factors_rnnlm import balanced_modes, full_ranks, tt_svd
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.weights_rnnlm import FORMS

from .matrices import Change, config_with, matrix_of, select, with_forms
from .tables import number

Modes = tuple[list[int], list[int]]  # of rows and of columns, d each


@dataclass(frozen=True)
class Spec:
    """Which matrices, how they are cut into modes, and how far.

    Args:
        roles: the matrices, as `matrices.select` takes them.
        order: d; every matrix gets d row modes and d column modes as equal as they can be. Takes any sizes.
        row_modes, column_modes: the modes in pairs, their products are M and N (Novikov et al. 2015). Fill up with 1.
        modes: the modes of the plain reshape (eq. 22), their product is M N; the rows are the first ones, and one mode
            may reach over the boundary. Exactly one of order, row_modes with column_modes, and modes is given; the
            latter two only for matrices of one shape.
        ranks: of the d-1 bonds.
        error: the largest relative error in the Frobenius norm, instead of ranks; a matrix that it does not make
            smaller stays as it is.
        max_rank: of any bond; alone, it is the rank of every bond that can have it; with `error`, it comes first.
        untie: a tied head gets a matrix of its own first.
    """

    roles: tuple[str, ...] = ("head",)
    order: int = number(0)
    row_modes: tuple[int, ...] = number((), least=1)
    column_modes: tuple[int, ...] = number((), least=1)
    modes: tuple[int, ...] = number((), least=1)
    ranks: tuple[int, ...] = number((), least=1)
    error: float = number(0.0, most=0.99)
    max_rank: int = number(0)
    untie: bool = False


def plan(config: RnnLmConfig, spec: Spec) -> RnnLmConfig:
    """The config of the result; with `error` the ranks are the largest that the modes (and `max_rank`) allow.

    Raises:
        RecipeError: a role that the model has not, modes that do not multiply to the sizes, ranks above the full ones.
    """
    untied = {"tie_word_embeddings": False} if spec.untie else {}
    shapes = config_with(config, {}, **untied).shapes
    names = select(config_with(config, {}, **untied), spec.roles)
    check_choices(spec)
    if not spec.order and len({shapes[name] for name in names}) > 1:
        sizes = ", ".join(f"{name} {shapes[name][0]} x {shapes[name][1]}" for name in names)
        raise RecipeError(f"one list of modes for matrices of several shapes ({sizes}); give order = {order_of(spec)}")
    forms = {}
    for name in names:
        rows, columns = modes_of(spec, name, *shapes[name])
        forms[name] = form(rows, columns, ranks_of(spec, name, rows, columns))
    return config_with(config, forms, **untied)


@torch.no_grad()
def compress(model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None) -> RnnLmForCausalLM:
    """A copy of a model with matrices as Tensor Trains, also of those in another form by now. Needs no data.

    The error is at most the root of the sum of the squares of the singular values left out at all bonds, and equal to
    that where one bond alone is cut (Oseledets 2011, theorem 2.2).

    Raises:
        RecipeError: as `plan`; an error that makes no matrix smaller.
    """
    config = plan(model.config, spec)
    names = select(config, spec.roles)
    changes: dict[str, Change] = {}
    for name in names:
        matrix = matrix_of(model, name).to_dense().cpu().float()  # type: ignore[operator]
        rows, columns = modes_of(spec, name, *matrix.shape)
        ranks = ranks_of(spec, name, rows, columns)
        if spec.error:
            cores, _ = tt_svd(matrix, rows, columns, error=spec.error)
            found = [core.shape[-1] for core in cores[:-1]]
            ranks = feasible([min(pair) for pair in zip(found, ranks, strict=True)], rows, columns)
            if parameters(rows, columns, ranks) >= matrix.numel():
                continue
        chosen = form(rows, columns, ranks)
        changes[name] = (chosen, FORMS["tensor_train"].from_dense(matrix, chosen))
    if not changes:
        raise RecipeError(
            f"error {spec.error} needs ranks that make no matrix of {', '.join(names)} smaller; "
            f"give a larger error, e.g. {min(0.99, 0.5 + spec.error / 2):.2f}, or max_rank"
        )
    return with_forms(model, changes, **({"tie_word_embeddings": False} if spec.untie else {}))


def check_choices(spec: Spec) -> None:
    """Refuses a spec that says the same thing twice or not at all."""
    ways = [bool(spec.order), bool(spec.row_modes or spec.column_modes), bool(spec.modes)]
    if sum(ways) != 1 or bool(spec.row_modes) != bool(spec.column_modes):
        raise RecipeError(
            f"order is {spec.order}, row_modes {list(spec.row_modes)}, column_modes {list(spec.column_modes)}, modes "
            f"{list(spec.modes)}; give order = {order_of(spec)}, or both row_modes and column_modes, or modes"
        )
    if bool(spec.ranks) + bool(spec.error) > 1 or (spec.ranks and spec.max_rank):
        raise RecipeError(
            f"ranks {list(spec.ranks)}, error {spec.error} and max_rank {spec.max_rank} exclude each other, but for "
            "error with max_rank; give ranks alone"
        )
    if not (spec.ranks or spec.error or spec.max_rank) and order_of(spec) > 1:
        raise RecipeError("no ranks; give max_rank = 16, or ranks, one per bond, or error, e.g. error = 0.3")


def order_of(spec: Spec) -> int:
    """d; 3 where the spec says nothing."""
    return spec.order or len(spec.row_modes or spec.column_modes or spec.modes) or 3


def modes_of(spec: Spec, name: str, M: int, N: int) -> Modes:
    """Row and column modes of a matrix [M, N]: large row modes beside small column modes where `order` chooses them."""
    if spec.order:
        return balanced_modes(M, spec.order), balanced_modes(N, spec.order)[::-1]
    if spec.row_modes:
        rows, columns = list(spec.row_modes), list(spec.column_modes)
        try:
            FORMS["tensor_train"].check(form(rows, columns, [1] * (len(rows) - 1)), M, N)
        except ValueError as error:
            raise RecipeError(f"{name}: {error}") from None
        return rows, columns
    k = list(spec.modes)
    nearest = balanced_modes(M, (len(k) + 1) // 2) + balanced_modes(N, max(1, len(k) // 2))
    if math.prod(k) != M * N:
        raise RecipeError(
            f"modes {k} multiply to {math.prod(k)}, {name} has {M} x {N} = {M * N} numbers; give e.g. modes = {nearest}"
        )
    rows, columns, left = [], [], M  # left: what the modes so far leave of M
    for mode in k:
        i = math.gcd(mode, left) if mode > left else mode
        if left % i or (left > 1 and mode >= left and i != left):
            raise RecipeError(
                f"modes {k} do not fall apart into {M} rows and {N} columns of {name}: the first ones must multiply to "
                f"{M}, or one mode must hold the rest of it; give e.g. modes = {nearest}"
            )
        rows.append(i)
        columns.append(mode // i)
        left //= i
    return rows, columns


def ranks_of(spec: Spec, name: str, rows: list[int], columns: list[int]) -> list[int]:
    """The ranks that a spec asks for; with `error`, the largest."""
    full = full_ranks(rows, columns)
    if not spec.ranks:
        return feasible([min(rank, spec.max_rank or rank) for rank in full], rows, columns)
    ranks = list(spec.ranks)
    if len(ranks) != len(full):
        example = feasible([min(ranks[0], most) for most in full], rows, columns)
        raise RecipeError(f"ranks {ranks} of {name}: {len(rows)} modes have {len(full)} bonds; give ranks = {example}")
    if ranks != (nearest := feasible([min(pair) for pair in zip(ranks, full, strict=True)], rows, columns)):
        raise RecipeError(
            f"ranks {ranks} of {name}: with row modes {rows} and column modes {columns} they are at most {full}, and "
            f"none can be above its neighbour times the modes between; give ranks = {nearest}"
        )
    return ranks


def feasible(ranks: list[int], rows: list[int], columns: list[int]) -> list[int]:
    """Ranks, cut to what the neighbouring bonds can make use of."""
    sizes, bonds = [i * j for i, j in zip(rows, columns, strict=True)], [1, *ranks, 1]
    for m in range(1, len(bonds) - 1):
        bonds[m] = min(bonds[m], bonds[m - 1] * sizes[m - 1])
    for m in range(len(bonds) - 2, 0, -1):
        bonds[m] = min(bonds[m], sizes[m] * bonds[m + 1])
    return bonds[1:-1]


def parameters(rows: list[int], columns: list[int], ranks: list[int]) -> int:
    """Numbers in all cores."""
    bonds = [1, *ranks, 1]
    return sum(r * i * j * s for r, i, j, s in zip(bonds[:-1], rows, columns, bonds[1:], strict=True))


def form(rows: list[int], columns: list[int], ranks: list[int]) -> dict:
    """The weight form."""
    return {"form": "tensor_train", "row_modes": rows, "column_modes": columns, "ranks": ranks}
