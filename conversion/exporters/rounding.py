"""What bears 8 bits without another word being suggested; the rest stays in fp16.

Rounding every number to 8 bits changes one of the best three words at about 2 % of the positions of a trained model.
Half of that comes from the words that are likely everywhere: their rows stay in fp16, and so do the matrices that are
harmed most.

Letters: B texts side by side, T time, V vocabulary, M rows, N columns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from zoo import RnnLmForCausalLM

from .builder import from_eight_bits, to_eight_bits
from .check import CLOSE, same_words

LIKELY = 16  # one word in so many keeps its row in fp16
STREAMS = 4  # pieces of the text, fed side by side
MOST = 10**8  # logits held at once


@dataclass(frozen=True)
class Rounding:
    """How a model goes into 8 bits.

    Args:
        order: its float matrices by name, first the one that is harmed most per number saved.
        kept: how many of these stay in fp16, from the first.
        likely: ids of the likely words, whose rows stay in fp16.
    """

    order: tuple[str, ...]
    kept: int
    likely: np.ndarray

    def rows_kept(self, model: RnnLmForCausalLM) -> dict[str, np.ndarray]:
        """Name of each matrix in 8 bits -> the rows of it that stay in fp16."""
        V, weights = model.config.vocab_size, dense_weights(model)
        return {name: rows_kept(name, len(weights[name]) == V, self.likely) for name in self.order[self.kept :]}


def dense_weights(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Matrices, factors and tables that are stored as floats, tied ones once."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if name.endswith(".weight") and parameter.dim() == 2 and parameter.is_floating_point()
    }


def rows_kept(name: str, is_tall: bool, likely: np.ndarray) -> np.ndarray:
    """The likely words, in a matrix that has a row per word."""
    return likely if is_tall and name.startswith(("model.embed_tokens.", "lm_head.")) else likely[:0]


@contextlib.contextmanager
def rounded(model: RnnLmForCausalLM, names: Collection[str], likely: np.ndarray) -> Iterator[None]:
    """The model with some of its matrices rounded to 8 bits, as the file has them."""
    weights = {name: weight for name, weight in dense_weights(model).items() if name in names}
    before = {name: weight.data for name, weight in weights.items()}
    try:
        for name, weight in weights.items():
            matrix = weight.detach().float().numpy()
            close = from_eight_bits(*to_eight_bits(matrix), matrix.shape[1])
            exact = rows_kept(name, len(matrix) == model.config.vocab_size, likely)
            close[exact] = matrix[exact]
            weight.data = torch.from_numpy(close)
        yield
    finally:
        for name, weight in weights.items():
            weight.data = before[name]


@torch.no_grad()
def logits_of(model: RnnLmForCausalLM, texts: np.ndarray) -> np.ndarray:
    """texts [B, T] -> logits [T*B, V]."""
    states, steps = None, []
    for tokens in torch.from_numpy(texts).T:
        logits, states = model.step(tokens, states)
        steps.append(logits.numpy())
    return np.concatenate(steps)


def choose(model: RnnLmForCausalLM, ids: np.ndarray) -> Rounding:
    """As many matrices in 8 bits as give the same best three words at 99 % of the positions of a text [N].

    The likely words are those of the greatest mean probability in it: most of what is read and predicted.
    """
    V = model.config.vocab_size
    T = max(1, min(len(ids), MOST // V) // STREAMS)
    texts = ids[: STREAMS * T].reshape(-1, T)
    reference = logits_of(model, texts)
    mass = sum(torch.from_numpy(part).softmax(-1).sum(0) for part in np.array_split(reference, STREAMS))
    likely = torch.topk(mass, -(-V // LIKELY)).indices.sort().values.numpy()  # type: ignore[arg-type]
    harm = {}
    for name, weight in dense_weights(model).items():
        with rounded(model, [name], likely):
            harm[name] = float(np.square(logits_of(model, texts) - reference).mean()) / weight.numel()
    order = tuple(sorted(harm, key=lambda name: -harm[name]))
    for kept in range(len(order)):
        with rounded(model, order[kept:], likely):
            if same_words(reference, logits_of(model, texts))[0].mean() >= CLOSE:
                return Rounding(order, kept, likely)
    return Rounding(order, len(order), likely)
