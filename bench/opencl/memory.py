"""Where the buffers of a plan lie: in two pieces of memory, as a driver's time for a launch grows with its arguments.

`weights` are only read; `vectors` hold the rest, the answer first. Where the states before and after a step are is told
by the argument `turn`: what a step with turn 0 writes as the state after, one with turn 1 reads as the state before.
"""

from __future__ import annotations

import contextlib
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    first = {name: plan.vectors[name] for name in ("result",) if name in plan.vectors}
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
    cl, [device] = library(), context.devices
    flags = cl.mem_flags
    if device.type & cl.device_type.CPU:
        kind = flags.USE_HOST_PTR
    else:  # memory that both can reach where host and device share theirs
        kind = flags.COPY_HOST_PTR | (flags.ALLOC_HOST_PTR if device.host_unified_memory else 0)
    return [
        cl.Buffer(context, kind | (flags.READ_ONLY if "const" in declared else flags.READ_WRITE), hostbuf=contents)
        for declared, contents in memory.parameters
    ]


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
