"""`zoo keyboard`: a line to type in, with three suggestions below it; keys can also be piped in."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from ..errors import ZooError
from ..typed_text import is_word, straight
from ..writing import write_atomically
from .blocklist import BLOCKED
from .engines import ENGINES
from .model import DEFAULT
from .personal import Personal
from .ranking import LITERAL
from .session import Keyboard

SLOTS = 3
TAB, ENTER, SPACE = "\t", "\n", " "
BACKSPACES, END, CLEAR, PRIVATE = ("\x7f", "\b"), "\x04", "\x15", "\x10"
HELP = "Tab: the middle word. 1 2 3: a word. Backspace: undo. Ctrl-P: private. Ctrl-U: new text. Ctrl-D: end."


class Typing:
    """A text that grows by keys.

    Args:
        keyboard: whose suggestions are shown; its text must be empty.
    """

    def __init__(self, keyboard: Keyboard):
        self.keyboard = keyboard
        self.clear()

    def clear(self) -> None:
        """A new text."""
        self.keyboard.reset()
        self.text, self.prefix, self.keys = "", "", 0
        self._past: list[tuple[str, str]] = []

    @property
    def slots(self) -> list[str]:
        """The words of the three slots from left to right: the best is in the middle, then left, then right."""
        words = [one.text for one in self.keyboard.suggest(self.prefix, SLOTS) if one.source != LITERAL]
        words += [""] * (SLOTS - len(words))
        return [words[1], words[0], words[2]]

    @property
    def shown(self) -> str:
        """The text with what is typed of a word."""
        return self.text + self.prefix

    def press(self, key: str) -> None:
        """One key: a character, or one of those that `HELP` names."""
        if key in BACKSPACES:
            self._back()
        elif key == CLEAR:
            self.clear()
        elif key == PRIVATE:
            self.keyboard.private = not self.keyboard.private
        elif key == TAB or key in ("1", "2", "3"):
            word = self.slots[1 if key == TAB else int(key) - 1]
            if word:
                self.keys += 1
                self._commit(word, self.prefix)
        elif key == ENTER:
            self._end_word(ENTER)
        elif key == SPACE:
            self._end_word("")
        elif is_word(key) or (straight(key) == "'" and self.prefix):
            self.keys += 1
            self.prefix += key
        elif key.isprintable():
            self._end_word(key)

    def _end_word(self, sign: str) -> None:
        """What is typed is a word, and a sign may follow it."""
        self.keys += 1
        if self.prefix:
            self._commit(self.prefix, self.prefix)
        if sign:
            self._commit(sign, "")

    def _commit(self, word: str, prefix: str) -> None:
        self._past.append((self.text, prefix))
        delete, insert = self.keyboard.commit(word, prefix)
        shown = self.text + prefix
        self.text, self.prefix = shown[: len(shown) - delete] + insert, ""

    def _back(self) -> None:
        """A letter less, or the last word or sign undone."""
        self.keys += 1
        if self.prefix:
            self.prefix = self.prefix[:-1]
        elif self._past and self.keyboard.undo() != (0, ""):
            self.text, self.prefix = self._past.pop()
        elif self.text:  # further back than the keyboard remembers
            self.text, self._past, private = self.text[:-1], [], self.keyboard.private
            self.keyboard.reset()
            self.keyboard.private = True  # it was learnt when it was typed
            self.keyboard.commit(self.text)
            self.keyboard.private = private


def main(arguments: Sequence[str] | None = None, prog: str = "zoo keyboard") -> int:
    """Reads keys until they end; the exit code."""
    given = _parser(prog).parse_args(arguments)
    keyboard = Keyboard(
        given.model, engine=given.engine, private=given.private, blocked=() if given.all_words else BLOCKED
    )
    typing = Typing(keyboard)
    kept = contextlib.nullcontext() if given.personal is None else _kept(keyboard.personal, Path(given.personal))
    with kept:
        if sys.stdin.isatty():
            _interactive(typing)
        else:
            _piped(typing, sys.stdin)
    return 0


@contextlib.contextmanager
def _kept(personal: Personal, given: Path) -> Iterator[None]:
    """A person's words from a file, and back into it however the typing ends.

    Raises:
        ZooError: a place where no file can be written, before anything is typed; or a file of something else.
    """
    path = given.expanduser()
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ZooError(f"--personal is {given}, which cannot be written; give a file in a folder of your own")
    if path.exists():
        personal.load(_read(path))
    try:
        yield
    finally:
        text = json.dumps(personal.export(), ensure_ascii=False) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=f"{__doc__} {HELP}", allow_abbrev=False)
    parser.add_argument(
        "--model", metavar="NAME", help=f"a checkpoint, a folder, or owner/name on the Hub (default: {DEFAULT})"
    )
    parser.add_argument("--engine", default="numpy", choices=tuple(ENGINES), help="what computes (default: numpy)")
    parser.add_argument("--personal", metavar="FILE", help="your words as JSON, read first and written at the end")
    parser.add_argument("--private", action="store_true", help="learn no words")
    parser.add_argument("--all-words", action="store_true", help="suggest offensive words too")
    return parser


def _read(path: Path) -> dict:
    """A person's words from a file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(
            f"{path} is no JSON of personal words; give a file that zoo keyboard --personal wrote"
        ) from error


def _piped(typing: Typing, stream: IO[str]) -> None:
    """Keys from a pipe: after every line the text of it and the three words that are shown then."""
    begun = 0
    for line in stream:
        for key in line.removesuffix("\n"):
            typing.press(key)
        _print_line(typing, begun)
        if line.endswith("\n"):
            typing.press(ENTER)
            begun = len(typing.text)


def _print_line(typing: Typing, begun: int) -> None:
    print(typing.shown[begun:].rstrip(" "))
    print(f"  {_bar(typing.slots)}  ({typing.keys} keys, {len(typing.shown)} characters)", flush=True)


def _bar(slots: Sequence[str]) -> str:
    return " | ".join(f"{number} {word}" for number, word in enumerate(slots, start=1))


def _interactive(typing: Typing) -> None:
    """Keys from a terminal; the last line of the text and the slots are painted after each."""
    print(HELP)
    with contextlib.suppress(EOFError):
        for key in _terminal_keys(lambda: _paint(typing)):
            typing.press(key)
    print("\r\033[K")


def _paint(typing: Typing) -> None:
    width = shutil.get_terminal_size().columns
    line, mark = typing.shown.rpartition("\n")[2], "private " if typing.keyboard.private else ""
    bar = f"{mark}{_bar(typing.slots)}  {typing.keys} keys, {len(typing.shown)} characters"[: width - 1]
    sys.stdout.write(f"\r\033[K\n\033[K{bar}\033[A\r\033[K{line[-(width - 2) :]}")
    sys.stdout.flush()


def _terminal_keys(paint) -> Iterator[str]:
    """Keys as they are pressed, without echo; the terminal is as before afterwards."""
    try:
        import termios
        import tty
    except ImportError as error:
        raise ZooError("this system has no termios; pipe keys in: echo hello | zoo keyboard") from error
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        while True:
            paint()
            key = sys.stdin.read(1)
            if key in (END, ""):
                return
            yield ENTER if key == "\r" else key
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
