"""Text as people type it -> words and signs, in the case in which a vocabulary has them.

The rule: a word is letters and digits, with apostrophes between them ("don't" is one word); a number keeps its inner
points, commas and colons; dots in a row are one sign, every other sign is one of its own. Curly quotes are straight.
The page of the keyboard has the same rule in JavaScript; a test holds the two against each other.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

WORD = re.compile(r"\d+(?:[.,:]\d+)+|\w+(?:'\w+)*|\.{2,}|[^\w\s]")
STRAIGHT = str.maketrans({"\u2018": "'", "\u2019": "'", "`": "'", "\u201c": '"', "\u201d": '"', "\u2026": "..."})
ENDS = frozenset([".", "!", "?", "...", ".."])
LEAST = 3  # times that a form must stand inside a sentence to be one of its own


def straight(text: str) -> str:
    """A text with straight quotes and dots apart, in the composed form of Unicode (NFC)."""
    return unicodedata.normalize("NFC", text).translate(STRAIGHT)


def split_words(text: str) -> list[str]:
    """The words and signs of a text, as typed but for quotes and dots."""
    return WORD.findall(straight(text))


def is_word(word: str) -> bool:
    """Whether it is a word or a number, not a sign."""
    return word[:1].isalnum() or word[:1] == "_"


def capitalised(word: str) -> str:
    """The word with a capital at its beginning; the rest as it is."""
    return word[:1].upper() + word[1:]


def starts_after(word: str, starts: bool) -> bool:
    """Whether a sentence starts after `word`; `starts`: whether one started before it."""
    return word in ENDS or (starts and not is_word(word))


class Casing:
    """The case of words: as typed inside a sentence if that form is known, else, and at a start, the usual one.

    Args:
        usual: lower case -> the usual form, "i" -> "I".
        known: forms that are words of their own, "May" beside "may".
    """

    def __init__(self, usual: Mapping[str, str], known: Collection[str]):
        self.usual, self.known = usual, known

    @classmethod
    def of_vocabulary(cls, words: Iterable[str]) -> Casing:
        """The casing of words by falling frequency."""
        usual: dict[str, str] = {}
        known = list(words)
        for word in known:
            usual.setdefault(word.lower(), word)
        return cls(usual, frozenset(known))

    @classmethod
    def of_text(cls, lines: Iterable[str]) -> Casing:
        """The casing of a text, a message a line, learnt from words that start no sentence."""
        counts: Counter[str] = Counter()
        for line in lines:
            starts = True
            for word in split_words(line):
                if not starts and is_word(word):
                    counts[word] += 1
                starts = starts_after(word, starts)
        usual: dict[str, str] = {}
        for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            usual.setdefault(word.lower(), word)
        return cls(usual, {word for word, count in counts.items() if count >= LEAST})

    def word(self, typed: str, starts: bool) -> str:
        """A typed word in its case.

        Args:
            starts: whether it starts a sentence.
        """
        lower = typed.lower()
        plain = (
            typed == lower or (starts and typed == capitalised(lower)) or (len(typed) > 1 and typed == typed.upper())
        )
        if not plain and typed in self.known:
            return typed
        return self.usual.get(lower, lower if plain and starts else typed)

    def words(self, text: str, starts: bool = True) -> Iterator[str]:
        """The words and signs of a text in their case.

        Args:
            starts: whether the text starts a sentence.
        """
        for typed in split_words(text):
            yield self.word(typed, starts) if is_word(typed) else typed
            starts = starts_after(typed, starts)
