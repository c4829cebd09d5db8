"""What a person has typed, beside the weights: a log of words, from which a cache and word pairs are counted.

Only the log is kept; weights are counted from it anew after every word, so what is taken out has left no trace.
Interpolation: P(w) = (1 - a - b) model(w) + a U(w) + b B(w), U: words by recency, B: those after the word before;
a and b grow with the evidence for them (`Mixture`). An empty log changes nothing.
"""

from __future__ import annotations

import datetime
import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import ZooError
from ..typed_text import is_word, split_words
from .counting import Counts, plain_weights
from .lexicon import folded

MOST = 10_000  # words of the log; the oldest goes
LONGEST = 40  # letters of a word that is learnt
DIGITS = 4  # digits from which a word is a number that nobody should find again
FORMAT = 1


class Mixture(NamedTuple):
    """The numbers of the interpolation; `bench.personal --tune` chose them on validation text.

    half_life: words after which an occurrence counts half. single, pair: the most that words and word pairs weigh
    beside the model; single_half, pair_half: the evidence with which they weigh half of it.
    """

    half_life: float = 30000
    single: float = 0.2
    single_half: float = 1000
    pair: float = 0.2
    pair_half: float = 8

    def shares(self, u: float, v: float) -> tuple[float, float]:
        """The parts of the mixture that are the person's words and word pairs, by the weights of the evidence."""
        return self.single * u / (u + self.single_half), self.pair * v / (v + self.pair_half)


MIXTURE = Mixture()


class Event(NamedTuple):
    """A word that was typed.

    previous: the word or sign before it; "": none, it starts a message; None: one that was not learnt.
    day: as in 2026-11-28.
    """

    word: str
    previous: str | None
    day: str


class Learnt(NamedTuple):
    """What `Personal.learn` did.

    serial: of the word added. gone: the word that went for it, with its serial. forgettings: how often anything was
    forgotten.
    """

    serial: int
    gone: tuple[int, Event] | None
    forgettings: int


class Mixed(NamedTuple):
    """A model's distribution with a person's words in it.

    log_probs: [V]. personal: ids whose probability is mostly the person's. own: words outside the vocabulary with their
    log probabilities, by alphabet.
    """

    log_probs: np.ndarray
    personal: frozenset[int]
    own: tuple[tuple[str, float], ...]


