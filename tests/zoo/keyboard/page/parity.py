"""Compares suggestions and digests of the page with the Python keyboard.

    python -m tests.zoo.keyboard.page.parity CHECKPOINT --sentences FILE.gz ... [--count 1000]

Types every sentence into a new keyboard: in numpy, torch, OpenCL, and of each ONNX file in ONNX Runtime and in
onnxruntime-web (wasm, headless Chromium, the page's own modules). Before each word it notes the suggestions with
nothing typed and with the word's first letter, at the end the digest. Prints JSON: shares that equal torch's.
The files: fp32 and int8 as `zoo export` writes them, and one of DynamicQuantizeLinear and MatMulInteger.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnxruntime.quantization

from conversion.exporters.export import export
from zoo.keyboard import Keyboard, KeyboardModel, Personal
from zoo.keyboard.blocklist import BLOCKED
from zoo.keyboard.demo import assemble
from zoo.keyboard.demo_server import server_of
from zoo.typed_text import is_word, split_words

from .chromium import Chromium
from .sentences import read_sentences
from .visitor import READY

BLOCK = 50  # sentences at a time, so that the browser answers in time
# A sentence is [bars, digest]; a bar the texts of the suggestions.
Typed = list[Any]
TYPE = """(async (sentences) => {
    const {Keyboard} = await import('./session.js'), {Personal} = await import('./personal.js');
    const typed = [];
    for (const words of sentences) {
        const keyboard = new Keyboard(model, new Personal(rules.mixture), rules.blocked), bars = [];
        for (const [word, letter] of words) {
            for (const prefix of ['', letter]) bars.push(keyboard.suggest(prefix, 3).map(({text}) => text));
            await keyboard.commit(word, letter);
        }
        typed.push([bars, keyboard.digest]);
    }
    return typed;
})(%s)"""
OPEN = """(async (model, vocabulary) => {
    const {Engine, runtime, unpacked} = await import('./engine.js'), {Model} = await import('./session.js');
    const {Vocabulary} = await import('./vocabulary.js');
    const {words, never} = JSON.parse(new TextDecoder().decode(await unpacked(vocabulary)));
    const engine = await Engine.open(await runtime('wasm'), await unpacked(model));
    window.model = await Model.open(new Vocabulary(words, never), engine);
    window.rules = await (await fetch('rules.json')).json();
})(%s, %s)"""


def in_python(model: KeyboardModel, sentences: list[list[tuple[str, str]]]) -> list[Typed]:
    """Every sentence in a Python keyboard."""
    typed = []
    for words in sentences:
        keyboard, bars = Keyboard(model, personal=Personal(), blocked=BLOCKED), []
        for word, letter in words:
            bars += [[one.text for one in keyboard.suggest(prefix, 3)] for prefix in ("", letter)]
            keyboard.commit(word, letter)
        typed.append([bars, keyboard.digest])
    return typed


def in_browser(page: Path, sentences: list[list[tuple[str, str]]]) -> Iterator[list[Typed]]:
    """Every sentence in the page's keyboard, of each model in its folder."""
    server = server_of(page, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Chromium() as browser:
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        browser.wait(READY)
        for entry in json.loads((page / "models.json").read_text(encoding="utf-8"))["models"]:
            browser.evaluate(OPEN % (json.dumps(entry["model"]), json.dumps(entry["vocabulary"])))
            blocks = (sentences[first : first + BLOCK] for first in range(0, len(sentences), BLOCK))
            yield [typed for block in blocks for typed in browser.evaluate(TYPE % json.dumps(block))]
    server.shutdown()


def compared(reference: list[Typed], found: list[Typed]) -> dict[str, float]:
    """Shares that are the same."""
    pairs = list(zip(reference, found, strict=True))
    bars = [(a, b) for one, other in pairs for a, b in zip(one[0], other[0], strict=True)]
    return {
        "sentences": len(pairs),
        "bars": len(bars),
        "same_bars": sum(a == b for a, b in bars) / len(bars),
        "same_sentences": sum(a[0] == b[0] for a, b in pairs) / len(pairs),
        "same_digests": sum(a[1] == b[1] for a, b in pairs) / len(pairs),
    }


def whole_numbers(source: Path, target: Path) -> None:
    """An ONNX file whose products are MatMulInteger, each row of a matrix with a scale, inputs scaled as they come."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    folded = target.with_suffix(".folded")  # with its matrices as constants
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    weights = onnxruntime.quantization.QuantType.QInt8
    onnxruntime.quantization.quantize_dynamic(
        folded, target, ["MatMul", "Gather"], per_channel=True, weight_type=weights
    )
    folded.unlink()


def prepare(checkpoint: Path, folder: Path) -> list[Path]:
    """Copies of a checkpoint with one ONNX file each: fp32, int8, MatMulInteger."""
    first = folder / "fp32"
    shutil.copytree(checkpoint, first, ignore=shutil.ignore_patterns("onnx"))
    export(first, "onnx", variants=("fp32", "int8"))
    copies = [first, folder / "int8", folder / "whole"]
    for copy in copies[1:]:
        shutil.copytree(first, copy, ignore=shutil.ignore_patterns("onnx"))
        (copy / "onnx").mkdir()
    (first / "onnx" / "model_int8.onnx").rename(copies[1] / "onnx" / "model.onnx")
    whole_numbers(first / "onnx" / "model.onnx", copies[2] / "onnx" / "model.onnx")
    return copies


def table(checkpoint: Path, texts: Sequence[str], engines: Sequence[str]) -> dict[str, Any]:
    """The comparison of all engines and files with torch."""
    sentences = [[(word, word[0] if is_word(word) else "") for word in split_words(text)] for text in texts]
    with tempfile.TemporaryDirectory(prefix="zoo-parity-") as temporary:
        copies = prepare(checkpoint, Path(temporary))
        assemble(Path(temporary) / "page", [str(copy) for copy in copies])
        reference = in_python(KeyboardModel(checkpoint, "torch"), sentences)
        rows = {name: in_python(KeyboardModel(checkpoint, name), sentences) for name in engines}
        for copy in copies:
            rows[f"onnx {copy.name}"] = in_python(KeyboardModel(copy, "onnx"), sentences)
        for copy, typed in zip(copies, in_browser(Path(temporary) / "page", sentences), strict=True):
            rows[f"wasm {copy.name}"] = typed
        sizes = {copy.name: (copy / "onnx" / "model.onnx").stat().st_size for copy in copies}
    beside_torch = {name: compared(reference, typed) for name, typed in rows.items()}
    beside_native = {copy.name: compared(rows[f"onnx {copy.name}"], rows[f"wasm {copy.name}"]) for copy in copies}
    return {"bytes": sizes, "beside torch": beside_torch, "wasm beside native": beside_native}


def main() -> None:
    """Compares as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--sentences", type=Path, nargs="+", required=True, metavar="FILE.gz")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--engines", nargs="*", default=["numpy", "opencl"], help="beside torch and ONNX Runtime")
    given = parser.parse_args()
    found = table(given.checkpoint, read_sentences(given.sentences, given.count), given.engines)
    print(json.dumps({"checkpoint": given.checkpoint.name, **found}, indent=1))


if __name__ == "__main__":
    main()
