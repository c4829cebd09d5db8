"""KL divergences from posteriors to priors, element by element, in nats.

A weight's posterior is N(mean, sigma²); alpha = sigma² / mean² is its noise-to-signal ratio. Letters: `...` any sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

K1, K2, K3 = 0.63576, 1.87320, 1.48695  # of the approximation of Molchanov et al. 2017, eq. 14
TINY = 1e-16  # keeps the logarithm of a mean of zero finite

Kl = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def log_alpha(mean: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
    """mean [...], log_sigma [...] -> log(sigma² / mean²) [...]."""
    return 2 * log_sigma - torch.log(mean.square() + TINY)


def log_uniform(mean: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
    """KL to p(|w|) ~ 1/|w| up to its constant, 0 for alpha -> infinity (thesis, eq. 3; Molchanov et al. 2017, eq. 14).

    The printed constants 0.64, 1.87 and 1.49 are these ones rounded; the error is below 0.01 nats everywhere.
    """
    noise = log_alpha(mean, log_sigma)
    return K1 * torch.sigmoid(-(K2 + K3 * noise)) + 0.5 * F.softplus(-noise)


def ard(mean: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
    """KL to N(0, lambda) at the best variance lambda = mean² + sigma² of every weight (dissertation, eq. 9)."""
    return 0.5 * F.softplus(-log_alpha(mean, log_sigma))


def normal(mean: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
    """KL to N(0, 1), that of Bayesian compression (Louizos et al. 2017; thesis, section 3.3)."""
    return 0.5 * ((2 * log_sigma).exp() + mean.square() - 1) - log_sigma


KLS: dict[str, Kl] = {"log_uniform": log_uniform, "ard": ard, "normal": normal}


class LogNormal:
    """Structured log-normal noise: log z is N(mean, sigma²) cut to [LOW, HIGH] (Neklyudov et al. 2017).

    Its prior is uniform in log z on the same interval. A group goes where the signal-to-noise ratio of z is low.
    """

    LOW, HIGH = -20.0, 0.0

    @classmethod
    def ends(cls, mean: torch.Tensor, sigma: torch.Tensor, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
        """Both ends of the interval in standard deviations from the mean, moved by `shift` of them."""
        return (cls.LOW - mean) / sigma - shift * sigma, (cls.HIGH - mean) / sigma - shift * sigma

    @classmethod
    def log_mass(cls, mean: torch.Tensor, sigma: torch.Tensor, shift: float = 0.0) -> torch.Tensor:
        """log of the probability between the ends; stable in both tails."""
        low, high = cls.ends(mean, sigma, shift)
        # Phi(b) - Phi(a) = Phi(-a) - Phi(-b): the one whose terms are small is taken.
        flip = low + high > 0
        low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
        upper, lower = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
        return upper + torch.log1p(-torch.exp((lower - upper).clamp(max=-1e-7)))

    @classmethod
    def kl(cls, mean: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
        """mean [...], log_sigma [...] of log z -> KL [...] (Neklyudov et al. 2017, eq. 13)."""
        sigma = log_sigma.exp()
        low, high = cls.ends(mean, sigma)
        mass = cls.log_mass(mean, sigma)
        density = -0.5 * math.log(2 * math.pi)
        edge = low * torch.exp(density - 0.5 * low.square() - mass) - high * torch.exp(
            density - 0.5 * high.square() - mass
        )
        return math.log(cls.HIGH - cls.LOW) - 0.5 * math.log(2 * math.pi * math.e) - log_sigma - mass - 0.5 * edge

    @classmethod
    def moment(cls, mean: torch.Tensor, log_sigma: torch.Tensor, power: int) -> torch.Tensor:
        """E[z^power] [...]."""
        sigma = log_sigma.exp()
        mass = cls.log_mass(mean, sigma, shift=power) - cls.log_mass(mean, sigma)
        return torch.exp(power * mean + 0.5 * (power * sigma).square() + mass)

    @classmethod
    def log_alpha(cls, mean: torch.Tensor, log_sigma: torch.Tensor) -> torch.Tensor:
        """log(variance / mean²) of z [...], so that one threshold serves all posteriors."""
        first, second = cls.moment(mean, log_sigma, 1), cls.moment(mean, log_sigma, 2)
        return torch.log((second / first.square() - 1).clamp_min(TINY))

    @classmethod
    def sample(cls, mean: torch.Tensor, log_sigma: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """z [...] from numbers `uniform` in (0, 1) [...], by the inverse of the distribution function."""
        sigma = log_sigma.exp()
        low, high = (torch.special.ndtr(end) for end in cls.ends(mean, sigma))
        place = (low + (high - low) * uniform).clamp(1e-6, 1 - 1e-6)
        return torch.exp((mean + sigma * torch.special.ndtri(place)).clamp(cls.LOW, cls.HIGH))
