"""The contenders side by side: same answers first, then rounds in which they take turns, spaced calls and cold starts.

All but the timed one are stopped, the order of each round is drawn anew, so a disturbance of the machine falls on all.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zoo.errors import ZooError

from . import energy
from .children import Child, ContenderError
from .contenders import OURS, interpreter_of

REFERENCE, WITHOUT_TORCH = "torch-step", "numpy"  # say what the right answers are
WRONG = 0.05  # agreement below which a contender does not compute the same network
SIZES = [int(1e6 * size) for size in (0.5, 1, 1.4, 2, 2.8, 4, 5.6, 8, 11.2, 16, 33, 67, 134)]  # working sets
PROGRAM_CACHES = ("POCL_CACHE_DIR", "RNNLM_OPENCL_CACHE")


@dataclass(frozen=True)
class Protocol:
    """How often everything is done; of Grachev et al. 2019, section 5, are 100 warm-up steps and 1000 timed ones."""

    threads: int = 1
    passes: int = 1
    warm_up: int = 100
    timed: int = 1000
    block: int = 100
    spaced: int = 30
    spaced_gap_ms: float = 30.0
    cold: int = 3
    checked: int = 500


@dataclass
class Measured:
    """What was found of one contender; times in milliseconds."""

    description: dict[str, Any]
    top3_agreement: float
    rounds: list[list[list[float]]] = field(default_factory=list)  # pass -> round -> step
    device_ms: list[float] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)  # per step, one number a round
    spaced_ms: list[float] = field(default_factory=list)  # a median a pass
    cold_ms: float = 0.0
    cold_empty_cache_ms: float | None = None
    peak_memory: int | None = None


@dataclass
class Contest:
    """One checkpoint and those that run it.

    Args:
        work: where the contenders keep the files that they make of the checkpoint.
        interpreters: contender, or first part of its name -> Python that runs it, if not this one.
        environment: variables that are set for the contenders.
    """

    folder: Path
    work: Path
    protocol: Protocol
    interpreters: dict[str, Path]
    environment: dict[str, str]
    found: dict[str, Measured] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    bandwidth: list[dict[str, float]] = field(default_factory=list)
    bandwidth_device: str = ""
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """The contender that says what the right answers are: torch where it can run, else the numpy step."""
        can_run = has_torch() or interpreter_of(REFERENCE, self.interpreters)
        return REFERENCE if can_run else WITHOUT_TORCH

    def run(self, names: list[str], tokens: list[int]) -> None:
        """Fills `found`, `skipped` and `bandwidth`; no process is left when it returns or raises.

        Raises:
            ZooError: the reference cannot be had, or no contender is left.
        """
        reference = self._reference(tokens)
        steps = len(names) * (2 + self.protocol.passes)
        with contextlib.ExitStack() as stack, tqdm(total=steps, disable=None, leave=False) as bar:
            for name in names:
                bar.set_description(f"open {name}")
                with self._skips(name):
                    self._open(name, tokens, reference, stack)
                bar.update()
            order = random.Random(0)
            for number in range(self.protocol.passes):
                bar.set_description(f"time, pass {number + 1}")
                self._pass(tokens, order)
                bar.update(len(names))
            for name in list(self.found):
                bar.set_description(f"start {name}")
                with self._skips(name):
                    self._finish(name, tokens[0])
                bar.update()
            for name in list(self.found):
                if not self.bandwidth:
                    with self._skips(name):
                        self._bandwidth(name)
        if not self.found:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.skipped.items())
            raise ZooError(f"no contender could be timed: {reasons}")

    def _child(self, name: str, environment: dict[str, str] | None = None) -> Child:
        python = interpreter_of(name, self.interpreters)
        threads, variables = self.protocol.threads, {**self.environment, **(environment or {})}
        return Child(name, self.folder, self.work, threads, python, variables)

    @contextlib.contextmanager
    def _skips(self, name: str) -> Iterator[None]:
        """Takes a contender that fails out of the contest, with the reason."""
        try:
            yield
        except ContenderError as error:
            self.skipped[name] = str(error)
            self.found.pop(name, None)
            if child := self.children.pop(name, None):
                child.kill()

    def _reference(self, tokens: list[int]) -> list[list[int]]:
        """The three best words after each checked token, in fp32."""
        try:
            with self._child(self.reference) as child:
                child.ask("prepare")
                child.ask("open")
                return child.ask("answer", tokens=tokens[: self.protocol.checked])
        except ContenderError as error:
            raise ZooError(f"{self.reference}, which says what the right answers are, fails: {error}") from error

    def _open(self, name: str, tokens: list[int], reference: list[list[int]], stack: contextlib.ExitStack) -> None:
        """Makes the contender's files, loads it, compares its answers, and stops it."""
        with self._child(name) as child:  # a process of its own: what it needs counts neither as memory nor as start
            child.ask("prepare")
        child = self.children[name] = stack.enter_context(self._child(name))
        child.ask("open")
        answers = child.ask("answer", tokens=tokens[: self.protocol.checked])
        same = sum(given == expected for given, expected in zip(answers, reference, strict=True))
        agreement = same / len(reference)
        if agreement < WRONG and not name.endswith("-int4"):
            raise ContenderError(
                f"its three best words are those of {self.reference} at {100 * agreement:.1f} % of {len(reference)} "
                f"positions: after the first word {answers[0]}, not {reference[0]}"
            )
        self.found[name] = Measured(child.ask("describe"), agreement)
        child.pause()

    def _pass(self, tokens: list[int], order: random.Random) -> None:
        """All rounds once, then the spaced calls; from the beginning of the text."""
        warm_up, end, block = self.protocol.warm_up, self.protocol.warm_up + self.protocol.timed, self.protocol.block
        self._in_turn(order, lambda name, child: child.ask("reset"))
        for measured in self.found.values():
            measured.rounds.append([])
        for start in [0, *range(warm_up, end, block)]:
            part = tokens[start : min(start + block, end) if start else warm_up]
            self._in_turn(order, functools.partial(self._round, tokens=part, keep=start > 0))
        gap, part = self.protocol.spaced_gap_ms / 1000, tokens[: self.protocol.spaced]
        for name, wall in self._in_turn(order, lambda name, child: child.ask("time", tokens=part, gap=gap)).items():
            self.found[name].spaced_ms.append(statistics.median(wall["ns"]) / 1e6)

    def _round(self, name: str, child: Child, *, tokens: list[int], keep: bool) -> None:
        """One contender's steps of one round."""
        before = energy.read()
        answer = child.ask("time", tokens=tokens)
        taken = energy.joules(before, energy.read())
        if keep:
            measured = self.found[name]
            measured.rounds[-1].append([ns / 1e6 for ns in answer["ns"]])
            measured.device_ms += [1000 * seconds for seconds in answer["device_s"]]
            measured.joules += [] if taken is None else [taken / len(tokens)]

    def _in_turn(self, order: random.Random, do: Callable[[str, Child], Any]) -> dict[str, Any]:
        """What each contender gives, in an order of its own each time, the others stopped."""
        names, given = list(self.found), {}
        order.shuffle(names)
        for name in names:
            with self._skips(name), self.children[name].awake():
                given[name] = do(name, self.children[name])
        return given

    def _finish(self, name: str, token: int) -> None:
        """Memory, and cold starts: from the start of a process to its first answer, the files being there."""
        measured, child = self.found[name], self.children[name]
        with child.awake():
            measured.peak_memory = child.ask("peak_memory")
        measured.cold_ms = statistics.median(self._start(name, token) for _ in range(self.protocol.cold))
        if name.startswith(OURS):
            with tempfile.TemporaryDirectory() as empty:
                measured.cold_empty_cache_ms = self._start(name, token, dict.fromkeys(PROGRAM_CACHES, empty))

    def _start(self, name: str, token: int, environment: dict[str, str] | None = None) -> float:
        begin = time.perf_counter()
        with self._child(name, environment) as child:
            child.ask("open")
            child.ask("answer", tokens=[token])
            return 1000 * (time.perf_counter() - begin)

    def _bandwidth(self, name: str) -> None:
        """Reading speed of the device by size of the working set, if this contender can measure it."""
        with self.children[name].awake():
            speeds = self.children[name].ask("bandwidth", sizes=SIZES)
        if speeds is not None:
            self.bandwidth = [
                {"bytes": size, "gb_per_s": speed / 1e9} for size, speed in zip(SIZES, speeds, strict=True)
            ]
            self.bandwidth_device = self.found[name].description.get("device_type", "cpu")


def has_torch() -> bool:
    """Whether the model can run in torch here; on a phone there is neither torch nor transformers."""
    return all(importlib.util.find_spec(package) for package in ("torch", "transformers"))
