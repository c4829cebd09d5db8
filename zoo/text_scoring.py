"""What a text classifier makes of labelled texts: accuracy, or the squared error of numbers, and their standard errors.

Every text is read whole, from its first word to its last; texts of about the same length are read side by side, which
changes nothing but the time. Letters: B texts read together, T words of the longest of them, n texts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import CheckpointError, CorpusError, VocabularyError, ZooError

if TYPE_CHECKING:
    from .modeling_rnnlm import RnnLmForSequenceClassification

BATCH = 64
WORDS = 50_000  # of a batch at most, pads included, for the sake of memory


@dataclass(frozen=True)
class ClassScores:
    """Of classes. texts: n; accuracy: share of texts whose most probable class is theirs; loss: mean cross entropy."""

    texts: int
    accuracy: float
    loss: float
    ms_per_text: float

    @property
    def standard_error(self) -> float:
        """Of the accuracy, texts independent."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.texts)

    def summary(self) -> dict[str, float]:
        """The numbers that are told of a split, by name."""
        return {
            "texts": self.texts,
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            "loss": self.loss,
            "ms_per_text": self.ms_per_text,
        }


@dataclass(frozen=True)
class NumberScores:
    """Of numbers. texts: n; mse: mean squared error; spread: standard deviation of the squared errors; variance: of the
    true numbers, which is the mse of the best constant."""

    texts: int
    mse: float
    spread: float
    variance: float
    ms_per_text: float

    @property
    def rmse(self) -> float:
        """Root of the mean squared error."""
        return math.sqrt(self.mse)

    @property
    def standard_error(self) -> float:
        """Of the rmse: that of the mse over twice the rmse (delta method, texts independent)."""
        return self.spread / math.sqrt(max(self.texts - 1, 1)) / (2 * self.rmse) if self.mse else 0.0

    def summary(self) -> dict[str, float]:
        """The numbers that are told of a split, by name."""
        return {
            "texts": self.texts,
            "mse": self.mse,
            "rmse": self.rmse,
            "standard_error": self.standard_error,
            "variance": self.variance,
            "ms_per_text": self.ms_per_text,
        }


def score_texts(
    model: RnnLmForSequenceClassification,
    texts: Sequence[np.ndarray],
    labels: np.ndarray,
    batch_size: int = BATCH,
    on_texts: Callable[[int], object] | None = None,
) -> ClassScores | NumberScores:
    """Scores every text; the model's mode (training or not) is as before afterwards.

    Args:
        model: on any device; scored in eval mode. With one label it predicts a number.
        texts: ids [T] of each; one without words is read as no word at all.
        labels: [n], classes from 0, or numbers.
        batch_size: B.
        on_texts: called with the number of texts done since the last call.

    Raises:
        CorpusError: no texts, or labels that the model cannot give. VocabularyError: an id outside the vocabulary.
        CheckpointError: the model gives no finite numbers. ZooError: an argument out of range.
    """
    import torch

    labels = np.asarray(labels)
    _check(model, texts, labels, batch_size)
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(lengths, kind="stable")
    logits = np.zeros((len(texts), model.config.num_labels))
    was_training, seconds, first = model.training, 0.0, 0
    model.eval()
    try:
        with torch.inference_mode():
            while first < len(order):
                places = order[first : first + batch_size]
                places = places[: max(1, WORDS // max(1, lengths[places[-1]]))]
                began = time.perf_counter()
                ids, mask = (torch.from_numpy(array).to(model.device) for array in side_by_side(texts, places))
                found = model(ids, attention_mask=mask, use_cache=False).logits
                logits[places] = found.double().cpu().numpy()
                seconds += time.perf_counter() - began
                first += len(places)
                if on_texts is not None:
                    on_texts(len(places))
    finally:
        model.train(was_training)
    if not np.isfinite(logits).all():
        raise CheckpointError(
            "the model gives no finite numbers: its weights are damaged or its training diverged; get or build the "
            "checkpoint again"
        )
    n, ms = len(texts), 1000 * seconds / len(texts)
    if model.config.num_labels == 1:
        squares = (logits[:, 0] - labels) ** 2
        return NumberScores(n, squares.mean().item(), squares.std().item(), labels.var(dtype=float).item(), ms)
    logits -= logits.max(1, keepdims=True)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(n), labels]
    return ClassScores(n, (logits.argmax(1) == labels).mean().item(), losses.mean().item(), ms)


def side_by_side(texts: Sequence[np.ndarray], places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some of the texts, shorter ones padded on the left -> ids and attention mask [B, T]."""
    T = max(1, *(len(texts[place]) for place in places))
    ids, mask = np.zeros((len(places), T), np.int64), np.zeros((len(places), T), np.int64)
    for row, place in enumerate(places):
        if size := len(texts[place]):
            ids[row, -size:], mask[row, -size:] = texts[place], 1
    return ids, mask


def _check(
    model: RnnLmForSequenceClassification, texts: Sequence[np.ndarray], labels: np.ndarray, batch_size: int
) -> None:
    """Refuses what cannot be scored."""
    if len(texts) == 0 or labels.shape != (len(texts),):
        raise CorpusError(
            f"{len(texts)} texts and labels {list(labels.shape)}; give at least one text, a label for each"
        )
    V, classes = model.config.vocab_size, model.config.num_labels
    least, most = min(text.min(initial=0) for text in texts), max(text.max(initial=0) for text in texts)
    if least < 0 or most >= V:
        raise VocabularyError(
            f"a text has the id {most if most >= V else least}; this vocabulary of {V} words has ids 0 to {V - 1}: "
            "make the ids with the checkpoint's own tokenizer"
        )
    if classes == 1:
        if labels.dtype.kind != "f":
            raise CorpusError(f"the labels are {labels.dtype} and the model predicts a number; give texts with numbers")
    elif labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise CorpusError(
            f"the labels are {labels.dtype} from {labels.min()} to {labels.max()} and the model tells {classes} "
            f"classes apart; give texts with classes 0 to {classes - 1}"
        )
    if batch_size < 1:
        raise ZooError(f"batch_size is {batch_size}; it must be at least 1")
