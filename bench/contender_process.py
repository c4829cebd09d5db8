"""One contender in a process of its own: `python -m bench.contender_process PIPE SETTINGS`, started by `children`.

Requests and answers are JSON messages over a private pipe, as libraries print to the standard streams.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from zoo.errors import ZooError

from .contenders import Step

PR_SET_PDEATHSIG = 1


class Host:
    """Carries out the requests; what each public method returns is its answer."""

    def __init__(self, contender: str, module: str, variant: str, folder: str, work: str, threads: int):
        self.module: Any = importlib.import_module(module)
        self.variant, self.folder, self.threads = variant, Path(folder), threads
        self.work = Path(work) / f"{contender}-{self._key()}"
        self.step: Step

    def prepare(self) -> None:
        """Makes the contender's files, unless they are there; the whole folder or nothing."""
        if self.work.is_dir():
            return
        self.work.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=self.work.parent, prefix=f".{self.work.name}."))
        try:
            self.module.prepare(self.folder, part, self.variant)
            with contextlib.suppress(FileExistsError):  # another process was first
                os.rename(part, self.work)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def open(self) -> None:
        """Loads the network."""
        self.step = self.module.open_step(self.folder, self.work, self.variant, self.threads)

    def describe(self) -> dict[str, Any]:
        """The contender's own description."""
        return self.step.describe()

    def reset(self) -> None:
        """Back to the beginning of a text."""
        self.step.reset()

    def answer(self, tokens: list[int]) -> list[list[int]]:
        """The three best words after each token."""
        return [[int(word) for word in self.step(token)[0]] for token in tokens]

    def time(self, tokens: list[int], gap: float = 0.0) -> dict[str, list]:
        """Nanoseconds of each step, `gap` seconds apart, and the device's own seconds where it tells them."""
        step, clock = self.step, time.perf_counter_ns
        device: Callable[[], float | None] = getattr(step, "device_seconds", lambda: None)
        wall, own = [], []
        for token in tokens:
            if gap:
                time.sleep(gap)
            begin = clock()
            step(token)
            wall.append(clock() - begin)
            own.append(device())
        return {"ns": wall, "device_s": [seconds for seconds in own if seconds is not None]}

    def bandwidth(self, sizes: list[int]) -> list[float] | None:
        """Bytes per second of reading working sets of these sizes; None: the contender cannot measure that."""
        measure = getattr(self.step, "bandwidth", None)
        return None if measure is None else [float(value) for value in measure(sizes)]

    def peak_memory(self) -> int | None:
        """The most bytes that this process ever had in memory; None where the system does not tell."""
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])
        return None

    def _key(self) -> str:
        """Changes with the weights and with the code that makes the files."""
        digest = hashlib.sha256()
        network = importlib.util.find_spec("bench.peers.network")
        own = getattr(self.module, "SOURCES", ())
        for path in (self.folder / "model.safetensors", self.module.__file__, network and network.origin, *own):
            digest.update(Path(path).read_bytes() if path else b"")
        return digest.hexdigest()[:16]


def serve(pipe: Connection, settings: dict[str, Any]) -> None:
    """Answers requests until the pipe is closed."""
    host: Host | None = None
    while True:
        try:
            request = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            host = host or Host(**settings)
            answer = {"value": getattr(host, request.pop("do"))(**request)}
        except ImportError as error:
            install = "" if host is None else f"; type: pip install -e '.[{host.module.EXTRA}]'"
            answer = {"error": f"{error}{install}"}
        except Exception as error:  # of any library; the parent says which contender it was
            reason = " ".join(str(error).split())
            answer = {"error": reason if isinstance(error, ZooError) else f"{type(error).__name__}: {reason}"}
        pipe.send_bytes(json.dumps(answer).encode())


def main() -> None:
    """Pins the process before anything is imported that counts cores, and ties its life to its parent's."""
    settings = json.loads(sys.argv[2])
    if cores := settings.pop("cores"):
        os.sched_setaffinity(0, cores)
    with contextlib.suppress(OSError, AttributeError):  # a stopped process does not see the end of its pipe
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    serve(Connection(int(sys.argv[1])), settings)
    os._exit(0)  # some libraries' threads hang at exit


if __name__ == "__main__":
    main()
