"""The C step of `zoo export --to c`, compiled for this machine; it computes with the forms as they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.contenders import TOP
from bench.touched import stored_bytes
from conversion.exporters import c_file
from conversion.exporters.c_library import CModel, CText, compiled_for_here, compiler_version, loaded

EXTRA = "bench"
VARIANTS = ("stored",)
FILE, LIBRARY, TOLD = "model.rnnlm", "rnnlm.so", "flags.txt"
HERE = Path(c_file.__file__)
SOURCES = [*sorted((HERE.parent / "c").glob("rnnlm*")), HERE, Path(__file__)]  # made anew with these


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Writes `model.rnnlm` and compiles the library."""
    (work / FILE).write_bytes(c_file.file_of(folder))
    (work / TOLD).write_text(" ".join(compiled_for_here(SOURCES[0].parent, work / LIBRARY)), encoding="utf-8")


class CStep:
    """A step of the library, on one thread."""

    def __init__(self, folder: Path, work: Path):
        self.folder, self.work = folder, work
        self.text = CText(CModel(loaded(work / LIBRARY), work / FILE), TOP)

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        return self.text.step(token)

    def reset(self) -> None:
        self.text.state[:] = 0

    def describe(self) -> dict[str, Any]:
        version = compiler_version()
        return {
            "format": f"as stored, 24-bit activations, C, {version}, {(self.work / TOLD).read_text()}",
            "versions": {"cc": version},
            "file_bytes": (self.work / FILE).stat().st_size,
            "touched_bytes": stored_bytes(self.folder),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> CStep:
    """The step over `model.rnnlm`."""
    return CStep(folder, work)
