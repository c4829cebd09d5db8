"""Freed memory stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from conversion.allocation import keep_freed_memory

# Page faults of 20 blocks of 64 MB, written and freed one after the other, after five that find their place.
SCRIPT = """
import resource

import torch

from conversion.allocation import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def faults():
    torch.zeros(1 << 24).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    start = faults()
for _ in range(20):
    end = faults()
print(end - start)
"""


def faults(keep: bool) -> int:
    script = SCRIPT.format(keep=keep)
    return int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")
def test_blocks_are_not_asked_of_the_system_again():
    assert 10 * faults(keep=True) < faults(keep=False)


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert keep_freed_memory() is False
