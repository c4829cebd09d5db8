"""How the kernels are built for a device: chosen by its type, or by `python -m bench.tune` and kept in a small file."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ZooError

from ..report import cpu_flags, slug, write

if TYPE_CHECKING:
    import pyopencl

VECTORS, SIMDS = (1, 4, 8, 16), (0, 1, 2)
PROBE = """
__kernel void probe(__global int *simd)
{
#if defined(__AVX512F__)
  *simd = 2;
#elif defined(__AVX2__)
  *simd = 1;
#else
  *simd = 0;
#endif
}
"""
SHIPPED = Path(__file__).with_name("tuned")


@dataclass(frozen=True)
class Settings:
    """Macros of the kernels and shape of the launches.

    Args:
        vec: floats of a vector, one of VECTORS; a work-item takes 4 vectors of rows.
        lanes: work-items of a work-group.
        simd: 0: plain OpenCL C; 1: x86 with AVX2, 8 floats; 2: x86 with AVX-512 VNNI and VBMI, 16 floats.
        one_launch: the whole step as one launch of one work-group; else a launch per operation.
        groups: work-groups of a launch; 0: as many as there are tiles.
    """

    vec: int
    lanes: int
    simd: int = 0
    one_launch: bool = False
    groups: int = 0

    def __post_init__(self) -> None:
        if self.vec not in VECTORS or self.simd not in SIMDS or self.lanes < 1 or self.groups < 0:
            raise ZooError(
                f"{self} cannot be; vec is one of {VECTORS}, simd of {SIMDS}, lanes at least 1, groups 0 or more"
            )
        if self.simd and self.vec != 8 * self.simd:
            raise ZooError(f"simd {self.simd} has vectors of {8 * self.simd} floats, not {self.vec}; set vec to it")

    @property
    def rows(self) -> int:
        """Rows of a tile."""
        return 4 * self.vec


def host_simd() -> int:
    """What the processor can do, for devices that are it: 2: AVX-512 VNNI and VBMI, 1: AVX2 with F16C, 0: else."""
    flags = cpu_flags()
    if {"avx512_vnni", "avx512vbmi", "avx512bw", "avx512vl", "f16c"} <= flags:
        return 2
    return 1 if {"avx2", "f16c"} <= flags else 0


def device_simd(device: pyopencl.Device) -> int:
    """What of `host_simd` PoCL compiles for; an LLVM older than the processor takes it for a forerunner of its."""
    import pyopencl as cl

    if not host_simd() or "pocl" not in device.version.lower():
        return 0
    kept = path_of(device).with_suffix(".simd.json")  # asking would slow every cold start
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # absent, or damaged
        return min(host_simd(), int(json.loads(kept.read_text(encoding="utf-8"))["simd"]))
    try:
        simd = _compiled_simd(device)
    except cl.Error:  # whoever asked will use the device and say what is wrong with it
        return 0
    with contextlib.suppress(OSError):  # nowhere to keep it
        write(kept, {"simd": simd})
    return min(host_simd(), simd)


def _compiled_simd(device: pyopencl.Device) -> int:
    """What the driver's compiler says that it compiles for."""
    import pyopencl as cl

    context = cl.Context([device])
    found = np.zeros(1, np.int32)
    with cl.CommandQueue(context) as queue:
        there = cl.Buffer(context, cl.mem_flags.WRITE_ONLY, found.nbytes)
        cl.Program(context, PROBE).build().probe(queue, (1,), None, there)
        cl.enqueue_copy(queue, found, there)
    return int(found[0])


def candidates(device: pyopencl.Device) -> list[Settings]:
    """Settings worth trying on a device, the likely best first."""
    import pyopencl as cl

    if not device.type & cl.device_type.CPU:
        # 4 rows of a column are one load of 128 bits; a lane's neighbours read what lies beside it.
        lanes = [lanes for lanes in (64, 32, 128, 16) if lanes <= device.max_work_group_size]
        return [Settings(vec, each) for each in lanes or [1] for vec in (1, 4)]
    simds = range(device_simd(device), 0, -1)
    kinds = [(8 * simd, simd) for simd in simds] + [(8, 0), (16, 0), (4, 0)]
    units = device.max_compute_units
    alone = [Settings(vec, 1, simd, one_launch=True, groups=1) for vec, simd in kinds]
    return alone if units == 1 else alone + [Settings(vec, 1, simd, groups=units) for vec, simd in kinds]


def path_of(device: pyopencl.Device, folder: Path | None = None) -> Path:
    """Where a device's settings are kept; `folder`: the cache, or RNNLM_OPENCL_CACHE, where not given."""
    kept = folder or Path(os.environ.get("RNNLM_OPENCL_CACHE") or Path.home() / ".cache" / "rnnlm-zoo" / "opencl")
    return kept / f"{slug(f'{device.name} {device.driver_version} {device.max_compute_units}')}.json"


def settings_of(device: pyopencl.Device) -> Settings:
    """The settings that were tuned for a device, else those likely to be best.

    Raises:
        ZooError: a file of settings that is damaged.
    """
    for path in (path_of(device), path_of(device, SHIPPED)):
        if path.is_file():
            try:
                found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["settings"]
                return Settings(**found)
            except (ValueError, TypeError, KeyError) as error:
                raise ZooError(
                    f"{path} holds no settings ({error}); remove it, or type: python -m bench.tune"
                ) from error
    return candidates(device)[0]


def as_json(settings: Settings) -> dict[str, Any]:
    """The fields by name."""
    return asdict(settings)
