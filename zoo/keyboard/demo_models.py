"""What the page needs of a checkpoint: weights and words in one file, a short list of words for the first seconds."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ZooError
from ..hub import folder_of, verify
from ..layout import read_layout
from ..runtime import best_ids
from ..typed_text import is_word
from .blocklist import BLOCKED
from .model import KeyboardModel
from .vocabulary import Vocabulary

WORDS, FOLLOWED, SLOTS = 600, 200, 3  # of the short list: words, those with words that follow, and how many follow


def put_model(folder: Path, name: str | Path) -> dict[str, Any]:
    """Writes a model with its words into the page's folder; its entry of models.json.

    Raises:
        CheckpointError: it is unknown, damaged or no language model.
        ZooError: the package conversion is not there, or the file would be larger than its format allows.
    """
    checkpoint = folder_of(name)
    verify(checkpoint)
    read_layout(checkpoint).check_language_model(str(name), "next words are suggested by")
    vocabulary = Vocabulary.read(checkpoint)
    known_as = checkpoint.resolve().name
    place = folder / "models" / known_as
    place.mkdir(parents=True)
    model = _file_of(checkpoint)
    # Packed, because many hosts of static files send it as it is.
    packed = gzip.compress(model, 9, mtime=0)
    (place / "model.rnnlm.gz").write_bytes(packed)
    never = [token for token, ok in enumerate(vocabulary.suggestible) if not ok and is_word(vocabulary.words[token])]
    metrics = checkpoint / "metrics.json"
    quality = json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {}
    test = quality.get("test", {})
    return {
        "name": known_as,
        "model": f"models/{known_as}/model.rnnlm.gz",
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "packed": len(packed),
        "words": len(vocabulary.words),
        "never": never,
        "script": script_of(vocabulary.words),
        "corpus": quality.get("corpus"),
        "perplexity": test.get("perplexity"),
        "top3": test.get("top3"),
    }


def script_of(words: Sequence[str]) -> str:
    """The script of most letters of the frequent words: `Cyrl`, else `Latn`; the page has keys for these two."""
    letters = [letter for word in words[:WORDS] for letter in word if letter.isalpha()]
    return "Cyrl" if 2 * sum("\u0400" <= letter <= "\u04ff" for letter in letters) > len(letters) else "Latn"


def first_words(name: str | Path) -> dict[str, Any]:
    """What the bar shows until the model is there: frequent words, and what the model says after one of them alone."""
    model = KeyboardModel(name)
    vocabulary = model.vocabulary
    blocked = np.array([word.lower() in BLOCKED for word in vocabulary.words])
    allowed = vocabulary.suggestible & ~blocked

    def best(log_probs: np.ndarray) -> list[str]:
        return [vocabulary.words[token] for token in best_ids(np.where(allowed, log_probs, -np.inf), SLOTS)]

    frequent = np.flatnonzero(allowed)[:WORDS].tolist()
    followed = {vocabulary.words[token]: best(model.step(token, model.start_state)[0]) for token in frequent[:FOLLOWED]}
    return {
        "words": [vocabulary.words[token] for token in frequent],
        "start": best(model.start_log_probs),
        "after": {word.lower(): found for word, found in followed.items()},
    }


def _file_of(checkpoint: Path) -> bytes:
    """The checkpoint as the C step reads it, its numbers as they are stored."""
    try:
        c_file = importlib.import_module("conversion.exporters.c_file")
    except ModuleNotFoundError as error:
        raise ZooError(f"zoo demo needs the package {error.name}; type: pip install rnnlm-zoo") from error
    return c_file.file_of(checkpoint)
