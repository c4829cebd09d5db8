"""Bayesian sparsification as a step of a recipe: trains under noise, chooses a threshold, makes the model smaller."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.errors import RecipeError
from zoo.plain_network import check_plain
from zoo.review_tokenization import PAD
from zoo.tokenization import EOS, UNK

from ..constraint import Constraint
from ..matrices import config_with, score_of, untied
from ..tasks import observations, validation_loss
from .groups import groups_of
from .lasso import Lasso
from .latents import Latents, Tensors, names_of, parameter_of
from .shrink import shrink
from .spec import Spec
from .variational import Variational, exchange

NEEDS_STAGES = "it sparsifies by training; give the step a table [[compress.stage]]"


def plan(config: RnnLmConfig, spec: Spec, score: int = 0) -> RnnLmConfig:
    """The config that training starts from; what is left after it is known at its end only.

    Args:
        score: classes of a text classifier; 0: a language model.

    Raises:
        RecipeError: roles or groups that the model has not; matrices that are not dense.
    """
    check_plain(config, "bayes", "take prune, which makes single numbers zero", RecipeError)
    config = config_with(config, {}, tie_word_embeddings=False) if spec.untie else config
    groups_of(config, spec.groups, names_of(config, spec.roles, score), score)
    return copy.deepcopy(config)


def prepare(model: Any, spec: Spec, data: Any = None) -> Any:
    """A copy of the model with variational parameters, as `Variational` trains it.

    Args:
        data: the corpus or the reviews, which say how many observations there are.

    Raises:
        RecipeError: as `plan`; data is missing.
    """
    if data is None:
        raise RecipeError("bayes learns from data; give --data DIR, or a corpus in the recipe")
    plan(model.config, spec, score_of(model))
    model = untied(model) if spec.untie else copy.deepcopy(model)
    model.variational = (Lasso if spec.prior == "group_lasso" else Latents)(model, spec, observations(data))
    return model


def constraint(spec: Spec) -> Constraint:
    """Training under noise."""
    return Variational(spec)


def compress(model: Any, spec: Spec, data: Any = None) -> Any:
    """The ordinary smaller model that is left of one trained under noise.

    It has an attribute `report`: `thresholds`, one row per threshold tried (threshold, nonzeros, valid_loss), the
    `threshold` taken, `structure` as `shrink.structure_of` gives it, and `words`, the ids that stay, where some go.

    Args:
        data: the corpus or the reviews, whose validation part chooses the threshold.

    Raises:
        RecipeError: the model was not trained under noise, or no threshold leaves a number as its loss.
    """
    latents: Latents | None = getattr(model, "variational", None)
    if latents is None:
        raise RecipeError(f"bayes: {NEEDS_STAGES}")
    latents.spec = spec
    model = model.eval()
    parameters = {name: parameter_of(model, name) for name in latents.names}
    means = {name: parameter.detach() for name, parameter in parameters.items()}
    unknown = data.vocabulary.index(UNK) if score_of(model) else None
    rows = []
    for threshold in spec.thresholds:
        matrices = kept(latents, means, threshold, unknown)
        with exchange(parameters, matrices):
            loss = validation_loss(model, data)
        nonzeros = sum(int(matrix.count_nonzero()) for matrix in matrices.values())
        rows.append({"threshold": threshold, "nonzeros": nonzeros, "valid_loss": round(loss, 6)})
    chosen = choose(rows, spec.tolerance, spec.most or None)
    plain = copy.deepcopy(model)
    del plain.variational
    with torch.no_grad():
        for name, matrix in kept(latents, means, chosen["threshold"], unknown).items():
            parameter_of(plain, name).copy_(matrix)
    report: dict[str, Any] = {"thresholds": rows, "threshold": chosen["threshold"]}
    if spec.shrink:
        made = shrink(plain, keep_words=special_ids(data), unknown=unknown)
        report |= {"structure": made.structure} | ({"words": made.words} if made.words is not None else {})
        plain = made.model
    plain.report = report
    return plain


def kept(latents: Latents, means: Tensors, threshold: float, unknown: int | None) -> Tensors:
    """The matrices that a threshold leaves; `<unk>` of a classifier has no vector, as it stands for words that went."""
    matrices = latents.matrices(means, threshold)
    if unknown is not None and "embed" in matrices:
        matrices["embed"][unknown] = 0
    return matrices


def choose(rows: list[dict[str, Any]], tolerance: float, most: int | None = None) -> dict[str, Any]:
    """The row with the fewest numbers among those whose loss is at most the best one's times 1 + tolerance.

    Args:
        most: rows with more numbers do not count, unless all have.
    """
    finite = [row for row in rows if math.isfinite(row["valid_loss"])]
    few = [row for row in finite if most is None or row["nonzeros"] <= most]
    finite = few or sorted(finite, key=lambda row: row["nonzeros"])[:1]
    if not finite:
        raise RecipeError(
            "the validation loss is no number at any threshold, so training has diverged; lower the stages' lr or "
            "log_sigma, and remove the run's folder"
        )
    best = min(row["valid_loss"] for row in finite)
    return min(
        (row for row in finite if row["valid_loss"] <= best * (1 + tolerance)),
        key=lambda row: (row["nonzeros"], row["valid_loss"]),
    )


def special_ids(data: Any) -> list[int]:
    """Ids that must stay whatever their vectors are: padding and the unknown word."""
    return [number for number, word in enumerate(data.vocabulary) if word in (EOS, UNK, PAD)]
