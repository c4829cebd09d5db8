"""Neural cache (Grave et al. 2017): words that followed like states a short while ago are more probable.

p(w) = (1 - weight) p_model(w) + weight p_cache(w), where p_cache(w) is in proportion to the sum of exp(theta h·h_i)
over those of the last `size` positions i that w followed (their eq. 2 and 3); h is what the head reads. It needs no
gradients, so every weight form will do.
Letters: N tokens, T time steps of a window, F features, M remembered words, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import ZooError
from .scoring import WINDOW, Scores, Sums, check_stream

if TYPE_CHECKING:
    import torch

    from .modeling_rnnlm import RnnLmForCausalLM

SIZES = (100, 500, 1000, 2000, 4000)
GAINS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0)  # theta times the mean of h·h
WEIGHTS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4)


@dataclass(frozen=True)
class NeuralCache:
    """What is remembered, and how much it counts.

    Attributes:
        size: words remembered.
        theta: how much more a like state counts than an unlike one.
        weight: share of the cache in the distribution.
    """

    size: int = 2000
    theta: float = 0.3
    weight: float = 0.1

    def check(self) -> None:
        """Refuses (ZooError) what is no cache."""
        if not (self.size >= 1 and math.isfinite(self.theta) and 0 <= self.weight < 1):
            raise ZooError(
                f"size={self.size} theta={self.theta:g} weight={self.weight:g}; allowed: size from 1, any finite "
                "theta, weight from 0 to below 1"
            )


def score_cached(
    model: RnnLmForCausalLM,
    tokens: np.ndarray,
    eos_id: int,
    how: NeuralCache,
    on_tokens: Callable[[int], object] | None = None,
) -> Scores:
    """Scores every token of a stream [N] as `score_stream` does, with a cache of the words before each.

    Args:
        on_tokens: called with the number of tokens done since the last call.

    Raises:
        As `score_stream`; ZooError for a cache that cannot be.
    """
    sums, began = Sums(()), time.perf_counter()
    for log_probabilities, targets in predictions(model, tokens, eos_id, how):
        sums.add(log_probabilities, targets)
        if on_tokens is not None:
            on_tokens(len(targets))
    return sums.scores(time.perf_counter() - began)


def predictions(
    model: RnnLmForCausalLM, tokens: np.ndarray, eos_id: int, how: NeuralCache, window: int = WINDOW
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(log probabilities [T, V], targets [T]) of one window after the other."""
    import torch

    how.check()
    size = min(how.size, len(tokens))
    for features, logits, targets, keys, words in _remembering(model, tokens, eos_id, size, window):
        with torch.inference_mode():
            own, seen = logits.log_softmax(1), _seen(len(features), len(keys), size, features.device)
            near = (how.theta * features @ keys.t()).masked_fill_(~seen, -math.inf).softmax(1)  # [T, M+T]
            near.nan_to_num_(0.0)  # the first word of all has nothing before it
            cached = torch.zeros_like(logits).scatter_add_(1, words.expand(len(near), -1), near)
            share = torch.where(seen.any(1, keepdim=True), how.weight, 0.0)
            yield torch.logaddexp(own + (1 - share).log(), cached.log() + share.log()), targets


def tune_cache(
    model: RnnLmForCausalLM,
    tokens: np.ndarray,
    eos_id: int,
    on_tokens: Callable[[int], object] | None = None,
) -> tuple[NeuralCache, list[dict[str, float]]]:
    """The cache of a grid with the least perplexity on validation text [N], all in one pass.

    Args:
        on_tokens: called with the number of tokens done since the last call.

    Returns:
        The best, and for each size the best theta and weight with their perplexity.

    Raises:
        As `score_stream`.
    """
    import torch

    own: list[torch.Tensor] = []  # of the windows: probability of each target
    near: list[torch.Tensor] = []  # and what a cache gives it [T, sizes, thetas], nan where nothing is remembered
    thetas: list[float] = []
    for features, logits, targets, keys, words in _remembering(model, tokens, eos_id, max(SIZES), WINDOW):
        with torch.inference_mode():
            if not thetas:
                scale = features.square().sum(1).mean().item() or 1.0
                thetas = [float(f"{gain / scale:.3g}") for gain in GAINS]
            own.append(logits.softmax(1).gather(1, targets[:, None])[:, 0].double())
            dots, right = features @ keys.t(), words[None] == targets[:, None]  # [T, M+T]
            seen = [_seen(len(features), len(keys), size, features.device) for size in SIZES]
            dots.masked_fill_(~seen[-1], -math.inf)
            dots -= dots.max(1, keepdim=True).values
            found = []
            for theta in thetas:
                powers = (theta * dots).exp_().nan_to_num_(0.0)
                rights = powers * right
                for inside in seen:
                    found.append((rights * inside).sum(1) / (powers * inside).sum(1))
            near.append(torch.stack(found, 1).view(len(targets), len(thetas), len(SIZES)).double())
        if on_tokens is not None:
            on_tokens(len(targets))
    p, c = torch.cat(own)[:, None, None], torch.cat(near)
    c = torch.where(c.isfinite(), c, p)
    rows: dict[int, dict[str, float]] = {}
    for weight in WEIGHTS:
        losses = -((1 - weight) * p + weight * c).log().mean(0)  # [thetas, sizes]
        for place, size in enumerate(SIZES):
            best = int(losses[:, place].argmin())
            row = {"size": size, "theta": thetas[best], "weight": weight}
            row["perplexity"] = math.exp(losses[best, place].item())
            rows[size] = min(rows.get(size, row), row, key=lambda one: one["perplexity"])
    best_row = min(rows.values(), key=lambda one: one["perplexity"])
    return NeuralCache(int(best_row["size"]), best_row["theta"], best_row["weight"]), list(rows.values())


def _remembering(
    model: RnnLmForCausalLM, tokens: np.ndarray, eos_id: int, size: int, window: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Of each window features [T, F], logits [T, V], targets [T]; then keys [M+T, F] and words [M+T], its own last."""
    import torch

    if model.prior is not None:
        raise ZooError(
            f"this model has num_softmaxes {model.config.num_softmaxes}, and a neural cache compares the one vector "
            "that a single softmax reads; take dynamic evaluation: --dynamic"
        )
    tokens = np.asanyarray(tokens)
    check_stream(tokens, eos_id, model.config.vocab_size, window)
    inputs, state, training = np.concatenate([[eos_id], tokens[:-1]]).astype(np.int64), None, model.training
    keys, words = None, None
    model.eval()
    try:
        for first in range(0, len(tokens), window):
            with torch.inference_mode():
                ids = torch.from_numpy(inputs[None, first : first + window]).to(model.device)
                targets = torch.from_numpy(tokens[first : first + window].astype(np.int64)).to(model.device)
                output = model.model(ids, past_key_values=state, use_cache=True)
                state, features = output.past_key_values, model.readout(output.last_hidden_state)[0]
                logits, features = model.logits(features).float(), features.float()
                keys = features if keys is None else torch.cat([keys[-size:], features])
                words = targets if words is None else torch.cat([words[-size:], targets])
            yield features, logits, targets, keys, words
    finally:
        model.train(training)


def _seen(length: int, total: int, size: int, device: torch.device) -> torch.Tensor:
    """Which of the last `total` positions each of the last `length` of them remembers [T, M+T]: those before it."""
    import torch

    place = torch.arange(total - length, total, device=device)[:, None]
    other = torch.arange(total, device=device)[None]
    return (other < place) & (other >= place - size)
