"""The keyboard of one text: words are committed, suggestions asked for, the last commit undone."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ZooError
from ..typed_text import is_word, split_words, starts_after, straight
from .blocklist import BLOCKED
from .digest import absorbed
from .lexicon import folded
from .model import KeyboardModel
from .personal import Learnt, Mixed, Personal, learnable
from .point import Point, from_json, to_json
from .ranking import LITERAL, TWIN, Suggestion, candidates, shown
from .spacing import Spacing, Transform

UNDO = 64  # commits that can be undone
READ = 200  # words and signs of one commit that the model reads; of a longer paste only the last ones
MOST = 10  # suggestions at once


@dataclass(frozen=True)
class Step:
    """What undoing a commit takes: the place before, the change back, and what was learnt."""

    point: Point
    back: Transform
    learnt: tuple[Learnt, ...]


class Keyboard:
    """Suggestions for one text. One thread at a time; a copy is independent, but for the personal words.

    Args:
        model: an opened model, which texts share, or what `KeyboardModel` opens; None: the default checkpoint.
        engine: of a model that is opened here.
        personal: a person's words, which texts may share; None: an empty log.
        blocked: words that are not suggested; empty: none.
        private: whether words are used and not learnt.

    Raises:
        CheckpointError, ZooError: as `KeyboardModel`.
    """

    def __init__(
        self,
        model: KeyboardModel | str | Path | None = None,
        *,
        engine: str = "numpy",
        personal: Personal | None = None,
        blocked: Collection[str] = BLOCKED,
        private: bool = False,
    ):
        self.model = model if isinstance(model, KeyboardModel) else KeyboardModel(model, engine)
        self.personal = Personal() if personal is None else personal
        self.private = private
        self.block(blocked)
        self._past: deque[Step] = deque(maxlen=UNDO)
        self.reset()

    @property
    def digest(self) -> str:
        """Hash of every token read since `reset` and the three best words after each, 16 hexadecimal digits."""
        return f"{self._point.digest:016x}"

    @property
    def starts_sentence(self) -> bool:
        """Whether the next word starts a sentence."""
        return self._point.starts

    @property
    def blocked(self) -> frozenset[str]:
        """The words that are not suggested, in lower case with straight quotes."""
        return self._blocked

    @property
    def allowed(self) -> np.ndarray:
        """[V], whether a word of the vocabulary may be suggested."""
        return self._allowed

    def block(self, words: Collection[str]) -> None:
        """Sets the words that are not suggested, in any case of their letters; typing one is always allowed."""
        self._blocked = frozenset(map(folded, words))
        vocabulary = self.model.vocabulary
        self._allowed = vocabulary.suggestible & [folded(word) not in self._blocked for word in vocabulary.words]

    def reset(self) -> None:
        """An empty text: nothing before the caret, nothing to undo."""
        self._point = Point.start(self.model)
        self._past.clear()
        self._mixed: tuple[object, ...] | None = None

    def save(self) -> dict[str, Any]:
        """The place in the text as JSON, some kilobytes; without personal words, and what can be undone."""
        return to_json(self._point, self.model)

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Goes on where `save` was called, by one model step; nothing can be undone then.

        Raises:
            ZooError: not a saved state, or one of another model.
        """
        self._point = from_json(saved, self.model)
        self._past.clear()

    def copy(self) -> Keyboard:
        """An independent keyboard at the same place; model and personal words are shared."""
        other = copy.copy(self)
        other._past = self._past.copy()
        return other

    def commit(self, text: str, prefix: str = "") -> Transform:
        """A word or sign was typed in full or taken from the suggestions: one model step.

        Args:
            text: a word, a sign, a line end "\\n" (the message is sent), or several of them (a paste: a step each,
                the last 200 only).
            prefix: what of it stands before the caret already.

        Returns:
            the change of the text before the caret.
        """
        point, forms = self._point, list(self._forms(text))
        if len(forms) > READ:
            point = replace(Point.start(self.model), linked=False, digest=point.digest)
        learnt: list[Learnt] = []
        for form, _ in forms[-READ:]:
            point = self._read(point, form, learnt if len(forms) <= READ else None)
        eaten, insert, spacing = self._change(text, [form for form, _ in forms])
        point = replace(point, spacing=spacing, starts=forms[-1][1] if forms else point.starts)
        self._past.append(Step(self._point, Transform(len(insert), eaten + prefix), tuple(learnt)))
        self._point = point
        return Transform(len(eaten) + len(prefix), insert)

    def undo(self) -> Transform:
        """Takes back the last commit, and what was learnt by it, without a model step.

        Returns:
            the change of the text; an empty one where nothing can be undone, as after 64 undone commits.
        """
        if not self._past:
            return Transform(0, "")
        step = self._past.pop()
        self._point = step.point
        for learnt in reversed(step.learnt):
            self.personal.unlearn(learnt)
        return step.back

    def suggest(self, prefix: str = "", k: int = 3) -> list[Suggestion]:
        """The words that may be meant, best first, without a model step.

        Args:
            prefix: what is typed of the word before the caret.
            k: how many, 1 to 10.

        Returns:
            at most k words that are not what is typed already; where something is typed, that too, the last.

        Raises:
            ZooError: k out of range.
        """
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST:
            raise ZooError(f"k is {k!r}; a keyboard suggests 1 to {MOST} words at once")
        mixed, found = self._mixture(), list[Suggestion]()
        texts, best = {straight(prefix)}, dict[str, float]()  # best: score of a word in its likeliest case
        for candidate in candidates(self.model, mixed, prefix, self._allowed, k):
            if (key := folded(candidate.word)) in self._blocked:
                continue  # a person's own word
            text = shown(candidate.word, prefix, self._point.starts)
            worse = best.setdefault(key, candidate.score) - candidate.score
            if text not in texts and worse <= TWIN:
                texts.add(text)
                transform = Transform(len(prefix), f"{text} ")
                found.append(Suggestion(text, float(np.exp(candidate.score)), candidate.source, transform))
                if len(found) == k:
                    break
        return [*found, *([self._literal(prefix, mixed)] if prefix else [])]

    def _literal(self, prefix: str, mixed: Mixed) -> Suggestion:
        """What is typed, as a suggestion."""
        forms = [form for form, _ in self._forms(prefix)]
        eaten, insert, _ = self._change(prefix, forms)
        score = dict(mixed.own).get(forms[0], -np.inf) if len(forms) == 1 else -np.inf
        if len(forms) == 1 and forms[0] in self.model.vocabulary.ids:
            score = mixed.log_probs[self.model.vocabulary.ids[forms[0]]]
        return Suggestion(prefix, float(np.exp(score)), LITERAL, Transform(len(eaten) + len(prefix), insert))

    def _mixture(self) -> Mixed:
        """The distribution of the next word with the personal words in it, computed once for a place."""
        key = (self._point, self.personal, self.personal.version)
        known = self._mixed
        if known is None or known[0] is not key[0] or known[1] is not key[1] or known[2] != key[2]:
            mixed = self.personal.mixed(self._point.log_probs, self._point.previous, self.model.vocabulary.ids)
            known = self._mixed = (*key, mixed)
        return known[3]  # type: ignore[return-value]

    def _forms(self, text: str) -> Iterator[tuple[str, bool]]:
        """The words and signs of a text in the case in which they are read; whether a sentence starts after each."""
        starts = self._point.starts
        for number, line in enumerate(text.split("\n")):
            if number:
                starts = True
                yield "\n", starts
            for typed in split_words(line):
                form = self.model.vocabulary.form(typed, starts)
                starts = starts_after(typed, starts)
                yield form, starts

    def _read(self, point: Point, form: str, learnt: list[Learnt] | None) -> Point:
        """The place after one more word, sign or line end; what was learnt is added to `learnt`."""
        vocabulary = self.model.vocabulary
        ended = [] if point.token == vocabulary.eos else [vocabulary.eos]  # an empty line is none
        for token in ended if form == "\n" else vocabulary.tokens(form):
            log_probs, after = self.model.step(token, point.after)
            digest = absorbed(point.digest, token, log_probs)
            point = replace(point, before=point.after, token=token, log_probs=log_probs, after=after, digest=digest)
        if form == "\n":
            return replace(point, previous="", linked=True)
        linked = not is_word(form)
        if learnt is not None and not self.private and learnable(form):
            made = self.personal.learn(form, point.previous if point.linked else None)
            linked = made is not None
            learnt += [made] if made else []
        return replace(point, previous=form, linked=linked)

    def _change(self, text: str, forms: list[str]) -> tuple[str, str, Spacing]:
        """What committing a text eats and inserts, and the spacing after it."""
        spacing = self._point.spacing
        if text == "\n":
            return spacing.newline()
        if len(forms) == 1 and text == text.strip():
            return spacing.put(text)
        return spacing.verbatim(text) if text else ("", "", spacing)
