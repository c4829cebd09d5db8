from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from zoo.errors import ZooError

HASWELL = "-march=haswell -DRNNLM_ONLY"


@pytest.fixture(scope="session")
def c_compiler() -> list[str]:
    """The words that start the C compiler; skips where there is none."""
    from conversion.exporters.c_library import compiler

    try:
        return compiler()
    except ZooError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=["", "-DRNNLM_ONLY", "-march=native", HASWELL, "-DRNNLM_PLAIN"])
def any_library(request: pytest.FixtureRequest, c_compiler: list[str]) -> ctypes.CDLL:
    """The C step, for each kind of instructions that this machine has."""
    from conversion.exporters.c_library import FLAGS, SOURCES, library_of

    flag = request.param
    processor = Path("/proc/cpuinfo")
    if flag == HASWELL and not (processor.is_file() and "avx2" in processor.read_text().split()):
        pytest.skip("a processor without AVX2")
    try:
        return library_of(SOURCES, (*FLAGS, *flag.split()))
    except ZooError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def library(c_compiler: list[str]) -> ctypes.CDLL:
    """The C step, compiled once."""
    from conversion.exporters.c_library import SOURCES, library_of

    return library_of(SOURCES)
