"""Perplexity of a token stream with carried state, and what comes with it: standard error, next-word recall, time.

The protocol of the published numbers: one stream, batch 1, the state carried from the first word to the last, the first
input one `<eos>`, every token a target (`<eos>` and `<unk>` too), exp of the mean loss.
Letters: N tokens, S stripes, T time steps of a window, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import CheckpointError, CorpusError, VocabularyError, ZooError

if TYPE_CHECKING:
    import torch

    from .modeling_rnnlm import RnnLmForCausalLM

TEMPERATURES = tuple(round(0.80 + 0.02 * i, 2) for i in range(21))  # 0.80 to 1.20; Melis et al. 2018 search 0.8 to 1
WINDOW = 256  # targets whose logits [WINDOW, V] are in memory together


@dataclass(frozen=True)
class Scores:
    """What a model makes of a stream.

    Attributes:
        targets: N, tokens scored.
        nll: sum of their negative log probabilities, in nats.
        nll_squares: sum of the squares of these.
        top1, top3: share of targets that are the most probable word, or among the three most probable.
        ms_per_token: wall time over N, without that of temperatures; a throughput, not the latency of a step.
        nll_at: softmax temperature -> sum as in `nll`, logits divided by the temperature.
    """

    targets: int
    nll: float
    nll_squares: float
    top1: float
    top3: float
    ms_per_token: float
    nll_at: Mapping[float, float]

    @property
    def perplexity(self) -> float:
        """exp of the mean loss, without temperature."""
        return _exp(self.nll / self.targets)

    @property
    def standard_error(self) -> float:
        """Of the perplexity: itself times the standard error of the mean loss (delta method, tokens independent)."""
        mean = self.nll / self.targets
        variance = max(self.nll_squares / self.targets - mean * mean, 0.0)
        return self.perplexity * math.sqrt(variance / max(self.targets - 1, 1))

    @property
    def reciprocal_perplexity(self) -> float:
        """1 / perplexity, which Grachev et al. 2019 print as accuracy; to compare with the paper, not a recall."""
        return 1 / self.perplexity

    def summary(self) -> dict[str, float]:
        """The numbers that are told of a split, by name; none of them with a temperature."""
        return {
            "targets": self.targets,
            "perplexity": self.perplexity,
            "standard_error": self.standard_error,
            "top1": self.top1,
            "top3": self.top3,
            "reciprocal_perplexity": self.reciprocal_perplexity,
            "ms_per_token": self.ms_per_token,
        }

    def perplexity_at(self, temperature: float) -> float:
        """exp of the mean loss at one of the temperatures that were scored."""
        return _exp(self.nll_at[temperature] / self.targets)


def best_temperature(scores: Scores) -> float:
    """The softmax temperature, of those that were scored, with the least loss; to be fitted on validation text."""
    return min(scores.nll_at, key=lambda temperature: scores.nll_at[temperature])


def score_stream(
    model: RnnLmForCausalLM,
    tokens: np.ndarray,
    eos_id: int,
    window: int = WINDOW,
    batch_size: int = 1,
    temperatures: Sequence[float] = (1.0,),
    on_tokens: Callable[[int], object] | None = None,
) -> Scores:
    """Scores every token of a stream [N]; the model's mode (training or not) is as before afterwards.

    Args:
        model: on any device; scored in eval mode.
        tokens: ids [N], any integer type, may be mapped from a file.
        eos_id: the input before the first token.
        window: targets scored together; the result does not depend on it, memory does: window x V logits.
        batch_size: S. Above 1 the stream is cut into S stripes of equal length, each from a zero state and its true
            previous word: faster, a little pessimistic, and not the published protocol. No token is left out.
        temperatures: softmax temperatures to score beside 1, all in the same pass.
        on_tokens: called with the number of tokens done since the last call.

    Raises:
        CorpusError: no tokens, or no stream of ids. VocabularyError: an id outside the vocabulary.
        CheckpointError: the model gives no finite probabilities. ZooError: an argument out of range.
    """
    import torch

    tokens = np.asanyarray(tokens)
    check_stream(tokens, eos_id, model.config.vocab_size, window, batch_size, temperatures)
    N, S = len(tokens), min(batch_size, len(tokens))
    bounds = np.arange(S + 1) * N // S
    starts, ends = bounds[:-1, None], bounds[1:, None]  # [S, 1]
    T = max(1, window // S)
    sums = Sums(temperatures)
    was_training, state, seconds = model.training, None, 0.0
    model.eval()
    try:
        with torch.inference_mode():
            for first in range(0, int((ends - starts).max()), T):
                began = time.perf_counter()
                places = starts + np.arange(first, min(first + T, int((ends - starts).max())))  # [S, T]
                scored = torch.from_numpy(places < ends).to(model.device)  # shorter stripes end one step earlier
                places = np.minimum(places, ends - 1)
                before = np.where(places == 0, eos_id, tokens[np.maximum(places - 1, 0)])
                inputs = torch.from_numpy(before.astype(np.int64)).to(model.device)
                targets = torch.from_numpy(tokens[places].astype(np.int64)).to(model.device)
                output = model.model(inputs, past_key_values=state, use_cache=True)
                state = output.past_key_values
                logits = model.logits(model.readout(output.last_hidden_state[scored]))  # [<= S*T, V]
                logits, targets = logits.float(), targets[scored]
                sums.add(logits, targets)
                seconds += time.perf_counter() - began
                sums.add_temperatures(logits, targets)
                if on_tokens is not None:
                    on_tokens(int(scored.sum()))
    finally:
        model.train(was_training)
    return sums.scores(seconds)


class Sums:
    """Sums over the targets of all windows, in double precision."""

    def __init__(self, temperatures: Sequence[float]):
        self.nll = self.nll_squares = 0.0
        self.targets = self.top1 = self.top3 = 0
        self.nll_at = {float(temperature): 0.0 for temperature in temperatures if temperature != 1}

    def add(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """logits [n, V], targets [n]."""
        own = logits.gather(1, targets[:, None])[:, 0]
        losses = (logits.logsumexp(1) - own).double()
        self.targets += len(targets)
        self.nll += losses.sum().item()
        self.nll_squares += losses.square().sum().item()
        hits = logits.topk(min(3, logits.shape[1])).indices == targets[:, None]
        self.top1 += int(hits[:, 0].sum())
        self.top3 += int(hits.sum())

    def add_temperatures(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """logits [n, V], which are overwritten, targets [n]."""
        import torch

        if not self.nll_at:
            return
        logits -= logits.max(1, keepdim=True).values  # once for all temperatures; in place, because memory is the cost
        own = logits.gather(1, targets[:, None])[:, 0]
        scratch = torch.empty_like(logits)
        for temperature in self.nll_at:
            norms = torch.mul(logits, 1 / temperature, out=scratch).exp_().sum(1).log()
            self.nll_at[temperature] += (norms - own / temperature).double().sum().item()

    def scores(self, seconds: float) -> Scores:
        """What was summed, which took so long; CheckpointError where it is no number."""
        if not math.isfinite(self.nll_squares):
            raise CheckpointError(
                f"the model gives no finite probabilities (loss {self.nll}): its weights are damaged or its training "
                "diverged; get or build the checkpoint again"
            )
        N = self.targets
        return Scores(
            targets=N,
            nll=self.nll,
            nll_squares=self.nll_squares,
            top1=self.top1 / N,
            top3=self.top3 / N,
            ms_per_token=1000 * seconds / N,
            nll_at={1.0: self.nll, **self.nll_at},
        )


def check_stream(
    tokens: np.ndarray,
    eos_id: int,
    vocabulary: int,
    window: int,
    batch_size: int = 1,
    temperatures: Sequence[float] = (),
) -> None:
    """Refuses what cannot be scored."""
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise CorpusError(f"tokens are {tokens.dtype} {list(tokens.shape)}; give the ids of one stream, integers [N]")
    if len(tokens) == 0:
        raise CorpusError("the stream is empty, so there is nothing to score; give at least one token")
    if tokens.min() < 0 or tokens.max() >= vocabulary:
        place = int(((tokens < 0) | (tokens >= vocabulary)).argmax())
        raise VocabularyError(
            f"token {place} of the stream is the id {tokens[place]}; this vocabulary of {vocabulary} words has ids "
            f"0 to {vocabulary - 1}: make the ids with the checkpoint's own tokenizer"
        )
    if not 0 <= eos_id < vocabulary:
        raise VocabularyError(
            f"eos_id is {eos_id}; this vocabulary of {vocabulary} words has ids 0 to {vocabulary - 1}"
        )
    if batch_size < 1:
        raise ZooError(f"batch_size (--batch-size) is {batch_size}; it must be at least 1")
    if window < 1:
        raise ZooError(f"window is {window}; it must be at least 1")
    if not all(temperature > 0 and math.isfinite(temperature) for temperature in temperatures):
        raise ZooError(f"temperatures are {list(temperatures)}; each must be a finite number above 0")


def _exp(mean: float) -> float:
    """exp; infinity where the number is too large for one."""
    return math.exp(mean) if mean < 709 else math.inf
