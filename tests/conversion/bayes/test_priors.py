"""KL divergences against numerical integration, and samples against the moments that they should have."""

import math

import pytest
import torch

from conversion.bayes.priors import KLS, LogNormal, ard, log_alpha, log_uniform, normal

MEANS = (-2.0, -0.3, 0.05, 0.7)
SIGMAS = (0.01, 0.2, 1.0, 5.0)


def grid(mean: float, sigma: float, points: int = 400_001) -> tuple[torch.Tensor, torch.Tensor]:
    """Places around a mean and the shares of N(mean, sigma²) there."""
    z = torch.linspace(-12, 12, points, dtype=torch.float64)
    weights = torch.exp(-0.5 * z.square())
    return mean + sigma * z, weights / weights.sum()


def entropy(sigma: float) -> float:
    return 0.5 * math.log(2 * math.pi * math.e * sigma**2)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_log_uniform(mean: float, sigma: float):
    w, share = grid(mean, sigma)
    # -H(q) + E log|w| less its limit for alpha -> infinity: it has no absolute value, as 1/|w| has no integral.
    limit = -0.5 * (0.5772156649 + math.log(2)) - 0.5 * math.log(2 * math.pi * math.e)
    exact = -entropy(sigma) + float((share * w.abs().clamp_min(1e-12).log()).sum()) - limit
    found = log_uniform(torch.tensor(mean), torch.tensor(math.log(sigma)))
    assert float(found) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_normal_and_ard(mean: float, sigma: float):
    w, share = grid(mean, sigma)
    log_sigma = torch.tensor(math.log(sigma))

    def to_normal(variance: float) -> float:
        prior = -0.5 * math.log(2 * math.pi * variance) - 0.5 * w.square() / variance
        return -entropy(sigma) - float((share * prior).sum())

    assert float(normal(torch.tensor(mean), log_sigma)) == pytest.approx(to_normal(1.0), rel=1e-4, abs=1e-4)
    best = mean**2 + sigma**2
    assert float(ard(torch.tensor(mean), log_sigma)) == pytest.approx(to_normal(best), rel=1e-4, abs=1e-4)
    assert to_normal(best) <= min(to_normal(0.9 * best), to_normal(1.1 * best))  # lambda* is the best variance


@pytest.mark.parametrize("mean", (-6.0, -1.0, -0.01, 2.0))
@pytest.mark.parametrize("sigma", (0.05, 0.5, 3.0, 10.0))
def test_log_normal(mean: float, sigma: float):
    x = torch.linspace(LogNormal.LOW, LogNormal.HIGH, 400_001, dtype=torch.float64)
    log_density = -0.5 * ((x - mean) / sigma).square()
    share = torch.softmax(log_density, 0)
    step = float(x[1] - x[0])
    exact = float((share * (share / step).clamp_min(1e-300).log()).sum()) + math.log(LogNormal.HIGH - LogNormal.LOW)
    m, s = torch.tensor(mean, dtype=torch.float64), torch.tensor(math.log(sigma), dtype=torch.float64)
    assert float(LogNormal.kl(m, s)) == pytest.approx(exact, rel=1e-3, abs=2e-3)
    z = x.exp()
    first, second = float((share * z).sum()), float((share * z.square()).sum())
    assert float(LogNormal.moment(m, s, 1)) == pytest.approx(first, rel=1e-3)
    assert float(LogNormal.moment(m, s, 2)) == pytest.approx(second, rel=1e-3)
    noise = math.log(second / first**2 - 1)
    assert float(LogNormal.log_alpha(m, s)) == pytest.approx(noise, abs=0.05)
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    samples = LogNormal.sample(m.expand(20_000), s.expand(20_000), uniform)
    assert float(samples.mean()) == pytest.approx(first, rel=0.02)


@pytest.mark.parametrize("name", [*KLS, "log_normal"])
def test_gradients_against_finite_differences(name: str):
    kl = LogNormal.kl if name == "log_normal" else KLS[name]
    mean = torch.tensor([-0.5, -0.1, -1.5], dtype=torch.float64, requires_grad=True)
    log_sigma = torch.tensor([-2.0, 0.1, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, s: kl(m, s).sum(), (mean, log_sigma))


def test_a_mean_of_zero_and_extreme_spreads_give_numbers():
    mean = torch.tensor([0.0, 0.0, 1e-30, 100.0, -100.0], requires_grad=True)
    log_sigma = torch.tensor([-12.0, 3.0, -12.0, -12.0, 3.0], requires_grad=True)
    for kl in KLS.values():
        (gradient,) = torch.autograd.grad(kl(mean, log_sigma).sum(), mean, retain_graph=True)
        assert torch.isfinite(kl(mean, log_sigma)).all() and torch.isfinite(gradient).all()
    assert log_alpha(mean, log_sigma)[1] > 3 > log_alpha(mean, log_sigma)[3]


def test_log_uniform_falls_to_zero_with_the_noise():
    noise = torch.linspace(-8, 12, 60)
    values = log_uniform(torch.ones(60), noise / 2)
    assert (values.diff() <= 0).all() and float(values[-1]) == pytest.approx(0, abs=1e-3)
