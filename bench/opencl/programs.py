"""From calls to built kernels: their source, put together from kernels/*.cl, and the compiler's answer."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError

from .devices import describe, library
from .memory import Memory
from .plan import WITH_TOKEN, Call, Plan

if TYPE_CHECKING:
    import pyopencl

KERNELS = Path(__file__).with_name("kernels")
SHARED = ("prelude", "vector", "dot", "best")
FIRST = ("const int token", "const int turn")  # arguments before those of the memory


@dataclass(frozen=True)
class Launch:
    """One kernel: its calls in order.

    Args:
        name: of the kernel.
        token: whether it reads the word's id.
        items: work-items that find work.
    """

    name: str
    calls: tuple[Call, ...]
    token: bool
    items: int


def launches_of(plan: Plan) -> list[Launch]:
    """All calls in one launch, or each in its own."""
    groups = [plan.calls] if plan.settings.one_launch else [[call] for call in plan.calls]
    return [
        Launch(
            f"launch{number:03}",
            tuple(calls),
            any(call.file in WITH_TOKEN for call in calls),
            max(call.items for call in calls),
        )
        for number, calls in enumerate(groups)
    ]


def source_of(launches: list[Launch], plan: Plan, memory: Memory) -> str:
    """OpenCL C of all launches; equal operations are compiled once."""
    settings = plan.settings
    macros = {"VEC": settings.vec, "LANES": settings.lanes, "SIMD": settings.simd, "TOP": plan.top}
    parts = [f"#define {name} {value}" for name, value in macros.items()]
    parts += [_read(name) for name in SHARED]
    functions: dict[tuple, str] = {}
    for launch in launches:
        for call in launch.calls:
            key = (call.file, call.defines)
            if key not in functions:
                functions[key] = f"{call.file}{len(functions)}"
                defines = {"NAME": functions[key], **dict(call.defines)}
                parts += [f"#define {name} {value}" for name, value in defines.items()]
                parts.append(_read(call.file))
                parts += [f"#undef {name.partition('(')[0]}" for name in defines]
    parts += [_kernel(launch, functions, settings.lanes, memory) for launch in launches]
    return "\n".join(parts) + "\n"


def _kernel(launch: Launch, functions: dict[tuple, str], lanes: int, memory: Memory) -> str:
    """A kernel that calls its functions; between them all of one work-group is done."""
    given = [*FIRST, *(f"__global {declared}" for declared, _ in memory.parameters)]
    scratch = max(1, *(call.scratch for call in launch.calls))
    token = (
        f"token < 0 ? *(__global const int *)({memory.addresses['token']}) : token"
        if "token" in memory.addresses
        else "token"
    )
    lines = [f"__kernel __attribute__((reqd_work_group_size({lanes}, 1, 1)))"]
    lines += [f"void {launch.name}({', '.join(given)}) {{", f"  __local int v[{scratch}] __attribute__((aligned(64)));"]
    for number, call in enumerate(launch.calls):
        if number and lanes > 1:
            lines.append("  barrier(CLK_GLOBAL_MEM_FENCE | CLK_LOCAL_MEM_FENCE);")
        told = ["v", *([token] if call.file in WITH_TOKEN else [])]
        told += [f"(__global {kind} *)({memory.addresses[buffer]})" for kind, buffer in call.args]
        lines.append(f"  {functions[(call.file, call.defines)]}({', '.join(told)});")
    return "\n".join([*lines, "}"])


def _read(name: str) -> str:
    return (KERNELS / f"{name}.cl").read_text(encoding="utf-8")


def build(context: pyopencl.Context, source: str) -> Any:
    """The program; binaries are kept by pyopencl, or by drivers that do it themselves (PoCL).

    Raises:
        ZooError: the compiler refuses it; its first words.
    """
    cl = library()
    device = context.devices[0]
    cache = os.environ.get("RNNLM_OPENCL_CACHE")
    try:
        with warnings.catch_warnings():  # of wide vectors, which some processors have in halves
            warnings.simplefilter("ignore", cl.CompilerWarning)
            return cl.Program(context, source).build(["-cl-std=CL1.2"], cache_dir=cache)
    except cl.Error as error:
        lines = [line.strip() for line in str(error).splitlines() if "error" in line.lower()]
        raise ZooError(
            f"the OpenCL compiler of {describe(device)} refuses the kernels: {'; '.join(lines[-3:]) or error}; try "
            "another driver (--device), or plain settings: python -m bench.tune"
        ) from error
