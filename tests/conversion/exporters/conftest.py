from __future__ import annotations

import ctypes

import pytest

from zoo.errors import ZooError


@pytest.fixture(scope="session")
def c_compiler() -> list[str]:
    """The words that start the C compiler; skips where there is none."""
    from conversion.exporters.c_library import compiler

    try:
        return compiler()
    except ZooError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def library(c_compiler: list[str]) -> ctypes.CDLL:
    """The C step, compiled once."""
    from conversion.exporters.c_library import library_of
    from conversion.exporters.to_c import SOURCES

    return library_of(SOURCES)
