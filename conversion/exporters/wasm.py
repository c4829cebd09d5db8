"""`python -m conversion.exporters.wasm`: the C step as WebAssembly, for the page of `zoo demo`.

What it makes is committed, so that only a change of the C files needs the compiler; `c_page/built.json` is its record.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from zoo.errors import ZooError
from zoo.keyboard.demo import PAGE, STEP

from .c_library import SOURCES

FILE = PAGE / STEP
GLUE = Path(__file__).with_name("c_page")
RECORD = GLUE / "built.json"
# What every browser with SIMD has had before it. A reactor is a library: of libc nothing is linked that needs imports.
FLAGS = (
    "-target", "wasm32-wasi", "-mexec-model=reactor", "-mcpu=mvp+simd128+bulk_memory+sign_ext+nontrapping_fptoint",
    "-std=c99", "-O3", "-ffp-contract=off", "-Wl,--no-entry", "-Wl,--strip-all", "-Wl,--export=__heap_base",
    "-Wl,-z,stack-size=65536",
)  # fmt: skip


def sources() -> list[Path]:
    """The C files that are compiled."""
    return [*sorted(GLUE.glob("*.c")), *sorted(SOURCES.glob("rnnlm*.c"))]


def sources_hash() -> str:
    """Of the C files, their headers and the flags."""
    found = hashlib.sha256(" ".join(FLAGS).encode())
    for path in [*sources(), *sorted(SOURCES.glob("rnnlm*.h"))]:
        content = path.read_bytes()
        found.update(f"\n{path.name} {len(content)}\n".encode() + content)
    return found.hexdigest()


def record() -> dict[str, str]:
    """What made the file that is committed: compiler, flags, sources, and the sha256 of the file."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def zig() -> list[str]:
    """The words that start zig, whose C compiler is clang with the libc of WebAssembly.

    Raises:
        ZooError: there is none.
    """
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang"]
    found = shutil.which("zig")
    if found is None:
        raise ZooError("the step of the page is compiled by zig; type: pip install 'rnnlm-zoo[wasm]'")
    return [found]


def build(out: Path) -> str:
    """Compiles the step; the versions of the compiler.

    Raises:
        ZooError: no compiler, or it ends with an error.
    """
    _told([*zig(), "cc", *FLAGS, *map(str, sources()), "-o", str(out)])
    return f"zig {_told([*zig(), 'version'])}, {_told([*zig(), 'cc', '--version']).splitlines()[0]}"


def _told(command: Sequence[str]) -> str:
    """What a program says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ZooError(f"zig cannot compile the step: {' '.join(done.stderr.split())[-300:]}")
    return done.stdout.strip()


def main(arguments: list[str] | None = None) -> int:
    """Compiles the step into the page, and says what made it."""
    argparse.ArgumentParser(prog="python -m conversion.exporters.wasm", description=__doc__).parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="zoo-wasm-") as folder:
            out = Path(folder) / FILE.name
            compiler = build(out)
            content = out.read_bytes()
        FILE.write_bytes(content)
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    made = {"compiler": compiler, "flags": " ".join(FLAGS), "sources": sources_hash()}
    made["sha256"] = hashlib.sha256(content).hexdigest()
    RECORD.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    print(f"{FILE}  {len(content):,} bytes, {compiler}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
