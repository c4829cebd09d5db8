"""Words typed with a slip: how often a keyboard still shows what was meant, and what a slip should cost.

Every word of at least four letters is typed twice from the same place: right, and with one letter of those typed so far
replaced by a neighbour on the keys, left out, followed by a neighbour of it, or swapped with the next. A slip is
mended by `zoo.keyboard.lexicon`; its cost is weighed on validation messages, and what is told is of test messages.
Letters: V vocabulary.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils import logging

from zoo.errors import ZooError
from zoo.hub import folder_of
from zoo.keyboard import Keyboard, KeyboardModel
from zoo.keyboard.lexicon import TYPO, folded

from .report import RESULTS, name_of, sha256_of, versions, write
from .typed import Word, dialogue_of, read

KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
TYPED = (3, 4, 5, 0)  # letters; 0: the whole word
COSTS = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
RATE = 0.05  # letters that go wrong, of all that are typed
WORDS = 4000
SLOTS = 3
LEAST = 4  # letters of a word


def neighbours(letter: str) -> str:
    """The letters around a key; a key of the row below lies half a key to the right."""
    (row, place) = next((row, keys.index(letter)) for row, keys in enumerate(KEYS) if letter in keys)
    steps = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    around = [(row + down, place + right) for down, right in steps]
    return "".join(KEYS[r][p] for r, p in around if 0 <= r < len(KEYS) and 0 <= p < len(KEYS[r]))


def slipped(typed: str, chance: random.Random) -> str:
    """Letters with one slip; never what was to be typed."""
    while True:
        place, kind = chance.randrange(len(typed)), chance.choice(("wrong", "missing", "extra", "swapped"))
        before, letter, after = typed[:place], typed[place], typed[place + 1 :]
        other = chance.choice(neighbours(letter))
        found = {
            "wrong": before + other + after,
            "missing": before + after,
            "extra": before + letter + other + after,
            "swapped": before + after[:1] + letter + after[1:],
        }[kind]
        if found != typed:
            return found


def ranks(model: KeyboardModel, allowed: np.ndarray, prefix: str, token: int, log_probs: np.ndarray) -> list[int]:
    """The place of a word among those that a prefix brings up, from 0, for every cost of COSTS; V: it does not."""
    ids, slips = model.lexicon.matches(prefix)
    kept = allowed[ids]
    ids, slips = ids[kept], slips[kept]
    if token not in ids:
        return [len(log_probs)] * len(COSTS)
    found = []
    for cost in COSTS:
        scores = log_probs[ids] - np.where(slips == TYPO, cost, slips)
        found.append(int((scores > scores[ids == token].max()).sum()))
    return found


def shares(model: KeyboardModel, allowed: np.ndarray, words: Iterator[tuple[Word, np.ndarray]]) -> dict[str, Any]:
    """Shares of words among the first three, by letters typed: `right`, and `slipped` for every cost.

    words: with the distribution [V] in which each is looked for.
    """
    chance, found = random.Random(1), {typed: ([], []) for typed in TYPED}  # type: ignore[var-annotated]
    for word, log_probs in words:
        meant = folded(word.typed)
        for typed, (right, wrong) in found.items():
            prefix = meant[: typed or len(meant)]
            right.append(ranks(model, allowed, prefix, word.token, log_probs))
            wrong.append(ranks(model, allowed, slipped(prefix, chance), word.token, log_probs))
    told: dict[str, Any] = {"words": len(found[TYPED[0]][0])}
    for typed, pair in found.items():
        right, wrong = (np.mean(np.array(one) < SLOTS, axis=0) for one in pair)
        told[str(typed or "whole")] = {"right": [*map(float, right)], "slipped": [*map(float, wrong)]}
    return told


def expected(told: dict[str, Any], rate: float) -> list[float]:
    """Share of words among the first three for every cost, where letters go wrong at a rate: the mean over TYPED."""
    rows = []
    for typed in TYPED:
        row, letters = told[str(typed or "whole")], typed or 7  # about as many has a word of four letters or more
        wrong = 1 - (1 - rate) ** letters
        rows.append([(1 - wrong) * a + wrong * b for a, b in zip(row["right"], row["slipped"], strict=True)])
    return [float(value) for value in np.mean(rows, axis=0)]


def words_of(model: KeyboardModel, data: str | None, split: str, most: int) -> Iterator[tuple[Word, np.ndarray]]:
    """Words of letters that are in the vocabulary, of all sources by turns, with the distribution before each."""
    talks = dialogue_of(data, split, most=200)
    sequences = [one for _, one in read(talks, model.vocabulary, fresh=True)]
    random.Random(0).shuffle(sequences)
    return islice(_read(model, sequences), most)


def _read(model: KeyboardModel, sequences: Sequence[Any]) -> Iterator[tuple[Word, np.ndarray]]:
    letters = set("".join(KEYS))
    for sequence in sequences:
        wanted = {word.place: word for word in sequence.words}
        log_probs, state = model.start_log_probs, model.start_state
        for place, token in enumerate(sequence.ids):
            word = wanted.get(place)
            if word and word.token >= 0 and len(word.typed) >= LEAST and set(folded(word.typed)) <= letters:
                yield word, log_probs
            log_probs, state = model.step(token, state)


def measure(folder: Path, data: str | None, words: int, rate: float) -> dict[str, Any]:
    """The table of costs on validation messages and the best of them; shares on test messages at the cost in use."""
    model = KeyboardModel(folder)
    allowed = Keyboard(model).allowed
    valid, test = (shares(model, allowed, words_of(model, data, split, words)) for split in ("valid", "test"))
    worth = expected(valid, rate)
    place = COSTS.index(TYPO)
    rows = {
        typed: {key: row[key][place] for key in ("right", "slipped")} for typed, row in test.items() if typed != "words"
    }
    return {
        "rate": rate,
        "costs": list(COSTS),
        "expected": worth,
        "best": COSTS[int(np.argmax(worth))],
        "cost": TYPO,
        "weighed": valid,
        "test": {"words": test["words"], **rows},
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures checkpoints; writes `results/<name>/keyboard-slips.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.slips", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--data", metavar="DIR", help="folder of the dialogue corpus (default: ZOO_DATA)")
    parser.add_argument("--words", type=int, default=WORDS, help=f"of each split (default: {WORDS})")
    parser.add_argument("--rate", type=float, default=RATE, help=f"share of letters that go wrong (default: {RATE})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)
    logging.disable_progress_bar()
    try:
        if given.words < 1 or not 0 < given.rate < 1:
            raise ZooError(f"--words is {given.words} and --rate {given.rate}; give at least 1, and a share")
        for checkpoint in given.checkpoint:
            name, folder = name_of(checkpoint), folder_of(checkpoint)
            found = measure(folder, given.data, given.words, given.rate)
            command = f"python -m bench.slips {name} --data DIR"
            known = {"name": name, "sha256": sha256_of(folder), "command": command, "versions": versions()}
            write(given.out / name / "keyboard-slips.json", known | found)
            for typed, row in found["test"].items():
                if typed != "words":
                    what = "the word" if typed == "whole" else f"{typed} letters"
                    print(f"{name}, {what} typed: {row['right']:.1%} right, {row['slipped']:.1%} with a slip")
            print(f"{name}: the best cost is {found['best']:g} nats, in use is {TYPO:g}")
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
