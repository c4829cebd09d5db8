"""Do all engines suggest the same? Messages typed a key at a time, suggestions and digest beside those of torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from transformers.utils import logging

from zoo.errors import ZooError
from zoo.hub import folder_of
from zoo.keyboard import Keyboard, KeyboardModel
from zoo.keyboard.engines import ENGINES
from zoo.typed_text import is_word, split_words

from .report import RESULTS, cpu_name, name_of, sha256_of, versions, write
from .typed import dialogue_of

REFERENCE = "torch"
MESSAGES = 1000
LETTERS = 3  # typed of every word
Typed = tuple[str, list[tuple[str, ...]]]  # the digest after a message, and what was suggested at every key of it


def keys_of(message: str) -> list[tuple[str, list[str]]]:
    """The words and signs of a message, each with what is typed of it while suggestions are looked at."""
    return [
        (word, [word[:letters] for letters in range(min(len(word), LETTERS + 1))] if is_word(word) else [])
        for word in split_words(message)
    ]


def typed(keyboard: Keyboard, message: str) -> Typed:
    """Types a message into an empty text."""
    keyboard.reset()
    seen = []
    for word, prefixes in keys_of(message):
        seen += [tuple(one.text for one in keyboard.suggest(prefix)) for prefix in prefixes]
        keyboard.commit(word)
    return keyboard.digest, seen


def compared(expected: Sequence[Typed], found: Sequence[Typed]) -> dict[str, float]:
    """same_digest, same_suggestions (shares of messages), same_keys (of keys)."""
    pairs = list(zip(expected, found, strict=True))
    keys = [a == b for (_, ours), (_, theirs) in pairs for a, b in zip(ours, theirs, strict=True)]
    return {
        "same_digest": sum(a[0] == b[0] for a, b in pairs) / len(pairs),
        "same_suggestions": sum(a[1] == b[1] for a, b in pairs) / len(pairs),
        "same_keys": sum(keys) / max(1, len(keys)),
    }


def measure(folder: Path, messages: Sequence[str], engines: Sequence[str]) -> dict[str, Any]:
    """Types messages in every engine; one that cannot be opened is told among `skipped`, with the reason.

    Returns:
        messages, keys: how many; engines: name -> what `compared` gives.
    """
    expected = [typed(keyboard, message) for keyboard in [_opened(folder, REFERENCE)] for message in messages]
    found: dict[str, Any] = {"messages": len(messages), "keys": sum(len(seen) for _, seen in expected), "engines": {}}
    for engine in engines:
        try:
            keyboard = _opened(folder, engine)
        except ZooError as error:
            found.setdefault("skipped", {})[engine] = str(error).replace(str(folder), folder.name)
            continue
        found["engines"][engine] = compared(expected, [typed(keyboard, message) for message in messages])
    return found


def _opened(folder: Path, engine: str) -> Keyboard:
    return Keyboard(KeyboardModel(folder, engine), private=True)


def messages_of(data: str | None, count: int) -> list[str]:
    """Messages of the test part of the dialogue corpus, of its sources by turns, so that a few are of all.

    Raises:
        ZooError: less than one is wanted. CorpusError: the files of the corpus are not there.
    """
    if count < 1:
        raise ZooError(f"--messages is {count}; give at least 1")
    return list(islice(_by_turns(data), count))


def _by_turns(data: str | None) -> Iterator[str]:
    sources = [(line for talk in talks for line in talk) for talks in dialogue_of(data, "test").values()]
    while sources:
        for source in tuple(sources):
            line = next(source, None)
            if line is None:
                sources.remove(source)
            else:
                yield line


def main(arguments: list[str] | None = None) -> int:
    """Compares engines; writes `results/<name>/keyboard-agreement.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.keyboard_agreement", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--data", metavar="DIR", help="folder of the dialogue corpus (default: ZOO_DATA)")
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"how many (default: {MESSAGES})")
    parser.add_argument("--engine", nargs="+", default=list(ENGINES), choices=tuple(ENGINES), help="default: all")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)
    logging.disable_progress_bar()
    try:
        messages = messages_of(given.data, given.messages)
        for checkpoint in given.checkpoint:
            name, folder = name_of(checkpoint), folder_of(checkpoint)
            found = measure(folder, messages, given.engine)
            command = f"python -m bench.keyboard_agreement {name} --data DIR --messages {given.messages}"
            known = {"name": name, "sha256": sha256_of(folder), "command": command, "device": cpu_name()}
            write(given.out / name / "keyboard-agreement.json", {**known, "versions": versions(), **found})
            for engine, row in found["engines"].items():
                print(
                    f"{name} {engine}: the digest of {row['same_digest']:.2%} and the suggestions of "
                    f"{row['same_suggestions']:.2%} of {found['messages']:,} messages are those of {REFERENCE}"
                )
            for engine, reason in found.get("skipped", {}).items():
                print(f"{name} {engine}: skipped, {reason}")
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
