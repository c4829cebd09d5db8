"""A hash of what a model said while a text was read: two engines that agree on every word have the same."""

from __future__ import annotations

import struct

import numpy as np

from ..runtime import best_ids

START = 0xCBF29CE484222325  # FNV-1a, 64 bits
PRIME = 0x100000001B3
TOP = 3


def absorbed(digest: int, token: int, log_probs: np.ndarray) -> int:
    """The digest after one more token: its id and the three best ids of the whole vocabulary, 4 bytes each."""
    for byte in struct.pack(f"<{1 + TOP}I", token, *_padded(best_ids(log_probs, TOP).tolist())):
        digest = (digest ^ byte) * PRIME & 0xFFFFFFFFFFFFFFFF
    return digest


def _padded(ids: list[int]) -> list[int]:
    """Three ids also of a vocabulary of fewer words."""
    return ids + [0xFFFFFFFF] * (TOP - len(ids))
