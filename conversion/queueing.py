"""Builds all recipes whose checkpoint is missing, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .interruption import Interrupted, requests_to_stop
from .recipe import Recipe


def waiting(recipes: Iterable[tuple[Path, Recipe]], present: Callable[[str], bool]) -> list[tuple[Path, Recipe]]:
    """The recipes whose checkpoint is missing, the highest priority first, equals by name."""
    missing = [(path, recipe) for path, recipe in recipes if not present(recipe.name)]
    return sorted(missing, key=lambda item: (-item[1].priority, item[1].name))


def next_ready(queue: list[tuple[Path, Recipe]], running: Collection[str]) -> tuple[Path, Recipe] | None:
    """The first of the queue that need not wait for its parent or a teacher.

    A parent that is neither there nor being built is an error that the build itself will report; so is a circle.
    """
    pending = {recipe.name for _, recipe in queue} | set(running)
    ready = [item for item in queue if not {item[1].parent, *item[1].training.teachers} & pending]
    return ready[0] if ready else queue[0] if queue and not running else None


@dataclass
class Crowd:
    """Builds under way, at most `jobs` at once.

    Args:
        jobs: how many.
        runs: folder of the runs; with several jobs each writes to its own output.log there.
        options: of `python -m conversion.build`, for every one.
        devices: number of CUDA devices that the jobs are spread over.
    """

    jobs: int
    runs: Path
    options: list[str]
    devices: int = 0
    running: dict[str, tuple[subprocess.Popen, int]] = field(default_factory=dict)

    def start(self, path: Path, name: str, files: ExitStack) -> None:
        """Starts one build."""
        slot = min(set(range(self.jobs)) - {slot for _, slot in self.running.values()})
        environment = dict(os.environ)
        if self.devices > 1:
            environment["CUDA_VISIBLE_DEVICES"] = str(slot % self.devices)
        output = None
        if self.jobs > 1:
            log = self.runs / name / "output.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            output = files.enter_context(log.open("ab"))
            print(f"{name}: starts; its output is in {log}", flush=True)
        command = [sys.executable, "-m", "conversion.build", str(path), *self.options]
        # In a session of its own, so that Ctrl-C reaches it once, through us.
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        self.running[name] = (process, slot)

    def ended(self) -> list[tuple[str, int]]:
        """Names and exit statuses of those that have ended since the last call."""
        over = [(name, process.poll()) for name, (process, _) in self.running.items()]
        found = [(name, status) for name, status in over if status is not None]
        for name, _ in found:
            del self.running[name]
        return found

    def signal(self, number: int) -> None:
        """Passes a signal on to all."""
        for process, _ in self.running.values():
            process.send_signal(number)


def build_all(recipes: Iterable[tuple[Path, Recipe]], present: Callable[[str], bool], crowd: Crowd) -> list[str]:
    """Builds what is missing; a failure does not stop the others.

    Args:
        recipes: file and content of each.
        present: whether the checkpoint of a name is there.

    Returns:
        The names that failed.

    Raises:
        Interrupted: a signal came; the builds under way have saved their state.
    """
    queue = waiting(recipes, present)
    failed: list[str] = []
    with requests_to_stop() as requests, ExitStack() as files:
        told = False
        while queue or crowd.running:
            while not requests.number and len(crowd.running) < crowd.jobs:
                if (item := next_ready(queue, crowd.running)) is None:
                    break
                queue.remove(item)
                crowd.start(item[0], item[1].name, files)
            for name, status in crowd.ended():
                print(f"{name}: {'done' if status == 0 else f'FAILED with exit status {status}'}", flush=True)
                if status != 0:
                    failed.append(name)
            if requests.number and not told:
                crowd.signal(requests.number)
                told = True
            if requests.number and not crowd.running:
                raise Interrupted(requests.number)
            time.sleep(0.1)
    return failed
