"""OpenCL devices: which there are, which is meant, and what to do where there is none."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError

if TYPE_CHECKING:
    import pyopencl

INSTALL = (
    "pip install 'pyopencl[pocl]', or on Debian: apt install pocl-opencl-icd; on a phone: docs/bench-on-a-phone.md"
)


def alone(threads: int = 1) -> None:
    """Makes PoCL compute as in `bench.latency`: on so many threads, one of them without waking another.

    To be called before pyopencl is imported; what the environment says already stays. Devices and settings that are
    tuned for one have other names otherwise.
    """
    if "pyopencl" not in sys.modules:
        for name, value in pocl(threads, threads == 1).items():
            os.environ.setdefault(name, value)


def pocl(threads: int, is_alone: bool) -> dict[str, str]:
    """The variables by which PoCL computes on so many threads, or on the caller's alone, without waking another."""
    return {"POCL_DEVICES": "basic" if is_alone else "pthread", "POCL_MAX_PTHREAD_COUNT": str(threads)}


def library() -> Any:
    """pyopencl.

    Raises:
        ZooError: it is not installed, or finds no libOpenCL.
    """
    try:
        import pyopencl
    except ImportError as error:
        raise ZooError(f"OpenCL needs pyopencl ({error}); type: {INSTALL}") from error
    return pyopencl


def devices() -> list[pyopencl.Device]:
    """Every device of every platform; graphics processors first, then newer drivers.

    Raises:
        ZooError: there is none.
    """
    cl = library()
    try:
        found = [device for platform in cl.get_platforms() for device in platform.get_devices()]
    except cl.Error as error:  # what the loader says where no platform is registered
        raise ZooError(f"no OpenCL platform ({_reason(error)}); install one: {INSTALL}") from error
    if not found:
        raise ZooError(f"the OpenCL platforms have no device; install another one: {INSTALL}")
    return sorted(found, key=lambda device: (not device.type & cl.device_type.GPU, _newest_first(device)))


def device_of(wanted: str | None = None) -> pyopencl.Device:
    """The device that is meant.

    Args:
        wanted: a part of the line that `describe` gives; None: as the environment variable PYOPENCL_CTX says
            (platform:device by number or name), else the first of `devices`.

    Raises:
        ZooError: no device is so called; names those that there are.
    """
    found = devices()
    if wanted is None and os.environ.get("PYOPENCL_CTX"):
        cl = library()
        try:
            return cl.create_some_context(interactive=False).devices[0]
        except (cl.Error, RuntimeError) as error:
            raise ZooError(
                f"PYOPENCL_CTX={os.environ['PYOPENCL_CTX']!r} selects no device ({_reason(error)}); {_all(found)}"
            ) from error
    fitting = [device for device in found if (wanted or "").lower() in describe(device).lower()]
    if not fitting:
        raise ZooError(f"no OpenCL device is called {wanted!r}; {_all(found)}")
    return fitting[0]


def describe(device: pyopencl.Device) -> str:
    """Name, platform and driver in one line."""
    return f"{device.name.strip()} ({device.platform.name.strip()}, {device.platform.version.strip()})"


def _all(found: list[pyopencl.Device]) -> str:
    return "give a part of one of these to --device: " + "; ".join(map(describe, found))


def _newest_first(device: pyopencl.Device) -> list[int]:
    return [-int(number) for number in re.findall(r"\d+", device.driver_version)]


def _reason(error: BaseException) -> str:
    """The first line of what a library said."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
