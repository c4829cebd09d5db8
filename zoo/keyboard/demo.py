"""`zoo demo`: puts the page, models, vocabularies and the runtime into one folder, and serves it.

The folder is complete: any server of static files will do, and it is a static Space as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..cached_files import cached
from ..errors import CheckpointError, ZooError
from ..hub import folder_of, verify
from ..layout import read_layout
from ..typed_text import is_word
from .blocklist import BLOCKED
from .demo_runtime import FIRST, PACKAGE, VERSION, packed, put_runtime
from .demo_server import server_of
from .model import DEFAULT
from .vocabulary import Vocabulary

PAGE = Path(__file__).with_name("page")
WARM_UP, TIMED = 100, 1000  # steps, as in the paper
CARD = """---
title: Keyboard of small recurrent language models
emoji: ⌨️
colorFrom: blue
colorTo: gray
sdk: static
app_file: index.html
pinned: false
license: apache-2.0
short_description: Next words on your device, offline after the first load
---

# A keyboard whose suggestions are computed in the page

Made by `zoo demo`. Nothing that is typed leaves the page. Models: {models}. First load: {size:.1f} MB.
`ort/` is {package} {version} (MIT licence, Microsoft), unchanged but packed.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `zoo demo`."""
    parser.add_argument(
        "--model", metavar="NAME", action="append",
        help=f"a checkpoint; again for more, the first is what the page starts with (default: {DEFAULT})",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="folder that gets the page (default: one for this run alone)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (default: 8000)")
    parser.add_argument("--isolate", action="store_true", help="send the headers with which wasm may use threads")
    parser.add_argument("--no-serve", action="store_true", help="write the folder only; needs --out")
    parser.set_defaults(run=demo)


def demo(given: Namespace) -> int:
    """Makes the page's folder, says what the first load is, and serves it until interrupted."""
    if given.no_serve and given.out is None:
        raise ZooError("--no-serve without --out leaves nothing; type: zoo demo --no-serve --out DIR")
    with tempfile.TemporaryDirectory(prefix="zoo-demo-") as temporary:
        folder = Path(temporary if given.out is None else given.out).expanduser()
        content = assemble(folder, given.model or [DEFAULT])
        for file in content["first_load"]["files"]:
            print(f"{file['bytes']:>12,}  {file['path']}")
        print(f"{content['first_load']['bytes']:>12,}  bytes at the first load, of {folder}")
        if not given.no_serve:
            server = server_of(folder, given.host, given.port, given.isolate)
            host, port = server.server_address[:2]
            print(f"http://{'localhost' if host == '127.0.0.1' else str(host)}:{port}/  (Ctrl+C ends it)", flush=True)
            server.serve_forever()
    return 0


def assemble(folder: Path, models: Sequence[str]) -> dict[str, Any]:
    """Writes the page with models into a folder; what its models.json says.

    Args:
        models: names, folders or `owner/name[@revision]`; the first is what the page starts with.

    Raises:
        CheckpointError: one is unknown or damaged, or two have the same name.
        ZooError: the runtime cannot be had, or the folder holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "models.json").is_file():
        raise ZooError(f"{folder} holds something that is no page of zoo demo; give --out an empty or a new folder")
    shutil.rmtree(folder / "models", ignore_errors=True)
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    entries = [_put_model(folder, name) for name in models]
    names = [entry["name"] for entry in entries]
    if len(set(names)) < len(names):
        raise CheckpointError(f"two of the models are called the same ({', '.join(names)}); rename a folder")
    put_runtime(folder / "ort")
    (folder / "blocked.json").write_text(json.dumps(sorted(BLOCKED)) + "\n", encoding="utf-8")
    page = sorted(path.relative_to(folder).as_posix() for path in (folder / file for file in _page_files()))
    first = [*page, "blocked.json", *(f"ort/{file}" for file in FIRST), entries[0]["model"], entries[0]["vocabulary"]]
    files = [{"path": path, "bytes": (folder / path).stat().st_size} for path in first]
    total = sum(file["bytes"] for file in files)
    content = {
        "default": names[0],
        "runtime": {"name": PACKAGE, "version": VERSION},
        "models": entries,
        "first_load": {"bytes": total, "files": files},
    }
    (folder / "models.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    card = CARD.format(models=", ".join(names), size=total / 1e6, package=PACKAGE, version=VERSION)
    (folder / "README.md").write_text(card, encoding="utf-8")
    # The service worker's list; its version is another one whenever a byte of the page is.
    known = [*first, "models.json"]
    version = hashlib.sha256(b"".join((folder / path).read_bytes() for path in known)).hexdigest()[:16]
    listed = json.dumps({"version": version, "first": known}, indent=1)
    (folder / "files.js").write_text(f"self.FILES = {listed};\n", encoding="utf-8")
    return content


def _page_files() -> list[str]:
    """The files of the page itself."""
    return [path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file()]


def _put_model(folder: Path, name: str) -> dict[str, Any]:
    """Writes a model and its vocabulary; its entry of models.json."""
    checkpoint = folder_of(name)
    verify(checkpoint)
    read_layout(checkpoint).check_language_model(name, "next words are suggested by")
    vocabulary = Vocabulary.read(checkpoint)
    known_as = checkpoint.resolve().name
    place = folder / "models" / known_as
    place.mkdir(parents=True)
    model = _onnx(checkpoint)
    never = [token for token, ok in enumerate(vocabulary.suggestible) if not ok and is_word(vocabulary.words[token])]
    words = json.dumps({"words": vocabulary.words, "never": never}, ensure_ascii=False)
    (place / "model.onnx.gz").write_bytes(packed(model))
    (place / "vocabulary.json.gz").write_bytes(packed(words.encode("utf-8", "surrogatepass")))
    metrics = checkpoint / "metrics.json"
    quality = json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {}
    test = quality.get("test", {})
    return {
        "name": known_as,
        "model": f"models/{known_as}/model.onnx.gz",
        "vocabulary": f"models/{known_as}/vocabulary.json.gz",
        "sha256": hashlib.sha256(model).hexdigest(),
        "bytes": len(model),
        "words": len(vocabulary.words),
        "corpus": quality.get("corpus"),
        "perplexity": test.get("perplexity"),
        "top3": test.get("top3"),
        "milliseconds": _milliseconds(model),
    }


def _onnx(checkpoint: Path) -> bytes:
    """A step as ONNX: of the checkpoint's own files or of exported ones the smaller, which both compute in fp32."""
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()

    def write(file: IO[bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="zoo-demo-") as temporary:
            try:
                exporters = importlib.import_module("conversion.exporters.export")
            except ModuleNotFoundError as error:
                raise ZooError(
                    f"to export {checkpoint.name} zoo demo needs {error.name}; install the whole rnnlm-zoo"
                ) from error
            exporters.export(checkpoint, "onnx", temporary, ("fp32", "int8"))
            file.write(_smallest(Path(temporary)).read_bytes())

    if (checkpoint / "onnx" / "model.onnx").is_file():
        return _smallest(checkpoint).read_bytes()
    print(f"{checkpoint.name}: exporting, once ...", file=sys.stderr)
    return cached(f"page-{weights}.onnx", Path.read_bytes, write)


def _smallest(folder: Path) -> Path:
    """Of the files of one step; a checkpoint of integers keeps them in both, and the first is exact."""
    files = [folder / "onnx" / f"model{suffix}.onnx" for suffix in ("", "_int8")]
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
        np.argpartition(-logits[0, 0], 3)
        times.append(time.perf_counter() - start)
        states = dict(zip(states, after, strict=True))
    return round(1000 * float(np.median(times[WARM_UP:])), 4)
