"""A checkpoint on an OpenCL device: weights uploaded once, the state stays there, a step sends and returns ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import VocabularyError, ZooError
from zoo.hub import read_header
from zoo.runtime import NumpyModel, State

from .devices import describe, device_of, library
from .memory import connect, together
from .network import plan_of
from .programs import Launch, build, launches_of, source_of
from .settings import Settings, settings_of

if TYPE_CHECKING:
    import pyopencl

STORAGES = ("stored", "fp32", "fp16", "unpacked")
MOST = 64  # words of an answer


class OpenClModel:
    """A language model on a device; one state, carried from step to step.

    Args:
        folder: a checkpoint folder.
        device: an OpenCL device; None: `device_of(None)`.
        storage: of numbers that the checkpoint stores as floats: `stored`: as wide as there; `fp32`, `fp16`. With
            `unpacked` integers become fp32 as well, and what they are multiplied with is not rounded.
        top: words of an answer, 1 to 64.
        settings: of the kernels; None: those kept for the device.
        profile: whether the device measures its own times.
        screen: an 8-bit output layer is read whole only where its upper halves leave a word a chance to be among the
            best (screen.py), where the step has one work-item: the same words, their log probabilities to about 0.02
            nats, fewer bytes; `screened` tells whether it is so, and then there are no `logits`.

    Raises:
        ZooError: a storage or number that is not allowed, no device, a compiler or memory that fails.
        CheckpointError: the folder is not whole.
    """

    def __init__(
        self,
        folder: str | Path,
        device: pyopencl.Device | None = None,
        storage: str = "stored",
        top: int = 3,
        settings: Settings | None = None,
        profile: bool = False,
        screen: bool = False,
    ):
        if storage not in STORAGES:
            raise ZooError(f"storage is {storage!r}; give one of {', '.join(STORAGES)}")
        cl = library()
        model = NumpyModel(folder)
        V = model.layout.vocab_size
        if not 1 <= top <= min(V, MOST):
            raise VocabularyError(f"top is {top}; this model can give 1 to {min(V, MOST)} words")
        self.device = device_of() if device is None else device
        self.settings = settings_of(self.device) if settings is None else settings
        half = storage == "fp16" or (storage == "stored" and _is_half(Path(folder)))
        self.storage = "fp16" if half else "fp32"
        self.vocab_size, self.top = V, top
        plan = plan_of(model, self.settings, half, top, unpacked=storage == "unpacked", screen=screen)
        self.layout = model.layout
        self.touched, self.screened = plan.touched, bool(plan.screens)
        launches = launches_of(plan)
        try:
            self.context = cl.Context([self.device])
            properties = cl.command_queue_properties.PROFILING_ENABLE if profile else 0
            self._queue = cl.CommandQueue(self.context, properties=properties)
            memory = together(plan, huge=bool(self.device.type & cl.device_type.CPU))
            self._weights, self._vectors = connect(self._queue, memory, top)
            program = build(self.context, source_of(launches, plan, memory))
            self._turns = [self._kernels(program, launches, turn) for turn in (0, 1)]
        except (cl.Error, MemoryError) as error:
            raise self._failure(error) from error
        self._places = {name: memory.places[name][1] for name in plan.vectors}
        self._start = {name: plan.vectors[name] for name in plan.vectors if name[:2] in ("h.", "c.")}
        self._turn = 0
        self._events: list[Any] = []
        self._profile = profile
        self._enqueue, self._error = cl.enqueue_nd_range_kernel, cl.Error

    def _kernels(
        self, program: Any, launches: list[Launch], turn: int
    ) -> list[tuple[Any, tuple[int], tuple[int], bool]]:
        """Kernels with their arguments set, global and local sizes, whether they read the word's id."""
        made = []
        for launch in launches:
            kernel = library().Kernel(program, launch.name)
            kernel.set_args(np.int32(-1), np.int32(turn), self._weights, self._vectors.argument)
            alone = launch.calls[-1].file == "merge"
            groups = 1 if alone else self.settings.groups or -(-launch.items // self.settings.lanes)
            made.append((kernel, (groups * self.settings.lanes,), (self.settings.lanes,), launch.token))
        return made

    @property
    def launches(self) -> int:
        """Kernels of a step."""
        return len(self._turns[0])

    def step(self, token: int) -> tuple[list[int], list[float]]:
        """One token further.

        Returns:
            ids and log probabilities of the best words, best first.

        Raises:
            VocabularyError: an id outside the vocabulary. ZooError: the device stopped answering.
        """
        if not 0 <= token < self.vocab_size:
            raise VocabularyError(
                f"the id {token!r} is outside this vocabulary of {self.vocab_size} words; "
                f"allowed: 0 to {self.vocab_size - 1}"
            )
        queue, enqueue, vectors, events = self._queue, self._enqueue, self._vectors, []
        try:
            for kernel, size, lanes, takes_token in self._turns[self._turn]:
                if takes_token:
                    vectors.send(kernel, token)
                events.append(enqueue(queue, kernel, size, lanes))
            answer = vectors.receive()
        except self._error as error:
            raise self._failure(error) from error
        self._turn ^= 1
        self._events = events
        return list(answer[: self.top]), list(answer[self.top :])

    def logits(self) -> np.ndarray:
        """Logits [V] of the last step.

        Raises:
            ZooError: most of them were not computed.
        """
        if self.screened:
            raise ZooError("a screened step computes the best logits only; make the model with screen=False")
        return self._read(("logits", self.vocab_size))

    def reset(self) -> None:
        """The state before the first token."""
        for name, contents in self._start.items():
            self._vectors.write(self._places[name], contents)

    def state(self) -> State:
        """What the next step begins with; another engine, or `load_state` later, goes on from it."""
        return tuple((self._read(h), self._read(c)) for h, c in self._state_vectors())

    def load_state(self, state: State) -> None:
        """Goes on from a state, as `state` or `zoo.runtime.NumpyModel` gives it."""
        for pair, arrays in zip(self._state_vectors(), state, strict=True):
            for (name, _), array in zip(pair, arrays, strict=True):
                if name:
                    self._vectors.write(self._places[name], np.ascontiguousarray(array))

    def _state_vectors(self) -> list[tuple[tuple[str, int], tuple[str, int]]]:
        """Per layer, name and length of h and c; a cell without c has an empty name."""
        h, which = self.layout.layer_output_size, "after" if self._turn else "before"
        return [
            ((f"h.{n}.{which}", h), (f"c.{n}" if self.layout.cell_size else "", self.layout.cell_size))
            for n in range(self.layout.num_hidden_layers)
        ]

    def _read(self, vector: tuple[str, int]) -> np.ndarray:
        """The floats of a vector, by name and length."""
        name, length = vector
        found = np.empty(length, np.float32)
        return self._vectors.read(self._places[name], found) if name else found

    def device_seconds(self) -> float:
        """Time of the last step's kernels as the device measured it; needs `profile`."""
        if not self._profile:
            raise ZooError("the device measures its times only with profile=True")
        return sum(event.profile.end - event.profile.start for event in self._events) * 1e-9

    def _failure(self, error: BaseException) -> ZooError:
        """What to say of an error of the driver."""
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = describe(self.device)
        if isinstance(error, MemoryError) or any(
            code in reason for code in ("ALLOCATION", "OUT_OF", "INVALID_BUFFER_SIZE")
        ):
            return ZooError(
                f"{where} has not enough memory for this model ({reason}); "
                "take a smaller checkpoint, or another device: --device"
            )
        return ZooError(f"{where} stopped working ({reason}); run again, with another device: --device")


def _is_half(folder: Path) -> bool:
    """Whether a checkpoint stores its floats in 16 bits."""
    kinds = {tensor["dtype"] for tensor in read_header(folder / "model.safetensors").values()}
    return "F16" in kinds and not kinds & {"F32", "BF16", "F64"}
