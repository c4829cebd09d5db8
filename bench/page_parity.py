"""Does the page suggest what Python does? Messages typed in torch, numpy, the C step, and the page in Chromium.

The browser runs the page's own modules, and the C step in WebAssembly.
"""

from __future__ import annotations

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

BLOCK = 50  # messages at a time, so that the browser answers in time
OPEN = """(async (entry) => {
    const {Engine, runtime, unpacked} = await import('./engine.js'), {Model} = await import('./session.js');
    const {Vocabulary} = await import('./vocabulary.js');
    const engine = await Engine.open(await runtime(), await unpacked(entry.model));
    window.model = await Model.open(new Vocabulary(engine.words(), entry.never), engine);
    window.rules = await (await fetch('rules.json')).json();
})(%s)"""
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
        browser; messages, keys: how many; bytes: of model.rnnlm; engines: `numpy`, `c`, `page` -> what
        `keyboard_agreement.compared` gives beside torch; page_beside_c: the same of these two.

    Raises:
        ZooError: there is no browser or C compiler, or a package is not installed.
    """
    expected = in_python(folder, REFERENCE, messages)
    rows = {"numpy": in_python(folder, "numpy", messages)}
    with tempfile.TemporaryDirectory(prefix="zoo-parity-") as temporary:
        copy, page = Path(temporary) / folder.resolve().name, Path(temporary) / "page"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("onnx"))
        export(copy, "c")
        rows["c"] = in_python(copy, "c", messages)
        (entry,) = assemble(page, [folder])["models"]
        with served(page) as url, Chromium() as browser:
            browser.open(url)
            browser.wait(READY)
            version = browser.version
            browser.evaluate(OPEN % json.dumps(entry))
            rows["page"] = list(in_browser(browser, messages))
    return {
        "browser": version,
        "messages": len(messages),
        "keys": sum(len(seen) for _, seen in expected),
        "bytes": entry["bytes"],
        "engines": {name: compared(expected, found) for name, found in rows.items()},
        "page_beside_c": compared(rows["c"], rows["page"]),
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
