"""A token stream cut into stripes, and the windows of truncated back-propagation over them.

Letters: N tokens, B stripes, L tokens of a stripe, T time steps of a window.
"""

from __future__ import annotations

import numpy as np
import torch

from zoo.errors import CorpusError


class Stripes:
    """B stretches of a stream side by side, read a window at a time; the tail of fewer than B tokens is left out.

    Every token of a stripe is a target once; its input is the token before it in the stream, `<eos>` at the beginning.

    Args:
        tokens: ids [N], possibly mapped from a file larger than memory.
        eos_id: input before the first token.
        batch_size: B.
        rows: the stripes that this process reads; None: all.

    Raises:
        CorpusError: fewer tokens than stripes.
    """

    def __init__(self, tokens: np.ndarray, eos_id: int, batch_size: int, rows: slice | None = None):
        self.tokens, self.eos_id = tokens, eos_id
        self.length = len(tokens) // batch_size  # L
        if self.length == 0:
            raise CorpusError(f"{len(tokens)} tokens cannot fill {batch_size} stripes; give more text or fewer stripes")
        self.starts = (np.arange(batch_size, dtype=np.int64) * self.length)[rows or slice(None)]

    def window(self, column: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets [B, T] from a column on; T is `length`, or what is left."""
        places = self.places(column, length)
        places = np.concatenate([places[:, :1] - 1, places], axis=1)  # [B, T + 1]
        ids = self.tokens[np.maximum(places, 0)].astype(np.int64)
        ids[places < 0] = self.eos_id
        block = torch.from_numpy(ids)
        return block[:, :-1], block[:, 1:]

    def places(self, column: int, length: int) -> np.ndarray:
        """Where the targets of a window lie in the stream [B, T]."""
        return self.starts[:, None] + np.arange(column, min(column + length, self.length), dtype=np.int64)


def window_length(generator: torch.Generator, window: int, jitter: float, short: float) -> int:
    """The length of the next window (Merity et al. 2017, section 5): normal around `window`, or around half of it.

    Without jitter and short windows nothing is drawn and the length is `window`.
    """
    if not jitter and not short:
        return window
    mean = window / 2 if torch.rand((), generator=generator).item() < short else window
    return max(5, round(mean + jitter * torch.randn((), generator=generator).item()))
