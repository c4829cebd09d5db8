"""Spaces and signs: what is deleted before the caret and what is put there when a word or sign is committed."""

from __future__ import annotations

from typing import NamedTuple

from ..typed_text import is_word, straight

EATS = frozenset([".", ",", "!", "?", ";", ":", ")", "]", "}", "%", "-", "/", "_", "'", "\\", "~", "=", "+", "*"])
JOINS = frozenset(["(", "[", "{", "-", "/", "_", "'", "#", "@", "$", "£", "€", "&", "\\", "~", "=", "+", "*", "<", "^"])

OPENING, CLOSING = "\u201c", "\u201d"


class Transform(NamedTuple):
    """A change before the caret: so many characters (code points) deleted, then a text inserted."""

    delete: int
    insert: str


class Spacing(NamedTuple):
    """What the characters before the caret mean for the next word.

    space: the last character is a space that the keyboard itself put there.
    quote: a double quote is open.
    """

    space: bool = False
    quote: bool = False

    def word(self, text: str) -> tuple[str, str, Spacing]:
        """A word, or an emoji or other sign that stands by itself: eaten, inserted, spacing after it."""
        return "", f"{text} ", Spacing(True, self.quote)

    def sign(self, text: str) -> tuple[str, str, Spacing]:
        """A sign: what it eats, what is inserted, spacing after it.

        A closing sign eats the keyboard's own space; an opening or joining one has none after it; the double quote
        opens and closes by turns where it is straight. Curly quotes and dots are signs as the straight ones are.
        """
        plain = straight(text)
        if plain == '"':
            if text == OPENING or (text != CLOSING and not self.quote):
                return "", text, Spacing(False, True)
            return " " if self.space else "", f"{text} ", Spacing(True, False)
        eats = plain in EATS or plain.startswith("..")
        eaten = " " if eats and self.space else ""
        if plain in JOINS:
            return eaten, text, Spacing(False, self.quote)
        return eaten, f"{text} ", Spacing(True, self.quote)

    def newline(self) -> tuple[str, str, Spacing]:
        """The end of a message."""
        return " " if self.space else "", "\n", Spacing()

    def verbatim(self, text: str) -> tuple[str, str, Spacing]:
        """Several words at once, as they are; a space after them if they end in none."""
        if text[-1:].isspace():
            return "", text, Spacing(False, self.quote)
        return "", f"{text} ", Spacing(True, self.quote)

    def put(self, text: str) -> tuple[str, str, Spacing]:
        """One word or sign, by the rule for it."""
        return self.word(text) if is_word(text) else self.sign(text)


NO_SPACE = Spacing()
