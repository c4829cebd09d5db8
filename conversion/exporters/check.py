"""Whether an exported file computes what the model computes: logits and the best three words, with carried state.

Letters: B batch, T time, V vocabulary, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from zoo.errors import CheckpointError

from .text import CheckText

if TYPE_CHECKING:
    from zoo import RnnLmForCausalLM

WINDOWS = (35, 1, 64, 20, 130)  # lengths of the pieces that a sequence is fed in, to see that any will do
TIE = 1e-5  # logits this close, relative to the largest at the position, are equal
EXACT, CLOSE = 1.0, 0.99  # share of positions with the same best three words: fp32, and fp16 or int8
# ids [1, T] and states -> logits [1, T, V] and states
Run = Callable[[np.ndarray, list[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]


@dataclass
class Agreement:
    """What comparing one file showed.

    Args:
        positions: how many.
        max_logit_difference: the largest, of any word.
        same_top3: share of positions at which the best three words are the same set.
        same_top3_or_tied: the same, where a word may stand for another if the model gives both the same logit (`TIE`).
    """

    positions: int = 0
    max_logit_difference: float = 0.0
    same_top3: float = 0.0
    same_top3_or_tied: float = 0.0

    def add(self, reference: np.ndarray, logits: np.ndarray) -> None:
        """Counts some positions: reference and logits [T, V]."""
        same, tied = same_words(reference, logits)
        before, self.positions = self.positions, self.positions + len(same)
        difference = float(np.abs(reference - logits).max())
        self.max_logit_difference = max(self.max_logit_difference, difference) if difference == difference else np.inf
        self.same_top3 = (before * self.same_top3 + same.sum()) / self.positions
        self.same_top3_or_tied = (before * self.same_top3_or_tied + tied.sum()) / self.positions


def same_words(reference: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the best three words agree, as sets: [T] bool, and [T] bool that lets words of equal logits pass."""
    k = min(3, reference.shape[-1])
    best, found = (np.argpartition(-scores, k - 1, axis=-1)[:, :k] for scores in (reference, logits))
    same = (np.sort(best, axis=-1) == np.sort(found, axis=-1)).all(axis=-1)
    least = np.take_along_axis(reference, best, axis=-1).min(axis=-1)
    worst = np.take_along_axis(reference, found, axis=-1).min(axis=-1)
    return same, same | (least - worst <= TIE * np.maximum(1, np.abs(reference).max(axis=-1)))


@torch.no_grad()
def compare(
    model: RnnLmForCausalLM, text: CheckText, files: Mapping[str, Run], zeros: Sequence[np.ndarray], stepwise: set[str]
) -> dict[str, Agreement]:
    """Feeds a text to the model and to exported files, each with its own state, and compares the logits.

    Args:
        files: name -> how to run it.
        zeros: the states before the first word.
        stepwise: the files that take one word at a time.
    """
    states: dict[str, list[np.ndarray]] = {file: list(zeros) for file in files}
    found = {file: Agreement() for file in files}
    own, start, turn = None, 0, 0
    with tqdm(total=len(text.ids), unit=" words", desc="check", delay=2, disable=None, leave=False) as bar:
        while start < len(text.ids):
            ids = text.ids[start : start + WINDOWS[turn % len(WINDOWS)]]
            reference = []
            for token in ids:
                logits, own = model.step(torch.tensor([int(token)]), own)
                reference.append(logits.numpy())
            for file, run in files.items():
                pieces = []
                for piece in np.split(ids, len(ids)) if file in stepwise else [ids]:
                    logits, states[file] = run(piece[None], states[file])
                    pieces.append(logits[0])
                found[file].add(np.concatenate(reference), np.concatenate(pieces))
            start, turn = start + len(ids), turn + 1
            bar.update(len(ids))
    return found


def agrees(agreement: Agreement, exact: bool) -> bool:
    """Whether a file may be written: fp32 (`exact`) with all positions the same, the others with 99 %."""
    share, needed = (agreement.same_top3_or_tied, EXACT) if exact else (agreement.same_top3, CLOSE)
    return share >= needed and bool(np.isfinite(agreement.max_logit_difference))


def refuse(file: str, agreement: Agreement, exact: bool) -> None:
    """CheckpointError for a file that does not compute the same."""
    if not agrees(agreement, exact):
        share, needed = (agreement.same_top3_or_tied, EXACT) if exact else (agreement.same_top3, CLOSE)
        raise CheckpointError(
            f"{file} gives the same best three words as torch at {100 * share:.2f} % of {agreement.positions:,} "
            f"positions, {100 * needed:g} % are needed (largest difference of a logit "
            f"{agreement.max_logit_difference:.3g}); nothing was written" + ("" if exact else "; try --variant fp32")
        )


def as_json(found: Mapping[str, Agreement]) -> dict[str, Any]:
    """File -> its numbers."""
    return {file: {key: round(value, 7) for key, value in vars(one).items()} for file, one in found.items()}
