"""Where the buffers of a plan lie: in two pieces of memory, as a driver's time for a launch grows with its arguments.

`weights` are only read; `vectors` hold the rest, the answer first, then the word's id. Where the states before and
after a step are is told by the argument `turn`: what a step with turn 0 writes as the state after, one with turn 1
reads as the state before.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .devices import library
from .packing import pad
from .plan import Plan

if TYPE_CHECKING:
    import pyopencl

ALIGNED, HUGE = 128, 1 << 21  # bytes: of a vector's beginning on any device, of a huge page


@dataclass(frozen=True)
class Memory:
    """Arguments of every kernel, after the word's id and the turn.

    Args:
        parameters: declaration and contents of each.
        addresses: name of a buffer -> expression of where it begins.
        places: name of a buffer -> parameter and byte where it begins.
    """

    parameters: list[tuple[str, np.ndarray]]
    addresses: dict[str, str]
    places: dict[str, tuple[int, int]]


def together(plan: Plan, huge: bool = False) -> Memory:
    """All in two parameters; `huge`: in huge pages, for devices that compute in the host's memory."""
    first = {"result": plan.vectors["result"], "token": np.zeros(1, np.int32)} if "result" in plan.vectors else {}
    parameters, addresses, places = [], {}, {}
    pieces = (("const uchar *weights", plan.arrays), ("uchar *vectors", first | plan.vectors))
    for parameter, (declared, contents) in enumerate(pieces):
        starts = np.cumsum([0, *(pad(array.nbytes, ALIGNED) for array in contents.values())]).tolist()
        whole = _bytes(max(ALIGNED, starts[-1]), huge)
        for start, (name, array) in zip(starts, contents.items(), strict=False):
            whole[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
            addresses[name] = f"{declared.rpartition('*')[2]} + {start}"
            places[name] = (parameter, start)
        parameters.append((declared, whole))
    return Memory(parameters, _in_turn(addresses), places)


def apart(plan: Plan) -> Memory:
    """A parameter each, so that a simulator sees what is read or written beside a buffer."""
    contents = plan.arrays | plan.vectors
    kinds = [f"{'const ' if name in plan.arrays else ''}uchar *b{place}" for place, name in enumerate(contents)]
    addresses = {name: f"b{place}" for place, name in enumerate(contents)}
    places = {name: (place, 0) for place, name in enumerate(contents)}
    return Memory(list(zip(kinds, contents.values(), strict=True)), _in_turn(addresses), places)


def upload(context: pyopencl.Context, memory: Memory) -> list[pyopencl.Buffer]:
    """A buffer for each parameter; a processor computes in the contents themselves."""
    return [_buffer(context, contents, "const" in declared) for declared, contents in memory.parameters]


def connect(queue: pyopencl.CommandQueue, memory: Memory, top: int) -> tuple[Any, Copied | Shared]:
    """The weights on the device, and the vectors in the memory that is quickest to reach."""
    (_, weights), (_, vectors) = memory.parameters
    held = _buffer(queue.context, weights, True)
    if _has_shared(queue.device):
        return held, Shared(queue, vectors, top, memory.places["token"][1])
    return held, Copied(queue, _buffer(queue.context, vectors, False), top)


def _buffer(context: pyopencl.Context, contents: np.ndarray, read_only: bool) -> pyopencl.Buffer:
    flags, [device] = library().mem_flags, context.devices
    if device.type & library().device_type.CPU:
        kind = flags.USE_HOST_PTR
    else:  # memory that both can reach where host and device share theirs
        kind = flags.COPY_HOST_PTR | (flags.ALLOC_HOST_PTR if device.host_unified_memory else 0)
    return library().Buffer(context, kind | (flags.READ_ONLY if read_only else flags.READ_WRITE), hostbuf=contents)


class Copied:
    """Vectors on a device whose memory the host reaches by commands only.

    Args:
        buffer: the device's; the argument of the kernels.
        top: words of an answer, which lies first.
    """

    def __init__(self, queue: pyopencl.CommandQueue, buffer: pyopencl.Buffer, top: int):
        self.queue, self.argument = queue, buffer
        self.words, self.unpack = struct.Struct("=i").pack, struct.Struct(f"={top}i{top}f").unpack
        self.bytes = bytearray(8 * top)
        self.fetch = library()._cl._enqueue_read_buffer  # enqueue_copy takes twice as long

    def send(self, kernel: Any, token: int) -> None:
        """The word's id to a kernel that reads it."""
        kernel._set_arg_buf(0, self.words(token))  # set_arg takes 50 times as long

    def receive(self) -> tuple:
        """Ids and log probabilities, when all is done."""
        self.fetch(self.queue, self.argument, self.bytes)
        return self.unpack(self.bytes)

    def read(self, place: int, into: np.ndarray) -> np.ndarray:
        """What begins at a byte."""
        library().enqueue_copy(self.queue, into, self.argument, src_offset=place)
        return into

    def write(self, place: int, contents: np.ndarray) -> None:
        """Numbers to where they begin."""
        library().enqueue_copy(self.queue, self.argument, contents, dst_offset=place)


class Shared:
    """Vectors that host and device both reach at any time, fine-grained shared virtual memory: nothing is copied.

    Args:
        top: words of an answer, which lies first.
        token: the byte where kernels look for the word's id when the one given is -1.
    """

    def __init__(self, queue: pyopencl.CommandQueue, contents: np.ndarray, top: int, token: int):
        cl = library()
        flags = cl.svm_mem_flags.READ_WRITE | cl.svm_mem_flags.SVM_FINE_GRAIN_BUFFER
        self.whole = cl.svm_empty(queue.context, flags, contents.shape, contents.dtype, alignment=ALIGNED)
        self.whole[:] = contents
        self.argument = cl.SVM(self.whole)
        self.finish, self.unpack = queue.finish, struct.Struct(f"={top}i{top}f").unpack_from
        self.words, self.place = memoryview(self.whole).cast("i"), token // 4

    def send(self, kernel: Any, token: int) -> None:
        self.words[self.place] = token

    def receive(self) -> tuple:
        self.finish()
        return self.unpack(self.words)

    def read(self, place: int, into: np.ndarray) -> np.ndarray:
        into[:] = self.whole[place : place + into.nbytes].view(into.dtype)
        return into

    def write(self, place: int, contents: np.ndarray) -> None:
        self.whole[place : place + contents.nbytes] = contents.view(np.uint8)


def _has_shared(device: pyopencl.Device) -> bool:
    """Whether a device has memory for `Shared`; only OpenCL 2.0 can tell."""
    cl = library()
    try:
        return bool(device.svm_capabilities & cl.device_svm_capabilities.FINE_GRAIN_BUFFER)
    except (cl.Error, AttributeError):
        return False


def _in_turn(addresses: dict[str, str]) -> dict[str, str]:
    """States before and after change places with every step."""
    told = dict(addresses)
    for name in addresses:
        stem, _, which = name.rpartition(".")
        if stem.startswith("h.") and which in ("before", "after"):
            other = addresses[f"{stem}.{'after' if which == 'before' else 'before'}"]
            told[name] = f"(turn ? {other} : {addresses[name]})"
    return told


def _bytes(size: int, huge: bool) -> np.ndarray:
    """Zeros; huge pages are fewer to be found again, and a processor guesses further ahead in them."""
    if not huge or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(size, np.uint8)
    memory = mmap.mmap(-1, size + HUGE)
    with contextlib.suppress(OSError):  # a system without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    return whole[-whole.ctypes.data % HUGE :][:size]
