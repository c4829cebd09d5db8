"""How fast a device streams a working set: the floor under the time of a step that reads so many bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .devices import library
from .memory import together, upload
from .plan import INTS, Call, Plan
from .programs import build, launches_of, source_of
from .settings import Settings

if TYPE_CHECKING:
    import pyopencl

SECONDS = 0.1  # of reading, at least; the median of its passes counts
LEAST = 20  # passes


def bandwidth(device: pyopencl.Device, settings: Settings, sizes: Sequence[int]) -> list[float]:
    """Bytes a second of repeated reads of each of `sizes` bytes, with the work-groups and vectors of the step.

    Raises:
        ZooError: the compiler refuses the kernel.
    """
    cl = library()
    context = cl.Context([device])
    queue = cl.CommandQueue(context)
    found = []
    unit = 16 * settings.vec * settings.lanes
    for size in (max(1, size // unit) * unit for size in sizes):
        plan = Plan(settings, top=1, half=False)
        items = size // unit * settings.lanes
        plan.calls = [Call("stream", (("SIZE", str(size)),), ((INTS, "data"), ("int", "out")), items=items)]
        groups = settings.groups or -(-items // settings.lanes)
        plan.array("data", np.ones(size, np.uint8))
        plan.vectors["out"] = np.zeros(groups * settings.lanes * settings.vec, np.int32)
        [launch] = launches_of(plan)
        memory = together(plan, huge=bool(device.type & cl.device_type.CPU))
        buffers = upload(context, memory)  # the kernel does not hold them
        kernel = cl.Kernel(build(context, source_of([launch], plan, memory)), launch.name)
        kernel.set_args(np.int32(0), np.int32(0), *buffers)
        times: list[float] = []
        while len(times) < LEAST or sum(times) < SECONDS:
            before = time.perf_counter()
            cl.enqueue_nd_range_kernel(queue, kernel, (groups * settings.lanes,), (settings.lanes,))
            queue.finish()
            times.append(time.perf_counter() - before)
        found.append(size / float(np.median(times)))
    return found
