"""Rounding whose errors are made up for by the numbers that are not rounded yet (GPTQ; Frantar et al. 2023, section 3).

Letters: M rows, N columns, G groups of columns with a scale of their own, R rank.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from zoo.corpora import Corpus
from zoo.factors_rnnlm import LowRank
from zoo.modeling_rnnlm import RnnLmForCausalLM

from .activations import Activations, second_moments

RIDGE = 0.01  # of the mean second moment, added to each; keeps directions that the text hardly showed from being free
LOOKUP = 0.1  # the same of a tied matrix, whose columns count as word vectors beside the product
Limit = Callable[[torch.Tensor], torch.Tensor]  # groups of numbers [M, n] -> the sizes at which they are cut off [M]


@torch.no_grad()
def compensated(
    matrix: torch.Tensor, moments: torch.Tensor, levels: int, group: int | None, limit: Limit
) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrix on its levels, so that its products with the inputs that were measured change least.

    Column by column: each is rounded, and its error goes to the columns after it by what the inputs have in common.

    Args:
        matrix: [M, N]. moments: E[x xᵀ] [N, N] of its inputs.
        levels: the largest whole number.
        group: columns that share a scale; None: all of a row do, and the scale is that of the matrix as it was.
        limit: the limits of groups, called with their numbers as they are when the group's turn comes.

    Returns:
        The rounded matrix [M, N], and the limits that its scales come from [M, G].
    """
    N = matrix.shape[1]
    rest = matrix.detach().double().clone()
    spread = _spread(moments.to(rest))
    rounded, limits = torch.empty_like(rest), []
    for column in range(N):
        if column % (group or N) == 0:
            limits.append(limit(rest[:, column : column + (group or N)].float()))
            scale = limits[-1].double() / levels
            divisor = torch.where(scale == 0, 1, scale)
        rounded[:, column] = scale * torch.round(rest[:, column] / divisor).clamp(-levels, levels)
        error = (rest[:, column] - rounded[:, column]) / spread[column, column]
        rest[:, column + 1 :] -= error[:, None] * spread[column, column + 1 :]
    return rounded.float(), torch.stack(limits, dim=1)


def moments_of_inputs(
    model: torch.nn.Module, data: Corpus | None, known: Activations | None = None
) -> dict[str, torch.Tensor]:
    """Name of a matrix -> second moments of what it is multiplied with; none of a mixture of softmaxes or a classifier.

    Args:
        data: whose training text is read; not needed where the moments are `known`.
    """
    if not isinstance(model, RnnLmForCausalLM) or model.config.num_softmaxes > 1:
        return {}
    moments = dict(second_moments(model, data) if known is None else known.inputs)
    del moments["embed"]  # shares of words, as a lookup multiplies nothing
    if model.config.tie_word_embeddings:
        C = moments["head"]
        # It is looked up too, where every column counts alike.
        moments["embed"] = C + LOOKUP * C.diagonal().mean() * torch.eye(len(C), dtype=C.dtype)
    return moments


def moments_of_parts(module: torch.nn.Module, moments: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Prefix of a part, as `quantize.parts` names them -> the moments of what it is multiplied with.

    Of a dense matrix, and of low-rank factors: the second one meets R x, so R E[x xᵀ] Rᵀ. Nothing of other forms.
    """
    if moments is None:
        return {}
    if isinstance(module, LowRank):
        right = module.right.to_dense().double()
        return {"right.": moments, "left.": right @ moments.to(right) @ right.T}
    return {"": moments} if isinstance(getattr(module, "weight", None), torch.Tensor) else {}


def _spread(moments: torch.Tensor) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of the moments [N, N]; the identity where no input was ever there."""
    level = moments.diagonal().mean()
    if not level > 0:
        return torch.eye(len(moments), dtype=moments.dtype)
    ridged = moments + RIDGE * level * torch.eye(len(moments), dtype=moments.dtype)
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(ridged)), upper=True)
