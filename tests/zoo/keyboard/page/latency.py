"""Times the page in headless Chromium: python -m tests.zoo.keyboard.page.latency PAGE [--sentences FILE.gz] [--keys N].

PAGE is a folder that `zoo demo --out PAGE` made. Keys come 30 a second through the browser's own input; the time runs
from the key's event to the new words in the bar, and to the end of the frame that shows them. One JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from zoo.keyboard.demo_server import server_of

from .chromium import Chromium
from .sentences import read_sentences
from .visitor import READY

KEYS_PER_SECOND = 30
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


def measure(page: Path, text: str, isolated: bool = False) -> dict[str, Any]:
    """Types a text into a page; times in milliseconds."""
    server = server_of(page, "127.0.0.1", 0, isolated)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Chromium() as browser:
        start = time.monotonic()
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        browser.wait("document.querySelector('#bar')?.textContent.trim()")
        first_bar = time.monotonic() - start
        browser.wait(READY)
        first_model = time.monotonic() - start
        browser.evaluate(WATCH)
        start = time.monotonic()
        for number, letter in enumerate(text):
            time.sleep(max(0.0, start + number / KEYS_PER_SECOND - time.monotonic()))
            browser.press(letter)
        time.sleep(0.2)
        times = browser.evaluate("times")
        browser.evaluate("document.querySelector('#open-models').click()")
        browser.evaluate("document.querySelector('#time-wasm').click()")
        browser.wait("!document.querySelector('#save-times').disabled")
        step = browser.evaluate("[...document.querySelectorAll('#times td')].map((cell) => cell.textContent)")
        start = time.monotonic()
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        browser.wait(READY)
        again = time.monotonic() - start
        version = browser.call("Browser.getVersion")["product"]
    server.shutdown()
    content = json.loads((page / "models.json").read_text(encoding="utf-8"))
    return {
        "model": content["default"],
        "browser": version,
        "machine": platform.processor() or platform.machine(),
        "threads": "as isolated" if isolated else 1,
        "keys_per_second": KEYS_PER_SECOND,
        "keys": len(text),
        "bars": len(times["bar"]),
        "key_to_bar_ms": _summary(times["bar"]),
        "key_to_frame_ms": _summary(times["frame"]),
        "step_ms": dict(zip(("backend", "mean", "median", "p95"), step, strict=True)),
        "seconds": {"first_bar": first_bar, "first_model": first_model, "model_again": again},
        "first_load_bytes": content["first_load"]["bytes"],
    }


def _summary(times: list[float]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(times)), 3),
        "median": round(float(np.median(times)), 3),
        "p95": round(float(np.percentile(times, 95)), 3),
        "p99": round(float(np.percentile(times, 99)), 3),
    }


def main() -> None:
    """Measures as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--sentences", type=Path, nargs="+", required=True, metavar="FILE.gz")
    parser.add_argument("--keys", type=int, default=3000)
    parser.add_argument("--isolate", action="store_true")
    given = parser.parse_args()
    text = ". ".join(read_sentences(given.sentences, 1000))[: given.keys]
    print(json.dumps(measure(given.page, text, given.isolate), indent=1))


if __name__ == "__main__":
    main()
