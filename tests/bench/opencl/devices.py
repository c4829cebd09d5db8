"""The OpenCL devices that tests run on: all that there are, or none."""

from bench.opencl.devices import devices
from bench.opencl.settings import host_simd
from zoo.errors import ZooError


def _all():
    try:
        return devices()
    except ZooError:
        return []


DEVICES = _all()


def simds() -> list[int]:
    """Instruction sets that can be tried here."""
    pocl = any("pocl" in device.version.lower() for device in DEVICES)
    return [simd for simd in (1, 2) if pocl and simd <= host_simd()]