class Personal:
    """The words of one person, at most 10,000; one thread at a time.

    Args:
        today: gives the day of a word, for tests and replays.
        mixture: how much its words weigh.
    """

    def __init__(self, today: Any = lambda: datetime.date.today().isoformat(), mixture: Mixture = MIXTURE):
        self._today, self.mixture = today, mixture
        self._events: deque[Event] = deque()
        self._serials: deque[int] = deque()  # of the events: two keyboards may have learnt equal ones
        self._last = 0
        self.version = 0  # another one after every change
        self._forgettings = 0
        self._counts = Counts()

    def __len__(self) -> int:
        return len(self._events)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Personal) and self._events == other._events

    __hash__ = None  # type: ignore[assignment]

    def learn(self, word: str, previous: str | None) -> Learnt | None:
        """Adds a word; None: such a word is not learnt."""
        if not learnable(word):
            return None
        event = Event(word, previous, str(self._today()))
        self._last += 1
        self._events.append(event)
        self._serials.append(self._last)
        self._counts.add(word, previous)
        self.version += 1
        gone = None
        if len(self._events) > MOST:
            gone = self._serials.popleft(), self._events.popleft()
            self._counts.remove(0)
            if len(self._counts.names) > 4 * MOST:  # names of words that have gone
                self._counts = Counts(event[:2] for event in self._events)
        return Learnt(self._last, gone, self._forgettings)

    def unlearn(self, learnt: Learnt) -> None:
        """Takes a word back that was learnt; nothing happens if it was forgotten meanwhile."""
        for place in range(len(self._events) - 1, -1, -1):
            if self._serials[place] == learnt.serial:
                del self._events[place], self._serials[place]
                self._counts.remove(place)
                if learnt.gone is not None and learnt.forgettings == self._forgettings:
                    serial, event = learnt.gone
                    self._events.appendleft(event)
                    self._serials.appendleft(serial)
                    self._counts.add(*event[:2], oldest=True)
                self.version += 1
                return

    def forget(self, word: str) -> int:
        """Forgets a word in every case of its letters, with any apostrophe; how many occurrences there were."""
        key = folded(word)

        def cut(event: Event) -> Event:
            is_after = event.previous is not None and folded(event.previous) == key
            return event._replace(previous=None) if is_after else event

        return self._keep((serial, cut(event)) for serial, event in self._numbered() if folded(event.word) != key)

    def forget_day(self, day: str) -> int:
        """Forgets all words of a day, written as in 2026-11-28; how many there were."""
        return self._keep((serial, event) for serial, event in self._numbered() if event.day != day)

    def forget_all(self) -> int:
        """Forgets everything; how many words there were."""
        return self._keep(())

    def _numbered(self) -> Iterable[tuple[int, Event]]:
        return zip(self._serials, self._events, strict=True)

    def _keep(self, numbered: Iterable[tuple[int, Event]]) -> int:
        kept, before = list(numbered), len(self._events)
        self._serials, self._events = deque(serial for serial, _ in kept), deque(event for _, event in kept)
        self._counts = Counts(event[:2] for event in self._events)
        self.version += 1
        self._forgettings += 1
        return before - len(self._events)

    def export(self) -> dict[str, Any]:
        """Everything that is known, as JSON."""
        return {"format": FORMAT, "words": [list(event) for event in self._events]}

    def load(self, exported: Mapping[str, Any]) -> None:
        """Replaces everything by what `export` gave.

        Raises:
            ZooError: it is no such export, or has too many words.
        """
        try:
            events = [Event(*map(_text, row)) for row in exported["words"]]  # type: ignore[arg-type]
            whole = exported["format"] == FORMAT and all(map(_is_whole, events))
        except (KeyError, TypeError, ValueError):
            whole, events = False, []
        if not whole or len(events) > MOST:
            raise ZooError(
                f"this is no export of personal words (format {FORMAT}, at most {MOST:,}); give one of export()"
            )
        first = self._last + 1
        self._last += len(events)
        self._keep(enumerate(events, first))

    def words(self) -> dict[str, int]:
        """How often each word is in the log."""
        counts: dict[str, int] = {}
        for event in self._events:
            counts[event.word] = counts.get(event.word, 0) + 1
        return counts

    def mixed(self, log_probs: np.ndarray, previous: str | None, ids: Mapping[str, int]) -> Mixed:
        """A model's log probabilities [V] with this person's words; the very same array where there are none.

        Args:
            previous: the word or sign before, as in `Event`.
            ids: of the words of the vocabulary.
        """
        if not self._events:
            return Mixed(log_probs, frozenset(), ())
        single, pairs = self._counts.weights(previous, self.mixture.half_life)
        u, v = float(single.sum()), float(pairs.sum())
        a, b = self.mixture.shares(u, v)
        words = np.flatnonzero(single)  # the others are only before one, or gone
        share = a / u * single[words] + (b / v * pairs[words] if v else 0.0)
        tokens = self._counts.tokens(ids)[words]
        known = tokens >= 0
        there = tokens[known]
        out = log_probs + np.float32(math.log1p(-a - b))
        general = (1 - a - b) * np.exp(log_probs[there].astype(np.float64))
        out[there] = np.log(general + share[known])
        names = self._counts.names
        own = [(names[word], math.log(one)) for word, one in zip(words[~known].tolist(), share[~known], strict=True)]
        return Mixed(out, frozenset(there[share[known] > general].tolist()), tuple(sorted(own)))

    def weights(self) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """The weight of every word, and of every word after each `previous`; the latest word of the log weighs 1."""
        return plain_weights(((event.word, event.previous) for event in self._events), self.mixture.half_life)


def learnable(word: str) -> bool:
    """Whether a word is remembered: not signs, long numbers or very long words."""
    return is_word(word) and len(word) <= LONGEST and sum(map(str.isdigit, word)) < DIGITS


def _is_whole(event: Event) -> bool:
    """Whether an event of a file is one that `learn` makes."""
    return bool(event.word and event.day) and learnable(event.word) and split_words(event.word) == [event.word]


def _text(value: Any) -> str | None:
    """A text or None, as JSON has it."""
    if value is None or isinstance(value, str):
        return value
    raise TypeError(type(value).__name__)
