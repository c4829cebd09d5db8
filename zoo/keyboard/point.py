"""A place in a text: what the next suggestions depend on, beside the personal words."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ZooError
from ..runtime import State
from .digest import START, absorbed
from .model import KeyboardModel
from .spacing import NO_SPACE, Spacing

FORMAT = 1


@dataclass(frozen=True)
class Point:
    """A place in a text; nothing of it is ever changed.

    before: state before the last token, from which it can be read again. token: the last one. log_probs, after: what
    reading it gave. previous: the word before, as it is looked up; linked: whether it may be remembered.
    starts: whether a sentence starts here.
    """

    before: State | None
    token: int
    log_probs: np.ndarray
    after: State
    previous: str = ""
    linked: bool = True
    starts: bool = True
    spacing: Spacing = NO_SPACE
    digest: int = START

    @classmethod
    def start(cls, model: KeyboardModel) -> Point:
        """The beginning of a text."""
        digest = absorbed(START, model.vocabulary.eos, model.start_log_probs)
        return cls(None, model.vocabulary.eos, model.start_log_probs, model.start_state, digest=digest)


def to_json(point: Point, model: KeyboardModel) -> dict[str, Any]:
    """A place as JSON: some kilobytes, without the distribution, which one step gives again."""
    before = None if point.before is None else [[_packed(h), _packed(c)] for h, c in point.before]
    return {
        "format": FORMAT,
        "vocabulary": model.vocabulary.sha256,
        "before": before,
        "token": point.token,
        "previous": point.previous,
        "linked": point.linked,
        "starts": point.starts,
        "space": point.spacing.space,
        "quote": point.spacing.quote,
        "digest": f"{point.digest:016x}",
    }


def from_json(saved: Mapping[str, Any], model: KeyboardModel) -> Point:
    """The place that `to_json` gave, by one step of the model.

    Raises:
        ZooError: not a place, or one in a text of another model.
    """
    try:
        if saved["format"] != FORMAT:
            raise ValueError
        if saved["vocabulary"] != model.vocabulary.sha256:
            raise ZooError(
                f"the state is of another vocabulary than that of {model.name}; open the model it was saved with"
            )
        before = None if saved["before"] is None else tuple((_unpacked(h), _unpacked(c)) for h, c in saved["before"])
        if before is not None and _shapes(before) != _shapes(model.start_state):
            raise ZooError(f"the state is of another model than {model.name}; open the model it was saved with")
        log_probs, after = model.step(saved["token"], before)
        spacing = Spacing(bool(saved["space"]), bool(saved["quote"]))
        flags = bool(saved["linked"]), bool(saved["starts"])
        return Point(
            before, saved["token"], log_probs, after, saved["previous"], *flags, spacing, int(saved["digest"], 16)
        )
    except ZooError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ZooError(f"this is no saved state of a keyboard (format {FORMAT}); give one that save() gave") from error


def _shapes(state: State) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of h and c of every layer."""
    return [(h.shape, c.shape) for h, c in state]


def _packed(array: np.ndarray) -> str:
    """float32, little-endian, base64."""
    return base64.b64encode(array.astype("<f4").tobytes()).decode("ascii")


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float32)
