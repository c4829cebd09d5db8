"""Drives a headless Chromium at the page of `zoo demo`, over the DevTools protocol through a pipe.

Nothing but the standard library.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.keyboard.demo_server import server_of

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60.0  # seconds
READY = "document.querySelector('#progress')?.hidden"  # the model suggests, no longer the short list
# Becomes the browser, with the pipe at 3 and 4, where the protocol has it; first out of the way of each other.
START = """
import fcntl, os, sys
far = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 64) for number in sys.argv[1:3]]
for place, number in enumerate(far):
    os.dup2(number, 3 + place)
os.execv(sys.argv[3], sys.argv[3:])
"""


class PageError(ZooError):
    """What the page or the browser says went wrong."""


def program() -> str | None:
    """The browser's path; None: there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextlib.contextmanager
def served(page: Path) -> Iterator[str]:
    """A folder that `zoo demo` made, at the address that is given."""
    server = server_of(page, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class Chromium:
    """One browser with one page; a context manager.

    Args:
        width, height: of the page in CSS pixels.
        scale: device pixels for each.

    Raises:
        ZooError: there is no browser.
    """

    def __init__(self, width: int = 390, height: int = 844, scale: float = 1):
        path = program()
        if path is None:
            raise ZooError(f"none of {', '.join(PROGRAMS)} is here; on Debian type: apt install chromium")
        self._profile = tempfile.mkdtemp(prefix="zoo-chromium-")
        read_by_it, self._write = os.pipe()
        self._read, written_by_it = os.pipe()
        arguments = [path, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(read_by_it), str(written_by_it), *arguments],
            pass_fds=(read_by_it, written_by_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_by_it)
        os.close(written_by_it)
        self._rest, self._ids, self._session = b"", 0, None
        self.requests: list[dict[str, Any]] = []
        self.problems: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=True
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its answer."""
        self._ids += 1
        message: dict[str, Any] = {"id": self._ids, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self._next(deadline, method)
            if found.get("id") == self._ids:
                if "error" in found:
                    raise PageError(f"{method}: {found['error']['message']}")
                return found["result"]
            self._note(found)

    @property
    def version(self) -> str:
        """Name and version of the browser."""
        return self.call("Browser.getVersion")["product"]

    def open(self, url: str) -> None:
        """Goes to a page, without waiting for it."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """What JavaScript gives, a promise when it is kept."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = PATIENCE) -> None:
        """Until an expression of JavaScript is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise PageError(f"not within {seconds:.0f} s: {condition}; the page says {self.problems}")
            time.sleep(0.02)

    def press(self, key: str, code: str = "", modifiers: int = 0) -> None:
        """A key of the machine's keyboard: a character, or a name such as Backspace."""
        more = {"text": key} if len(key) == 1 and not modifiers else {}
        numbers = {"Backspace": 8, "Enter": 13}
        common = {"key": key, "code": code or key, "modifiers": modifiers}
        # Numbers of signs mean other keys.
        common["windowsVirtualKeyCode"] = numbers.get(key, ord(key.upper()) if len(key) == 1 and key.isalnum() else 0)
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def touch(self, selector: str, hold: float = 0) -> None:
        """A finger on an element, for so many seconds."""
        find = f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
        point = self.evaluate(f"{find} return {{x: r.x + r.width / 2, y: r.y + r.height / 2}}; }})()")
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[point])
        time.sleep(hold)
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def picture(self, path: Path) -> None:
        """The page as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _next(self, deadline: float, waiting_for: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            block = os.read(self._read, 1 << 20) if ready else b""
            if not block:
                raise PageError(f"the browser does not answer {waiting_for}")
            self._rest += block
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        """Keeps what was requested and what went wrong."""
        details = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(details["request"])
        elif event.get("method") == "Runtime.exceptionThrown":
            found = details["exceptionDetails"]
            self.problems.append(found.get("exception", {}).get("description", found["text"]))
        elif event.get("method") == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.problems.append(details["entry"]["text"])
