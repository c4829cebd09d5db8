"""From a distribution and what is typed of a word to a few words, best first.

A candidate's score is its log probability less what a slip costs; equals go by id, words outside the vocabulary last
and by alphabet. Letters: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ..runtime import best_ids
from ..typed_text import capitalised
from .lexicon import folded, is_partial
from .model import KeyboardModel
from .personal import Mixed
from .spacing import Transform

TWIN = 1.4  # nats that a word in another case may be less likely: "May" beside "may", but no "If" beside "if"
MODEL, PERSONAL, LEXICON, LITERAL = "model", "personal", "lexicon", "literal"


class Suggestion(NamedTuple):
    """A word that may be meant.

    text: as it would stand in the text. probability: of the word after the words before, whatever is typed of it, times
    exp(- cost of a slip). source: `model`, `personal` (mostly the person's own words), `lexicon` (a slip was mended) or
    `literal` (what is typed). transform: what taking it does to the text.
    """

    text: str
    probability: float
    source: str
    transform: Transform


class Candidate(NamedTuple):
    """A word of the vocabulary, or a person's own."""

    word: str
    score: float
    source: str


def shown(word: str, prefix: str, starts: bool) -> str:
    """A word in the case that the person follows.

    Args:
        prefix: what is typed of it.
        starts: whether a sentence starts, which counts where nothing is typed.
    """
    letters = [letter for letter in prefix if letter.lower() != letter.upper()]
    if len(letters) > 1 and all(letter == letter.upper() for letter in letters):
        return word.upper()
    if prefix[:1] != prefix[:1].lower() or (not prefix and starts):
        return capitalised(word)
    return word


def candidates(model: KeyboardModel, mixed: Mixed, prefix: str, allowed: np.ndarray, k: int) -> Iterator[Candidate]:
    """Words that may be meant, best first, at least k of the vocabulary that differ in more than case, if it has them.

    Args:
        allowed: [V], whether a word of the vocabulary may be suggested; a person's own come in any case.
    """
    own = list(_matching(mixed.own, prefix) if prefix else mixed.own)
    if not prefix:
        scores = np.where(allowed, mixed.log_probs, -np.inf)
        ids, costs = best_ids(scores, min(k * model.lexicon.twins, len(scores))), None
        ids = ids[allowed[ids]]
    else:
        ids, slips = model.lexicon.matches(prefix)
        kept = allowed[ids]
        ids, costs = ids[kept], slips[kept]
    return _sorted(model, mixed, ids, costs, own)


def _sorted(
    model: KeyboardModel, mixed: Mixed, ids: np.ndarray, costs: np.ndarray | None, own: list[tuple[str, float]]
) -> Iterator[Candidate]:
    """Words by id and a person's own, merged by score."""
    scores = mixed.log_probs[ids].astype(np.float64)
    if costs is not None:
        scores -= costs
    order = np.lexsort((ids, -scores))
    words, places = model.vocabulary.words, sorted(range(len(own)), key=lambda place: -own[place][1])
    turn = 0
    for place in order.tolist():
        score = float(scores[place])
        while turn < len(places) and own[places[turn]][1] > score:
            yield Candidate(*own[places[turn]], PERSONAL)
            turn += 1
        token = int(ids[place])
        slip = costs is not None and costs[place] > 0
        yield Candidate(words[token], score, LEXICON if slip else PERSONAL if token in mixed.personal else MODEL)
    for place in places[turn:]:
        yield Candidate(*own[place], PERSONAL)


def _matching(own: Iterable[tuple[str, float]], prefix: str) -> Iterator[tuple[str, float]]:
    """A person's own words that begin as typed; no slips are mended in them."""
    start = folded(prefix)
    if is_partial(start):
        yield from ((word, score) for word, score in own if folded(word).startswith(start))
