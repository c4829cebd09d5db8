"""How much the numbers of a matrix matter, which of them stay, and what those become when the others go.

Letters: V vocabulary, M rows, N columns, K numbers that stay, k those of a row, B stripes, T time, b rows at once.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from zoo.cache_rnnlm import RnnLmCache
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForCausalLM

from .activations import second_moments, training_text, watched, windows, word_shares
from .matrices import matrix_of

Criterion = Literal["magnitude", "activation", "curvature"]
Scope = Literal["matrix", "global", "row"]
Matrices = dict[str, torch.Tensor]  # by name
RIDGE = 1e-3  # added to the diagonal of moments, relative to it
ROOM = 1 << 22  # numbers of the equations that are solved at once


@torch.no_grad()
def scores(model: RnnLmForCausalLM, names: list[str], criterion: Criterion, data: Corpus | None) -> Matrices:
    """What each number of the named matrices is worth: name -> [M, N].

    `magnitude`: |w|. `activation`: |w| times the root mean square of its input (Sun et al. 2024, eq. 1). `curvature`:
    |w| times the root of the loss's second derivative by it; half the square is how much the loss rises when only this
    number goes (LeCun et al. 1990, eq. 5), so it is comparable between matrices.

    Raises:
        RecipeError: a criterion that needs training text, without data.
    """
    sizes = {name: weights(model, name).abs() for name in names}
    if criterion == "magnitude":
        return sizes
    need_text(data, f"criterion = {criterion!r}", "criterion = 'magnitude'")
    if criterion == "curvature":
        return {name: sizes[name] * found.sqrt() for name, found in curvature(model, names, data).items()}
    moments = second_moments(model, data)
    if model.config.tie_word_embeddings:  # the product is the use in which columns differ
        moments["embed"] = moments["head"]
    squares = {name: m.diagonal() if m.dim() == 2 else m[:, None] for name, m in moments.items()}
    return {name: size * squares[name].sqrt().float() for name, size in sizes.items()}


def weights(model: RnnLmForCausalLM, name: str) -> torch.Tensor:
    """A copy of a matrix in floats, on the CPU."""
    return matrix_of(model, name).to_dense().detach().float().cpu().clone()  # type: ignore[operator]


def need_text(data: Corpus | None, what: str, instead: str) -> None:
    """Refuses to go on without a corpus (RecipeError)."""
    if data is None:
        raise RecipeError(f"{what} needs training text; give a corpus, or {instead}")


def curvature(
    model: RnnLmForCausalLM, names: list[str], data: Corpus | None, positions: int = 50_000, progress: bool = True
) -> Matrices:
    """The diagonal of the Fisher matrix: an estimate of the loss's second derivative by each number of a matrix.

    Of the head the expectation over the predicted words, E[p (1 - p) x²]; of an embedding the share of the word times
    the mean square of the derivative by a column; of others the mean square of the derivative, position by position. A
    tied table has the sum of both its uses. Eval mode, carried state; the model stays as it is.

    Args:
        data: its split `train` is read.
        positions: tokens to run the model on, at most.
        progress: a bar on a terminal, where it takes long.

    Returns:
        name -> [M, N] per token, on the CPU.
    """
    tokens, config = training_text(model, data), model.config
    sums = {name: torch.zeros(config.shapes[name], device=model.device) for name in names}
    columns = torch.zeros(config.embedding_size, device=model.device)
    head = "embed" if config.tie_word_embeddings else "head"
    state, count = RnnLmCache(config), 0

    def watch(name: str, x: torch.Tensor, y: torch.Tensor) -> None:
        squares = x.detach().flatten(0, -2).square()

        def add(gradient: torch.Tensor) -> None:
            sums[name].addmm_(gradient.flatten(0, -2).square().T, squares)

        y.register_hook(add)

    with watched(model, [name for name in names if name not in ("embed", "head")], watch), torch.enable_grad():
        for inputs, targets in windows(model, tokens, data, positions, "curvature" if progress else ""):
            x = model.model.embed(inputs).detach().requires_grad_()
            output = model.model(inputs_embeds=x, past_key_values=state, use_cache=True)
            features = model.readout(output.last_hidden_state).flatten(0, 1)  # [B*T, N]
            logits = model.logits(features)
            if names != ["head"]:
                loss = F.cross_entropy(logits, targets.flatten(), reduction="sum")
                columns += torch.autograd.grad(loss, x)[0].flatten(0, 1).square().sum(0)
            if head in names:
                p = logits.detach().softmax(dim=-1)
                sums[head].addmm_((p * (1 - p)).T, features.detach().square())
            state.detach()
            count += inputs.numel()
    if "embed" in names:
        sums["embed"] += word_shares(tokens, config.vocab_size).float().to(columns)[:, None] * columns
    return {name: total.cpu() / count for name, total in sums.items()}


def largest(scores: Matrices, sparsity: float, scope: Scope) -> Matrices:
    """Which numbers stay: name -> bool [M, N], all but the share `sparsity` (rounded to a number) of the lowest scores.

    The share is of every matrix, of all together or of every row; of equal scores those that come first stay. A matrix
    (or row) keeps at least one.
    """
    if scope == "global":
        flat = [score.flatten().clone() for score in scores.values()]
        for each in flat:
            each[each.argmax()] = float("inf")
        count = max(len(flat), staying(sum(len(each) for each in flat), sparsity))
        stay = _highest(torch.cat(flat)[None], count)[0].split([len(each) for each in flat])
    else:
        lines = [score if scope == "row" else score.reshape(1, -1) for score in scores.values()]
        stay = tuple(_highest(line, staying(line.shape[1], sparsity)) for line in lines)
    return {name: each.view_as(score) for (name, score), each in zip(scores.items(), stay, strict=True)}


def staying(count: int, sparsity: float) -> int:
    """How many of `count` numbers stay."""
    return max(1, count - round(count * sparsity))


def _highest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Which scores [b, n] are the `count` highest of each row."""
    chosen = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, chosen, True)


def refitted(matrix: torch.Tensor, stay: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
    """The numbers that stay, changed so that the products change least on average (Hassibi and Stork 1993).

    Per row the least E[(w x - w' x)²] over w' that are zero where `stay` is False.

    Args:
        matrix: [M, N].
        stay: bool [M, N].
        moments: E[x xᵀ] [N, N] of what the matrix is multiplied with.
    """
    C = moments + RIDGE * moments.diagonal().clamp_min(1e-12).diag()
    wanted = matrix.to(C.dtype) @ C  # [M, N]
    counts = stay.sum(1)
    order = counts.argsort()  # rows with about as many numbers are solved together
    result = torch.zeros_like(wanted)
    start = 0
    while start < len(order):
        # As many rows as fit; the last of them has the most numbers.
        end = start + 1
        while end < len(order) and (end + 1 - start) * max(1, int(counts[order[end]])) ** 2 <= ROOM:
            end += 1
        rows = order[start:end]
        start, k = end, int(counts[rows[-1]])
        places = stay[rows].int().argsort(dim=1, descending=True, stable=True)[:, :k]  # [b, k], filled up with others
        real = stay[rows].gather(1, places)
        A = C[places[:, :, None], places[:, None, :]] * (real[:, :, None] & real[:, None, :])
        A += torch.diag_embed((~real).to(C.dtype))
        right = wanted[rows].gather(1, places) * real
        solved = torch.cholesky_solve(right[..., None], torch.linalg.cholesky(A))[..., 0]
        result[rows] = result[rows].scatter(1, places, solved * real)
    return result.to(matrix.dtype)
