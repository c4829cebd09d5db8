"""Held-out messages as a keyboard reads them: tokens, and the words that it should have suggested.

A sequence is what is read with carried state: a conversation, or a single message.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from zoo.errors import CorpusError
from zoo.keyboard.vocabulary import Vocabulary
from zoo.sources import KNOWN, texts_of
from zoo.typed_corpora import DIALOGUE, messages
from zoo.typed_text import is_word, split_words, starts_after

SENTENCES = ("tatoeba", "commonvoice")  # sources of single sentences, which no blank lines part


class Word(NamedTuple):
    """A word that somebody typed.

    place: how many tokens of the sequence stand before it. typed: as in the text, with straight quotes. form: in the
    case in which it is read. token: its id; -1: not in the vocabulary, or never suggested. starts: it starts a
    sentence. previous: the word or sign before it; "": it starts the message.
    """

    place: int
    typed: str
    form: str
    token: int
    starts: bool
    previous: str


@dataclass
class Sequence:
    """Tokens that are read one after the other from the state after `<eos>`, and the words among them.

    signs: how many signs were typed.
    """

    ids: list[int] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    signs: int = 0

    def add(self, line: str, vocabulary: Vocabulary) -> None:
        """One more message."""
        starts, previous = True, ""
        for typed in split_words(line):
            form = vocabulary.form(typed, starts)
            if is_word(typed):
                token = vocabulary.ids.get(form, -1)
                token = token if token >= 0 and vocabulary.suggestible[token] else -1
                self.words.append(Word(len(self.ids), typed, form, token, starts, previous))
            else:
                self.signs += 1
            self.ids += vocabulary.tokens(form)
            starts, previous = starts_after(typed, starts), form
        if self.ids and self.ids[-1] != vocabulary.eos:
            self.ids.append(vocabulary.eos)


def conversations(lines: Iterable[str], single: bool = False) -> Iterator[list[str]]:
    """Messages of each conversation, which blank lines part.

    Args:
        single: every message is one of its own.
    """
    found: list[str] = []
    for line in lines:
        if single or not line.strip():
            if found:
                yield found
            found = []
        if line.strip():
            found.append(line)
    if found:
        yield found


def dialogue_of(data_dir: str | Path | None, split: str, most: int | None = None) -> dict[str, list[list[str]]]:
    """source -> conversations of a split of the dialogue corpus.

    Args:
        data_dir: folder of the corpora, or of this one; None: the environment variable ZOO_DATA.
        most: of each source only so many of the first conversations.

    Raises:
        CorpusError: its files are not there.
    """
    texts_of("dialogue", data_dir)  # says what is missing
    root = Path(os.path.expanduser(data_dir or os.environ["ZOO_DATA"]))
    folders = [root / name for name in KNOWN["dialogue"].folders]
    folder = next(folder for folder in folders if (folder / f"{next(iter(DIALOGUE))}.{split}.txt.gz").is_file())
    return {
        source: list(islice(conversations(messages(folder / f"{source}.{split}.txt.gz"), source in SENTENCES), most))
        for source in DIALOGUE
    }


def text_of(path: Path, most: int | None = None) -> dict[str, list[list[str]]]:
    """A text file as one source: a message a line, blank lines between conversations.

    Raises:
        CorpusError: not readable or empty.
    """
    found = list(islice(conversations(messages(path)), most))
    if not found:
        raise CorpusError(f"{path} has no messages; give UTF-8 text with a message a line")
    return {path.name.removesuffix(".gz").removesuffix(".txt"): found}


def read(talks: Mapping[str, list[list[str]]], vocabulary: Vocabulary, fresh: bool) -> list[tuple[str, Sequence]]:
    """(source, sequence) of every conversation, or where `fresh` of every message."""
    found = []
    for source, conversations_ in talks.items():
        for talk in conversations_:
            for lines in ([line] for line in talk) if fresh else [talk]:
                sequence = Sequence()
                for line in lines:
                    sequence.add(line, vocabulary)
                if sequence.ids:
                    found.append((source, sequence))
    return found
