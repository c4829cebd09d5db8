"""The processes of the contenders, seen from the benchmark: started, asked, stopped while others are timed, killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS
from .opencl.devices import pocl

ROOT = Path(__file__).resolve().parent.parent
# Seconds that a contender may take for an answer.
TIMEOUTS = {"prepare": 1800.0, "open": 600.0}
TIMEOUT = 300.0
# Bytes of weights from which a second thread may pay in PoCL; below, waking it takes longer than it saves.
SHARED_WORK = 32_000_000
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class ContenderError(Exception):
    """A contender that raised, died or hung; says why in one line."""


class Child:
    """The process of one contender; it does not outlive the `with` block.

    Args:
        python: the interpreter; None: this one.
        environment: variables that are set for it beside those of this process.
    """

    def __init__(
        self,
        contender: str,
        folder: Path,
        work: Path,
        threads: int,
        python: Path | None = None,
        environment: dict[str, str] | None = None,
    ):
        self.contender = contender
        self.pipe, theirs = Pipe()
        # What it prints, for the line that says how it died.
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        settings = {
            "contender": contender,
            "module": CONTENDERS[contender][0],
            "variant": CONTENDERS[contender][1],
            "folder": str(folder.resolve()),
            "work": str(work.resolve()),
            "threads": threads,
            "cores": cores_for(threads),
        }
        command = [str(python or sys.executable), "-m", "bench.contender_process", str(theirs.fileno())]
        try:
            self.process = subprocess.Popen(
                [*command, json.dumps(settings)],
                pass_fds=[theirs.fileno()],
                env={**_environment(threads, folder), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                start_new_session=True,
            )
        except OSError as error:
            raise ContenderError(f"cannot start {command[0]}: {error.strerror}; check --python") from error
        finally:
            theirs.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def ask(self, do: str, **arguments: Any) -> Any:
        """What the contender answers.

        Raises:
            ContenderError: it raised, died, or gave no answer in time; it is ended then.
        """
        timeout = TIMEOUTS.get(do, TIMEOUT)
        try:
            self.pipe.send_bytes(json.dumps({"do": do, **arguments}).encode())
            if not self.pipe.poll(timeout):
                self.kill()
                raise ContenderError(f"no answer to {do!r} in {timeout:g} s")
            answer = json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            raise ContenderError(self._death(do)) from None
        if "error" in answer:
            self.kill()
            raise ContenderError(answer["error"])
        return answer["value"]

    def pause(self) -> None:
        """Stops it with all its threads: a pool that spins takes the core of the others."""
        self._signal(signal.SIGSTOP)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Lets it run for a while."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()

    def kill(self) -> None:
        """Ends it and what it started."""
        self._signal(signal.SIGKILL)
        self.process.wait()
        self.pipe.close()
        self.log.close()

    def _signal(self, number: int) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def _death(self, do: str) -> str:
        """How it ended, with the last line that it printed."""
        if self.log.closed:
            return f"it was asked to {do!r} after its end"
        select.select([], [], [], 0.05)  # its exit status comes a moment after the end of its pipe
        status = self.process.poll()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        self.kill()
        how = f"died with signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
        return f"{how} when asked to {do!r}" + (f": {lines[-1].strip()}" if lines else "")


def cores_for(threads: int) -> list[int]:
    """As many cores as threads, so that no hidden helper can help; the last ones, as the first serve the system."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[-threads:]


def _environment(threads: int, folder: Path) -> dict[str, str]:
    """The variables of this process, with the libraries' pools at this many threads."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    found = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    if "POCL_DEVICES" not in os.environ:
        found |= pocl(threads, threads == 1 or (folder / "model.safetensors").stat().st_size < SHARED_WORK)
    return found
