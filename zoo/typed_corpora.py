"""Corpora of raw text, made into words and signs in their case (`typed_text`), a message or a paragraph a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO

from .cached_files import cached
from .errors import CorpusError
from .tokenization import Text
from .typed_text import Casing

# Sources of the corpus `dialogue`, in the order in which they make a split, and the licence of each one's text: those
# whose licences ask nothing of a model that was trained on several of them.
DIALOGUE = {
    "selfdialogue": "BSD-3-Clause",
    "topicalchat": "CDLA-Sharing-1.0",
    "personachat_synth": "CC-BY-4.0",
    "taskmaster4": "CC-BY-4.0",
    "tatoeba": "CC-BY-2.0",
    "commonvoice": "CC0-1.0",
}
FORMAT = "1"  # of the cached casing


def typed_texts(files: Mapping[str, list[Path]]) -> dict[str, Text]:
    """split -> text, words and signs with blanks between them; their case is learnt from the split `train`.

    Args:
        files: split -> its files, plain or gzip; `train` among them.

    Raises:
        CorpusError: a file is missing.
    """
    missing = [path.name for paths in files.values() for path in paths if not path.is_file()]
    if missing:
        folder = files["train"][0].parent
        raise CorpusError(f"{folder} lacks {', '.join(missing)}; get all files of this corpus, or name another corpus")
    return {
        split: Text(f"the {split} text in {paths[0].parent}", partial(_blocks, paths, files["train"]))
        for split, paths in files.items()
    }


def messages(path: Path) -> Iterator[str]:
    """The lines of a file; in a corpus of dialogue an empty one ends a conversation."""
    rest = b""
    for block in Text.of(path).blocks():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode("utf-8")
    if rest:
        yield rest.decode("utf-8")


def _blocks(paths: list[Path], train: list[Path]) -> Iterator[bytes]:
    """The text of a split, a file at a time."""
    casing = _casing(train)
    for path in paths:
        lines = (" ".join(casing.words(line)) for line in messages(path))
        yield "".join(f"{line}\n" for line in lines if line).encode()


def _casing(train: list[Path]) -> Casing:
    """The casing of the training text, learnt once."""
    told = repr([(path.name, path.stat().st_size) for path in train])

    def write(file: IO[bytes]) -> None:
        casing = Casing.of_text(line for path in train for line in messages(path))
        file.write(json.dumps([dict(casing.usual), sorted(casing.known)]).encode())

    def read(path: Path) -> Casing:
        usual, known = json.loads(path.read_bytes())
        return Casing(usual, set(known))

    return cached(f"casing-{hashlib.sha256(told.encode()).hexdigest()[:32]}.{FORMAT}.json", read, write)
