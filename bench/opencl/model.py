"""A checkpoint on an OpenCL device: weights uploaded once, the state stays there, a step sends and returns ids."""

from __future__ import annotations

import contextlib
import mmap
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import VocabularyError, ZooError
from zoo.hub import read_header
from zoo.runtime import NumpyModel

from .devices import describe, device_of, library
from .network import plan_of
from .packing import pad
from .programs import Launch, build, launches_of, source_of
from .settings import Settings, settings_of

if TYPE_CHECKING:
    import pyopencl

STORAGES = ("stored", "fp32", "fp16")
MOST = 64  # words of an answer
HUGE = 1 << 21  # bytes of a huge page


class OpenClModel:
    """A language model on a device; one state, carried from step to step.

    Args:
        folder: a checkpoint folder.
        device: an OpenCL device; None: `device_of(None)`.
        storage: of numbers that the checkpoint stores as floats: `stored`: as wide as there; `fp32`, `fp16`.
        top: words of an answer, 1 to 64.
        settings: of the kernels; None: those kept for the device.
        profile: whether the device measures its own times.

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
        plan = plan_of(model, self.settings, half, top)
        self.touched = plan.touched
        launches = launches_of(plan)
        try:
            self.context = cl.Context([self.device])
            properties = cl.command_queue_properties.PROFILING_ENABLE if profile else 0
            self._queue = cl.CommandQueue(self.context, properties=properties)
            self._buffers = self._upload(plan.arrays, read_only=True) | self._upload(plan.vectors, read_only=False)
            self._start = {name: contents for name, contents in plan.vectors.items() if name.startswith(("h.", "c."))}
            program = build(self.context, source_of(launches, self.settings, top))
            # Two turns: what one writes as the state after, the other reads as the state before.
            self._turns = [self._kernels(program, launches, turn) for turn in (0, 1)]
        except (cl.Error, MemoryError) as error:
            raise self._failure(error) from error
        self._result, self._error = self._buffers["result"], cl.Error
        self._answer = np.zeros(2 * top, np.int32)
        self._log_probs = self._answer[top:].view(np.float32)
        self._turn = 0
        self._events: list[Any] = []
        self._profile = profile
        self._pack = struct.Struct("=i").pack
        self._enqueue, self._read = cl.enqueue_nd_range_kernel, cl._cl._enqueue_read_buffer  # enqueue_copy is slower

    def _upload(self, contents: dict[str, np.ndarray], read_only: bool) -> dict[str, Any]:
        """Device memory; where host and device share theirs it is memory that both can reach."""
        flags = library().mem_flags
        kind = flags.READ_ONLY if read_only else flags.READ_WRITE
        if self.device.type & library().device_type.CPU:
            contents, kind = in_huge_pages(contents), kind | flags.USE_HOST_PTR
        else:
            kind |= flags.COPY_HOST_PTR | (flags.ALLOC_HOST_PTR if self.device.host_unified_memory else 0)
        return {
            name: library().Buffer(self.context, kind, hostbuf=np.ascontiguousarray(array))
            for name, array in contents.items()
        }

    def _kernels(
        self, program: Any, launches: list[Launch], turn: int
    ) -> list[tuple[Any, tuple[int], tuple[int], bool]]:
        """Kernels with their arguments set, global and local sizes, whether the id is an argument."""
        cl = library()
        made = []
        for launch in launches:
            kernel = cl.Kernel(program, launch.name)
            buffers = [self._buffers[_in_turn(name, turn)] for _, name in launch.buffers]
            kernel.set_args(*([np.int32(0)] if launch.token else []), *buffers)
            lanes = self.settings.lanes
            groups = 1 if launch.calls[-1].file == "merge" else self.settings.groups or -(-launch.items // lanes)
            made.append((kernel, (groups * lanes,), (lanes,), launch.token))
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
        queue, enqueue, events = self._queue, self._enqueue, []
        try:
            for kernel, size, lanes, takes_token in self._turns[self._turn]:
                if takes_token:
                    kernel._set_arg_buf(0, self._pack(token))  # set_arg takes 50 times as long
                events.append(enqueue(queue, kernel, size, lanes))
            self._read(queue, self._result, self._answer)
        except self._error as error:
            raise self._failure(error) from error
        self._turn ^= 1
        self._events = events
        return self._answer[: self.top].tolist(), self._log_probs.tolist()

    def logits(self) -> np.ndarray:
        """Logits [V] of the last step."""
        found = np.empty(self.vocab_size, np.float32)
        library().enqueue_copy(self._queue, found, self._buffers["logits"])
        return found

    def reset(self) -> None:
        """The state before the first token."""
        for name, contents in self._start.items():
            library().enqueue_copy(self._queue, self._buffers[name], contents)

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


def in_huge_pages(contents: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copies one after the other in memory of huge pages, where the system has them: fewer to be found again."""
    starts = np.cumsum([0, *(pad(array.nbytes, 128) for array in contents.values())]).tolist()
    memory = mmap.mmap(-1, starts[-1] + HUGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    whole = whole[-whole.ctypes.data % HUGE :]
    copies = {}
    for start, (name, array) in zip(starts, contents.items(), strict=False):
        copies[name] = whole[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        copies[name][...] = array
    return copies


def _is_half(folder: Path) -> bool:
    """Whether a checkpoint stores its floats in 16 bits."""
    kinds = {tensor["dtype"] for tensor in read_header(folder / "model.safetensors").values()}
    return "F16" in kinds and not kinds & {"F32", "BF16", "F64"}


def _in_turn(name: str, turn: int) -> str:
    """The buffer of a state in a turn: before and after change places."""
    stem, _, which = name.rpartition(".")
    if not turn or not stem.startswith("h.") or which not in ("before", "after"):
        return name
    return f"{stem}.{'after' if which == 'before' else 'before'}"
