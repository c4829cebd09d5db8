"""The OpenCL devices that tests run on: all whose driver knows its processor, or none."""

from bench.opencl.devices import devices, library
from bench.opencl.programs import build
from bench.opencl.settings import device_simd
from zoo.errors import ZooError


def _all():
    try:
        return [device for device in devices() if _compiles(device)]
    except ZooError:
        return []


def _compiles(device) -> bool:
    """Old versions of LLVM refuse processors that came after them."""
    try:
        build(library().Context([device]), "__kernel void nothing(__global int *x) { x[0] = 0; }")
    except ZooError:
        return False
    return True


DEVICES = _all()


POCL = next((device for device in DEVICES if "pocl" in device.version.lower()), None)


def simds() -> list[int]:
    """Instruction sets that can be tried on POCL."""
    return [] if POCL is None else list(range(1, device_simd(POCL) + 1))
