"""From a key to the suggestions, in milliseconds, by words of held-out messages typed letter by letter."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from zoo.keyboard import Keyboard, KeyboardModel
from zoo.typed_text import is_word, split_words

WARM_UP, TIMED = 100, 1000  # words; the protocol of `latency`
SLOTS = 3


def latency(model: KeyboardModel, talks: Mapping[str, list[list[str]]], timed: int | None = None) -> dict[str, Any]:
    """Times a keyboard that also learns what is typed.

    Args:
        talks: source -> conversations; their messages are typed in turn, from the beginning again where they end.
        timed: words after WARM_UP; None: TIMED.

    Returns:
        word (committed, to the next suggestions: a model step and the person's words), key (a letter, to the
        suggestions), undo, step (of the model alone): n, p50, p95, worst, in milliseconds; words_learnt.
    """
    keyboard = Keyboard(model)
    times: dict[str, list[float]] = {"word": [], "key": [], "undo": [], "step": []}
    for number, word in zip(range(WARM_UP + (TIMED if timed is None else timed)), _words(talks), strict=False):
        if number == WARM_UP:
            for row in times.values():
                row.clear()
        for letters in range(1, len(word) + 1) if is_word(word) else ():
            began = time.perf_counter()
            keyboard.suggest(word[:letters], SLOTS)
            times["key"].append(time.perf_counter() - began)
        for kind in ("undo", "word"):  # written twice, so that an undo is timed and nothing is lost
            began = time.perf_counter()
            keyboard.commit(word, word)
            keyboard.suggest("", SLOTS)
            times["word"].append(time.perf_counter() - began)
            if kind == "undo":
                began = time.perf_counter()
                keyboard.undo()
                keyboard.suggest("", SLOTS)
                times["undo"].append(time.perf_counter() - began)
        began = time.perf_counter()
        model.step(model.vocabulary.eos, model.start_state)
        times["step"].append(time.perf_counter() - began)
    return {"words_learnt": len(keyboard.personal), **{kind: _summary(row) for kind, row in times.items()}}


def _words(talks: Mapping[str, list[list[str]]]) -> Iterator[str]:
    """Words, signs and line ends of all messages, again and again."""
    while True:
        for conversations in talks.values():
            for message in (line for talk in conversations for line in talk):
                yield from split_words(message)
                yield "\n"


def _summary(seconds: list[float]) -> dict[str, float]:
    """Count, median, 95th percentile and worst in milliseconds."""
    p50, p95, worst = (1000 * float(value) for value in np.percentile(seconds, [50, 95, 100]))
    return {"n": len(seconds), "p50": p50, "p95": p95, "worst": worst}
