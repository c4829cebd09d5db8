"""No kernel reads or writes outside its buffers, reads what nobody wrote, or races: Oclgrind runs their tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyopencl", reason="pyopencl is not installed; pip install 'rnnlm-zoo[opencl]'")
pytestmark = pytest.mark.skipif(
    shutil.which("oclgrind") is None, reason="oclgrind is not installed; on Debian: apt install oclgrind"
)
ROOT = Path(__file__).parents[3]
RACE = """
import numpy as np
import pyopencl as cl

context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
queue = cl.CommandQueue(context)
program = cl.Program(context, "__kernel void race(__global int *x) { x[0] = get_global_id(0); }").build()
kernel = cl.Kernel(program, "race")
x = cl.Buffer(context, cl.mem_flags.READ_WRITE, 4)
kernel.set_args(x)
cl.enqueue_nd_range_kernel(queue, kernel, (2,), (2,))
queue.finish()
"""


def simulated(log: Path, *command: str) -> tuple[subprocess.CompletedProcess, str]:
    """Runs Python in the simulator; what it said of the kernels."""
    # Neither optimised nor inlined, as the simulator does not know all that the compiler then writes.
    environment = os.environ | {"PYOPENCL_BUILD_OPTIONS": "-O0 -DINLINE=static", "PYOPENCL_NO_CACHE": "1"}
    checks = ["oclgrind", "--data-races", "--uninitialized", "--log", str(log)]
    ran = subprocess.run(
        [*checks, sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    return ran, log.read_text()


def test_the_simulator_would_say_so(tmp_path):
    _, said = simulated(tmp_path / "log", "-c", RACE)
    assert "data race" in said.lower()


def test_every_kernel_is_clean(tmp_path):
    ran, said = simulated(
        tmp_path / "log", "-m", "pytest", "-q", "-p", "no:cacheprovider",
        "tests/bench/opencl/test_kernels.py", "tests/bench/opencl/test_model.py",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    assert "100%" in ran.stdout
    assert not said, said[:3000]
