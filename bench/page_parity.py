"""Does the page suggest what Python does? Messages typed in torch, in ONNX Runtime, and in the page in Chromium.

The browser runs the page's own modules, and onnxruntime-web in wasm. Three ONNX files of a step: `fp32` and `int8` as
`zoo export` writes them, and `integer-products`, of DynamicQuantizeLinear and MatMulInteger, which no page uses.
"""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conversion.exporters.export import export
from zoo.keyboard import Keyboard, KeyboardModel
from zoo.keyboard.demo import assemble

from .chromium import READY, Chromium, served
from .keyboard_agreement import REFERENCE, Typed, compared, keys_of, typed

FILES = ("fp32", "int8", "integer-products")
BLOCK = 50  # messages at a time, so that the browser answers in time
OPEN = """(async (model, vocabulary) => {
    const {Engine, runtime, unpacked} = await import('./engine.js'), {Model} = await import('./session.js');
    const {Vocabulary} = await import('./vocabulary.js');
    const {words, never} = JSON.parse(new TextDecoder().decode(await unpacked(vocabulary)));
    const engine = await Engine.open(await runtime('wasm'), await unpacked(model));
    window.model = await Model.open(new Vocabulary(words, never), engine);
    window.rules = await (await fetch('rules.json')).json();
})(%s, %s)"""
TYPE = """(async (messages) => {
    const {Keyboard} = await import('./session.js'), {Personal} = await import('./personal.js');
    const keyboard = new Keyboard(model, new Personal(rules.mixture), rules.blocked), found = [];
    keyboard.private = true;
    for (const words of messages) {
        const seen = [];
        keyboard.reset();
        for (const [word, prefixes] of words) {
            for (const prefix of prefixes) seen.push(keyboard.suggest(prefix, 3).map(({text}) => text));
            await keyboard.commit(word);
        }
        found.push([keyboard.digest, seen]);
    }
    return found;
})(%s)"""


def measure(folder: Path, messages: Sequence[str]) -> dict[str, Any]:
    """Types messages everywhere.

    Args:
        folder: a checkpoint.

    Returns:
        browser; messages, keys: how many; files: name -> bytes, milliseconds of a step in ONNX Runtime;
        engines: `numpy`, `onnx FILE`, `wasm FILE` -> what `keyboard_agreement.compared` gives beside torch;
        wasm_beside_onnx: file -> the same of these two.

    Raises:
        ZooError: there is no browser, or a package is not installed.
    """
    expected = in_python(folder, REFERENCE, messages)
    rows = {"numpy": in_python(folder, "numpy", messages)}
    with tempfile.TemporaryDirectory(prefix="zoo-parity-") as temporary:
        copies, page = prepare(folder, Path(temporary)), Path(temporary) / "page"
        content = assemble(page, copies)
        rows |= {f"onnx {copy.name}": in_python(copy, "onnx", messages) for copy in copies}
        with served(page) as url, Chromium() as browser:
            browser.open(url)
            browser.wait(READY)
            version = browser.version
            for entry in content["models"]:
                browser.evaluate(OPEN % (json.dumps(entry["model"]), json.dumps(entry["vocabulary"])))
                rows[f"wasm {entry['name']}"] = list(in_browser(browser, messages))
    return {
        "browser": version,
        "messages": len(messages),
        "keys": sum(len(seen) for _, seen in expected),
        "files": {
            entry["name"]: {"bytes": entry["bytes"], "milliseconds": entry["milliseconds"]}
            for entry in content["models"]
        },
        "engines": {name: compared(expected, found) for name, found in rows.items()},
        "wasm_beside_onnx": {file: compared(rows[f"onnx {file}"], rows[f"wasm {file}"]) for file in FILES},
    }


def in_python(folder: Path, engine: str, messages: Sequence[str]) -> list[Typed]:
    """Messages in a Python keyboard."""
    keyboard = Keyboard(KeyboardModel(folder, engine), private=True)
    return [typed(keyboard, message) for message in messages]


def in_browser(browser: Any, messages: Sequence[str]) -> Iterator[Typed]:
    """Messages in the page's keyboard, of the model that `OPEN` opened."""
    for first in range(0, len(messages), BLOCK):
        block = [keys_of(message) for message in messages[first : first + BLOCK]]
        for digest, seen in browser.evaluate(TYPE % json.dumps(block)):
            yield digest, [tuple(texts) for texts in seen]


def prepare(folder: Path, work: Path) -> list[Path]:
    """Copies of a checkpoint in a folder, each with one of FILES as its ONNX file."""
    copies = [work / file for file in FILES]
    for copy in copies:
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("onnx"))
    fp32, int8, products = (copy / "onnx" / "model.onnx" for copy in copies)
    export(copies[0], "onnx", variants=("fp32", "int8"))
    for path in (int8, products):
        path.parent.mkdir()
    fp32.with_name("model_int8.onnx").rename(int8)
    _multiply_integers(fp32, products)
    return copies


def _multiply_integers(source: Path, target: Path) -> None:
    """An ONNX file whose products are MatMulInteger, each row of a matrix with a scale, inputs scaled as they come."""
    runtime = importlib.import_module("onnxruntime")
    quantization = importlib.import_module("onnxruntime.quantization")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    folded = target.with_suffix(".folded")  # with its matrices as constants
    options.optimized_model_filepath = str(folded)
    runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    quantization.quantize_dynamic(
        folded, target, ["MatMul", "Gather"], per_channel=True, weight_type=quantization.QuantType.QInt8
    )
    folded.unlink()
