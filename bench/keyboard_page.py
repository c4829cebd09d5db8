"""The page of `zoo demo` in headless Chromium: first load by file, time from a key to the bar, time of a step.

Keys come 30 a second through the browser's own input, at all places of a frame by turns: at even distances all would be
at one of them, left to chance, which decides the times more than the page does. A time runs from the key's event to the
new words in the bar, and to the end of the frame that shows them. `bench.page_parity` compares what is suggested.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils import logging

from conversion.exporters import wasm
from zoo.errors import ZooError
from zoo.hub import folder_of
from zoo.keyboard.demo import assemble

from . import page_parity
from .chromium import READY, Chromium, served
from .keyboard_agreement import MESSAGES, messages_of
from .report import RESULTS, cpu_name, name_of, sha256_of, versions, write

KEYS, KEYS_PER_SECOND = 1500, 30
FRAME, GOLDEN = 1 / 60, 0.618034  # seconds; places that are that share of a frame apart cover it evenly
HAS_BAR = "document.querySelector('#bar')?.textContent.trim()"
# From the browser's own stamp of a key to the bar of the text with it, and to the frame after that.
WATCH = """
    window.times = {bar: [], frame: []};
    let pressed = null;
    addEventListener('keydown', (event) => { pressed ??= event.timeStamp; }, true);
    document.addEventListener('painted', () => {
        if (pressed === null) return;
        const start = pressed, channel = new MessageChannel();
        pressed = null;
        times.bar.push(performance.now() - start);
        channel.port1.onmessage = () => times.frame.push(performance.now() - start);
        requestAnimationFrame(() => channel.port2.postMessage(0));
    });
"""
# What the panel of models does where the visitor asks for it.
STEPS = """new Promise((resolve, reject) => {
    const worker = new Worker('timing_worker.js', {type: 'module'});
    worker.onmessage = ({data}) => data.result ? resolve(data.result) : data.error && reject(new Error(data.error));
    worker.postMessage({entry: %s});
})"""


def measure(page: Path, text: str) -> dict[str, Any]:
    """Types a text into a page.

    Args:
        page: a folder that `zoo demo` made.
        text: pressed key by key.

    Returns:
        browser; load: processes that computed before; first_load: bytes of the files, and of packed ones unpacked;
        seconds: from the address to a first bar, to the model, and to the model at a second visit; keys, with to_bar
        and to_frame in milliseconds; step: of the model alone.
    """
    content, load = json.loads((page / "models.json").read_text(encoding="utf-8")), os.getloadavg()[0]
    seconds = {}
    with served(page) as url, Chromium() as browser:
        start = time.monotonic()
        browser.open(url)
        for what, condition in (("bar", HAS_BAR), ("model", READY)):
            browser.wait(condition)
            seconds[what] = time.monotonic() - start
        browser.evaluate(WATCH)
        start = time.monotonic()
        for number, letter in enumerate(text):
            due = start + number / KEYS_PER_SECOND + FRAME * (number * GOLDEN % 1)
            time.sleep(max(0.0, due - time.monotonic()))
            browser.press(letter)
        time.sleep(0.2)
        times = browser.evaluate("times")
        step = browser.evaluate(STEPS % json.dumps(content["models"][0]))
        start = time.monotonic()
        browser.open(url)
        browser.wait(READY)
        seconds["model_again"] = time.monotonic() - start
        version = browser.version
    return {
        "browser": version,
        "load": round(load, 2),
        "first_load": {**content["first_load"], "unpacked": _unpacked(page, content["first_load"]["files"])},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "keys": {
            "pressed": len(text),
            "per_second": KEYS_PER_SECOND,
            "bars": len(times["bar"]),
            "to_bar": _summary(times["bar"]),
            "to_frame": _summary(times["frame"]),
        },
        "step": step,
    }


def _unpacked(page: Path, files: dict[str, int]) -> dict[str, int]:
    """Bytes of the files that lie packed, as the page unpacks them."""
    return {path: len(gzip.decompress((page / path).read_bytes())) for path in files if path.endswith(".gz")}


def _summary(times: list[float]) -> dict[str, float]:
    p50, p95, worst = (round(float(value), 3) for value in np.percentile(times, [50, 95, 100]))
    return {"n": len(times), "mean": round(float(np.mean(times)), 3), "p50": p50, "p95": p95, "worst": worst}


def main(arguments: list[str] | None = None) -> int:
    """Measures pages; writes `results/<name>/keyboard-page.json` and `keyboard-page-parity.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.keyboard_page", description=__doc__)
    parser.add_argument("checkpoint", nargs="+", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--data", metavar="DIR", help="folder of the dialogue corpus (default: ZOO_DATA)")
    parser.add_argument("--only", choices=("times", "parity"), help="one of the two (default: both)")
    parser.add_argument("--keys", type=int, default=KEYS, help=f"pressed (default: {KEYS})")
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"compared (default: {MESSAGES})")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)
    logging.disable_progress_bar()  # of loading
    try:
        if given.keys < 1:
            raise ZooError(f"--keys is {given.keys}; give at least 1")
        messages = messages_of(given.data, given.messages)
        for checkpoint in given.checkpoint:
            _write(folder_of(checkpoint), name_of(checkpoint), messages, given)
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _write(folder: Path, name: str, messages: list[str], given: argparse.Namespace) -> None:
    """The results of one checkpoint, as files and in some lines each."""
    known = {"name": name, "sha256": sha256_of(folder)}
    command = f"python -m bench.keyboard_page {name} --data DIR"
    where = {"device": cpu_name(), "cores": os.cpu_count(), "versions": versions(), "wasm": wasm.record()}
    if given.only != "parity":
        told = f"{command} --only times --keys {given.keys}"
        with tempfile.TemporaryDirectory(prefix="zoo-page-") as temporary:
            assemble(Path(temporary) / "page", [folder])
            found = measure(Path(temporary) / "page", text_of(messages, given.keys))
        write(given.out / name / "keyboard-page.json", {**known, "command": told, **where, **found})
        bar, step = found["keys"]["to_bar"], found["step"]["milliseconds"]
        print(
            f"{name}: key to bar {bar['p50']:.1f} ms, p95 {bar['p95']:.1f}; a step {step['median']:.2f} ms; "
            f"first load {found['first_load']['bytes']:,} bytes"
        )
    if given.only != "times":
        told = f"{command} --only parity --messages {given.messages}"
        found = page_parity.measure(folder, messages)
        write(given.out / name / "keyboard-page-parity.json", {**known, "command": told, **where, **found})
        for engine, row in found["engines"].items():
            print(f"{name} {engine}: {row['same_keys']:.2%} of {found['keys']:,} bars are torch's")


def text_of(messages: list[str], length: int) -> str:
    """Messages as one text of so many characters, from the beginning again where they end."""
    whole = " ".join(messages) + " "
    return (whole * (length // len(whole) + 1))[:length]


if __name__ == "__main__":
    sys.exit(main())
