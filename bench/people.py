"""Messages of one person each, to learn from and to be measured on.

critics: the four film critics of Pang and Lee's scale data, a sentence a message: real people with enough text, but it
is prose in lower case, of another kind than the models were trained on. dialogues: self-dialogues, both sides of which
one person wrote: real people and messages, but only some fifteen each, all of one conversation.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.errors import CorpusError

from .typed import dialogue_of

TUNED_ON = "Scott Renshaw"  # the critic whom the weights of the mixture were chosen with
TESTED = 10  # reviews of each critic that are measured on
TRIES = 5  # histories of each length
FIRST = 10  # messages of a dialogue that are learnt from
SENTENCE = re.compile(r"(?<= [.?!]) ")


@dataclass(frozen=True)
class Person:
    """What somebody wrote.

    tested: conversations to be measured on; of each the first `skipped` messages are read only. pasts: messages typed
    earlier, oldest first; several alternatives.
    """

    name: str
    tested: list[list[str]]
    pasts: list[list[str]]
    skipped: int = 0


def critics(data_dir: str | Path | None, most: int) -> list[Person]:
    """The critics, each with histories of `most` messages.

    Raises:
        CorpusError: the file is not there.
    """
    root = Path(os.path.expanduser(data_dir or os.environ.get("ZOO_DATA") or "."))
    path = next((p for p in (root / "scale.jsonl.gz", root / "movie_reviews" / "scale.jsonl.gz") if p.is_file()), None)
    if path is None:
        raise CorpusError(f"{root} has no scale.jsonl.gz, nor movie_reviews with it; give --data DIR or set ZOO_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    found = []
    for author in sorted({row["author"] for row in rows}):
        reviews = [SENTENCE.split(row["text"]) for row in rows if row["author"] == author]
        order = np.random.default_rng(0).permutation(len(reviews))
        tested = [reviews[place] for place in order[:TESTED]]
        rest = [sentence for place in order[TESTED:] for sentence in reviews[place]]
        pasts = [rest[start : start + most] for start in range(0, TRIES * most, most)]
        found.append(Person(author, tested, pasts))
    return found


def talkers(data_dir: str | Path | None, split: str, most: int | None = None) -> list[Person]:
    """Those who wrote self-dialogues; the past of each is the first ten messages of the dialogue.

    Raises:
        CorpusError: the dialogue corpus is not there.
    """
    talks = [talk for talk in dialogue_of(data_dir, split)["selfdialogue"] if len(talk) > FIRST]
    return [Person(str(number), [talk], [talk[:FIRST]], FIRST) for number, talk in enumerate(talks[:most])]
