"""What a recipe says of Bayesian sparsification."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from zoo.errors import RecipeError

from ..tables import number
from .groups import KINDS

Prior = Literal["log_uniform", "ard", "normal", "none", "group_lasso"]
GroupPrior = Literal["log_uniform", "log_normal"]


@dataclass(frozen=True)
class Spec:
    """Which weights are distributions, under which prior, and what goes in the end.

    Args:
        roles: matrices, as `matrices.select` takes them, and `score`, a text classifier's last layer; dense ones,
            and dense factors of others, on which groups do not act.
        prior: of single weights. `log_uniform`: SparseVD; `ard`: DSVI-ARD; `normal`: Bayesian compression, which needs
            groups; `none`: weights are plain numbers, only groups are noisy; `group_lasso`: nothing is noisy, the norms
            of the groups are penalised, kl_weight times the root of their size, and thresholds are root mean squares.
        groups: what gets variables of its own: inputs, hidden, gates, words (see `groups.groups_of`).
        group_prior: `log_uniform`: N(mean, sigma²), as for weights; `log_normal`: structured log-normal noise.
        log_sigma: of every weight at the start; with `relative` that of a weight of its matrix's standard deviation.
        relative: whether log_sigma counts from the log of the standard deviation of the matrix, for a trained start.
        group_log_sigma: of every group variable at the start.
        most_log_sigma: log sigma rises no further; noise of useless weights that is too loud to be left out unnoticed
            makes the means useless, while under a ceiling they become zero instead.
        rate: how much faster log sigma learns than the means; a short run needs more than 1.
        kl_weight: factor of the KL divergence; 1: the variational bound itself.
        anneal_begin, anneal_end: shares of the training between which that factor rises from 0.
        untie: a tied head gets a matrix of its own first.
        criterion: what is compared with the thresholds. `log_alpha`: a weight goes where log(sigma² / mean²) is
            above; `snr`: where mean / sigma is below; `prior_variance`: where the variance mean² + sigma² of the ARD
            prior is below.
        thresholds: tried on validation after training, each in turn; they hold for group variables too, whose log
            alpha is compared with 3 where `prior_variance` is the criterion of weights.
        tolerance: of all thresholds those count whose validation loss is at most this share above the best one; the
            sparsest of them is taken.
        most: numbers that may stay in these matrices; thresholds that leave more do not count. 0: any.
        shrink: whether what lies idle is taken out of the matrices and zeros are stored sparsely; if not, they stay.
    """

    roles: tuple[str, ...] = ("layers",)
    prior: Prior = "log_uniform"
    groups: tuple[str, ...] = ()
    group_prior: GroupPrior = "log_uniform"
    log_sigma: float = number(-3.0, least=-12, most=3)
    relative: bool = False
    group_log_sigma: float = number(-3.0, least=-12, most=3)
    most_log_sigma: float = number(3.0, least=-12, most=3)
    rate: float = number(1.0, least=0.01)
    kl_weight: float = number(1.0)
    anneal_begin: float = number(0.0, most=1)
    anneal_end: float = number(0.0, most=1)
    untie: bool = False
    criterion: Literal["log_alpha", "snr", "prior_variance"] = "log_alpha"
    thresholds: tuple[float, ...] = number((3.0,), least=float("-inf"))
    tolerance: float = number(0.0)
    most: int = number(0)
    shrink: bool = True

    def __post_init__(self) -> None:
        if unknown := [kind for kind in self.groups if kind not in KINDS]:
            raise RecipeError(f"groups names {unknown[0]!r}; allowed: {', '.join(KINDS)}")
        if not self.thresholds:
            raise RecipeError("thresholds is empty; give at least one, e.g. thresholds = [3.0]")
        if self.prior in ("normal", "none", "group_lasso") and not self.groups:
            raise RecipeError(
                f"prior = {self.prior!r} makes no single weight zero; give groups, e.g. groups = ['inputs', 'hidden']"
            )
        if self.criterion == "prior_variance" and self.prior != "ard":
            raise RecipeError("criterion = 'prior_variance' is that of prior = 'ard'; give criterion = 'log_alpha'")
        if self.anneal_end < self.anneal_begin:
            raise RecipeError(
                f"anneal_begin = {self.anneal_begin}, anneal_end = {self.anneal_end}; it must end after it begins"
            )

    def group_limit(self, threshold: float) -> float:
        """The log alpha above which a group variable goes."""
        if self.criterion == "snr":
            return -2 * math.log(max(threshold, 1e-9))
        return threshold if self.criterion == "log_alpha" else 3.0

    def kl_factor(self, done: float) -> float:
        """The factor of the KL divergence when the share `done` of the training is over."""
        if done >= self.anneal_end:
            return self.kl_weight
        return self.kl_weight * max(0.0, (done - self.anneal_begin) / (self.anneal_end - self.anneal_begin))
