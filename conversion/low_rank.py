"""Low rank: a matrix as the product of two thin ones, by singular values (Grachev et al. 2019, eq. 7 and section 5.3).

Letters: M rows, N columns, R rank, K smaller side.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForCausalLM

from .activations import Activations, measure, square_root
from .matrices import Change, config_with, matrix_of, select, with_forms
from .tables import number


@dataclass(frozen=True)
class Spec:
    """Which matrices, and how far.

    Args:
        roles: the matrices, as `matrices.select` takes them.
        rank: R of every matrix; 0: the smallest that `error` allows.
        error: the largest relative error of every matrix, in the norm that is minimised; a matrix that it does not
            make smaller stays as it is. Exactly one of `rank` and `error` is given.
        weighted: keeps what the matrices do on training text instead of their numbers: columns weighted by the second
            moments of the input, rows by how much an output matters to the loss (a word's: its share of the text). The
            table of a tied embedding is weighted for both its uses, lookup and product, in equal parts.
        untie: a tied head gets a matrix of its own first.
    """

    roles: tuple[str, ...] = ("head",)
    rank: int = number(0)
    error: float = number(0.0, most=0.99)
    weighted: bool = True
    untie: bool = False


def plan(config: RnnLmConfig, spec: Spec) -> RnnLmConfig:
    """The config of the result; with `error` every rank is the largest that makes the matrix smaller.

    Raises:
        RecipeError: a role that the model has not, a rank above a matrix's smaller side, not one of rank and error.
    """
    if bool(spec.rank) == bool(spec.error):
        raise RecipeError(
            f"rank is {spec.rank} and error {spec.error}; give exactly one, e.g. rank = 64, or error = 0.3 for ranks "
            "that keep 70% of each matrix's norm"
        )
    untied = {"tie_word_embeddings": False} if spec.untie else {}
    shapes = config_with(config, {}, **untied).shapes
    names = select(config_with(config, {}, **untied), spec.roles)
    too_small = [name for name in names if min(shapes[name]) < spec.rank]
    if too_small:
        sizes = ", ".join(f"{name} ({shapes[name][0]} x {shapes[name][1]})" for name in too_small)
        most = min(min(shapes[name]) for name in too_small)
        raise RecipeError(f"rank {spec.rank} is above the full rank of {sizes}; give rank = {most} or other roles")
    forms = {name: {"form": "low_rank", "rank": spec.rank or paying_rank(*shapes[name])} for name in names}
    return config_with(config, forms, **untied)


@torch.no_grad()
def compress(
    model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None, known: Activations | None = None
) -> RnnLmForCausalLM:
    """A copy of a model with matrices of low rank, also of those that are in another form by now.

    Args:
        known: what the model does on training text, if it was measured before; else it is when `weighted` asks for it.

    Raises:
        RecipeError: as `plan`; `weighted` without data; an error that makes no matrix smaller.
        CorpusError, VocabularyError: the data are of no use.
    """
    names = select(config := plan(model.config, spec), spec.roles)
    if not spec.weighted:
        known = Activations()
    elif known is None:
        known = measure(model, data)
    changes: dict[str, Change] = {}
    least: dict[str, float] = {}
    for name in names:
        W = matrix_of(model, name).to_dense().cpu().double()  # type: ignore[operator]
        rows = row_weights(known.outputs[name]) if spec.weighted else torch.ones(len(W)).double()
        root = column_root(name, known.inputs, config.tie_word_embeddings, W.shape[1])
        rank, least[name] = spec.rank, 0.0
        u, s, X = decompose(W, rows, root)
        if spec.error:
            tails = tails_of(s)
            rank = max(1, int((tails > spec.error).sum()))
            least[name] = float(tails[min(paying_rank(*W.shape), len(s) - 1)])
        if spec.rank or rank <= paying_rank(*W.shape):
            left, right = balanced(u[:, :rank] / rows[:, None], u[:, :rank].T @ X)
            tensors = {"left.weight": left.float(), "right.weight": right.float()}
            changes[name] = ({"form": "low_rank", "rank": rank}, tensors)
    if not changes:
        nearest = min(least.values())
        raise RecipeError(
            f"error {spec.error} needs ranks that make no matrix of {', '.join(names)} smaller; "
            f"give at least error = {nearest + 5e-4:.3f}, or a rank"
        )
    return with_forms(model, changes, **({"tie_word_embeddings": False} if spec.untie else {}))


def paying_rank(M: int, N: int) -> int:
    """The largest R whose factors have fewer numbers than a matrix [M, N], but at least 1."""
    return max(1, (M * N - 1) // (M + N))


def row_weights(outputs: torch.Tensor) -> torch.Tensor:
    """How much each output matters [M] -> weights of rows [M]; what the text never showed counts as the least seen."""
    if not (outputs > 0).any():
        return torch.ones_like(outputs)
    return (outputs + outputs[outputs > 0].min()).sqrt()


def column_root(name: str, moments: dict[str, torch.Tensor], tied: bool, N: int) -> torch.Tensor:
    """The square root [N, N] of what an error in the columns of a matrix is weighted with."""
    C = torch.eye(N).double()
    if moments and name == "embed" and tied:  # a lookup, all columns alike, and a product with the features
        level = moments["head"].diagonal().mean().clamp_min(1e-30)
        C = C + moments["head"] / level
    elif moments and name != "embed":
        C = moments[name]
    return square_root(C)[0]


def decompose(
    W: torch.Tensor, rows: torch.Tensor, root: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """W [M, N], weights of rows [M] and the root of the columns' [N, N] -> u [M, K], s [K] and X = rows W [M, N].

    diag(1/rows) u_R u_Rᵀ X is the W' of rank R with the least ||diag(rows) (W - W') root||: no inverse of the root.
    """
    X = rows[:, None] * W
    u, s, _ = torch.linalg.svd(X @ root, full_matrices=False)
    return u, s, X


def tails_of(s: torch.Tensor) -> torch.Tensor:
    """Singular values [K] -> relative error of the best matrix of rank 0, 1 .. K-1 [K]."""
    return (s.flip(0).square().cumsum(0).flip(0) / s.square().sum().clamp_min(1e-300)).sqrt()


def balanced(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """left [M, R], right [R, N] -> the same product, each of its R terms with factors of equal norm."""
    a, b = left.norm(dim=0), right.norm(dim=1)
    scale = torch.where((a > 0) & (b > 0), (b / a.clamp_min(1e-300)).sqrt(), torch.ones_like(a))
    return left * scale, right / scale.clamp_min(1e-300)[:, None]
