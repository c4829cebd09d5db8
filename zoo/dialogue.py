"""Open dialogue as a corpus: messages of several sources as words and signs, a message a line.

The sources are those whose licences ask nothing of a model that was trained on several of them; each keeps its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from .cached_files import cached
from .errors import CorpusError
from .tokenization import Text
from .typed_text import Casing

# source -> licence of its text; in this order they make a split.
SOURCES = {
    "selfdialogue": "BSD-3-Clause",
    "topicalchat": "CDLA-Sharing-1.0",
    "personachat_synth": "CC-BY-4.0",
    "taskmaster4": "CC-BY-4.0",
    "tatoeba": "CC-BY-2.0",
    "commonvoice": "CC0-1.0",
}
FORMAT = "1"  # of the cached casing


def dialogue_texts(folder: Path, splits: tuple[str, ...]) -> dict[str, Text]:
    """split -> text, words and signs with blanks between them.

    Raises:
        CorpusError: a source lacks its file.
    """
    packed = {split: [folder / f"{source}.{split}.txt.gz" for source in SOURCES] for split in splits}
    missing = [path.name for paths in packed.values() for path in paths if not path.is_file()]
    if missing:
        raise CorpusError(f"{folder} lacks {', '.join(missing)}; get all files of the dialogue corpus, or name another")
    return {
        split: Text(f"the {split} messages in {folder}", partial(_blocks, paths, packed["train"]))
        for split, paths in packed.items()
    }


def messages(path: Path) -> Iterator[str]:
    """The lines of a source; an empty one ends a conversation."""
    rest = b""
    for block in Text.of(path).blocks():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode("utf-8")
    if rest:
        yield rest.decode("utf-8")


def _blocks(paths: list[Path], train: list[Path]) -> Iterator[bytes]:
    """The text of a split, a source at a time."""
    casing = _casing(train)
    for path in paths:
        lines = (" ".join(casing.words(line)) for line in messages(path))
        yield "".join(f"{line}\n" for line in lines if line).encode()


def _casing(train: list[Path]) -> Casing:
    """The casing of the training text, learnt once."""
    sizes = "-".join(str(path.stat().st_size) for path in train)

    def write(file: IO[bytes]) -> None:
        casing = Casing.of_text(line for path in train for line in messages(path))
        file.write(json.dumps([dict(casing.usual), sorted(casing.known)]).encode())

    def read(path: Path) -> Casing:
        usual, known = json.loads(path.read_bytes())
        return Casing(usual, set(known))

    return cached(f"dialogue-casing-{sizes}.{FORMAT}.json", read, write)
