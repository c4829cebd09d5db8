"""What the page needs of a checkpoint: a step as ONNX, the vocabulary, a short list of words for the first seconds."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..cached_files import cached
from ..errors import ZooError
from ..hub import folder_of, verify
from ..layout import read_layout
from ..runtime import best_ids
from ..typed_text import is_word
from .blocklist import BLOCKED
from .demo_runtime import packed
from .model import KeyboardModel
from .vocabulary import Vocabulary

WARM_UP, TIMED = 100, 1000  # steps, as in the paper
WORDS, FOLLOWED, SLOTS = 600, 200, 3  # of the short list: words, those with words that follow, and how many follow


def put_model(folder: Path, name: str | Path) -> dict[str, Any]:
    """Writes a model and its vocabulary into the page's folder; its entry of models.json.

    Raises:
        CheckpointError: it is unknown, damaged or no language model.
        ZooError: it must be exported, and the packages for that are not there.
    """
    checkpoint = folder_of(name)
    verify(checkpoint)
    read_layout(checkpoint).check_language_model(str(name), "next words are suggested by")
    vocabulary = Vocabulary.read(checkpoint)
    known_as = checkpoint.resolve().name
    place = folder / "models" / known_as
    place.mkdir(parents=True)
    model = _onnx(checkpoint)
    never = [token for token, ok in enumerate(vocabulary.suggestible) if not ok and is_word(vocabulary.words[token])]
    words = json.dumps({"words": vocabulary.words, "never": never}, ensure_ascii=False)
    small = {"model.onnx.gz": packed(model), "vocabulary.json.gz": packed(words.encode("utf-8", "surrogatepass"))}
    for file, content in small.items():
        (place / file).write_bytes(content)
    metrics = checkpoint / "metrics.json"
    quality = json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {}
    test = quality.get("test", {})
    return {
        "name": known_as,
        "model": f"models/{known_as}/model.onnx.gz",
        "vocabulary": f"models/{known_as}/vocabulary.json.gz",
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "packed": sum(map(len, small.values())),
        "words": len(vocabulary.words),
        "script": script_of(vocabulary.words),
        "corpus": quality.get("corpus"),
        "perplexity": test.get("perplexity"),
        "top3": test.get("top3"),
        "milliseconds": _milliseconds(model),
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


def _onnx(checkpoint: Path) -> bytes:
    """A step as ONNX: of the checkpoint's own files or of exported ones the smaller; never the one that rounds to int8,
    which suggests other words than the checkpoint."""
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()

    def write(file: IO[bytes]) -> None:
        try:
            exporters = importlib.import_module("conversion.exporters.export")
        except ModuleNotFoundError as error:
            raise ZooError(
                f"to export {checkpoint.name} zoo demo needs the package {error.name}; install the whole rnnlm-zoo"
            ) from error
        print(f"{checkpoint.name}: exporting, once ...", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="zoo-demo-") as temporary:
            exporters.export(checkpoint, "onnx", temporary, ("fp32", "fp16"))
            file.write(_smallest(Path(temporary)).read_bytes())

    if (checkpoint / "onnx" / "model.onnx").is_file():
        return _smallest(checkpoint).read_bytes()
    return cached(f"page-{weights}-fp16.onnx", Path.read_bytes, write)


def _smallest(folder: Path) -> Path:
    """Of the files of one step; the first of equals, which is exact and keeps a checkpoint's own integers."""
    files = [folder / "onnx" / f"model{suffix}.onnx" for suffix in ("", "_fp16")]
    return min((file for file in files if file.is_file()), key=lambda file: file.stat().st_size)


def _milliseconds(model: bytes) -> float | None:
    """Median of a step on one thread of this machine; None without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    states = {given.name: np.zeros((1, given.shape[1]), np.float32) for given in session.get_inputs()[1:]}
    token, times = np.zeros((1, 1), np.int64), []
    for _ in range(WARM_UP + TIMED):
        start = time.perf_counter()
        logits, *after = session.run(None, {"input_ids": token, **states})
        best_ids(logits[0, 0], SLOTS)
        times.append(time.perf_counter() - start)
        states = dict(zip(states, after, strict=True))
    return round(1000 * float(np.median(times[WARM_UP:])), 4)
