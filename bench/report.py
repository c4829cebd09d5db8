"""What every result file shares: its place, the device and versions it was measured with, and writing it whole."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

from zoo import __version__

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("torch", "transformers", "numpy")


def name_of(checkpoint: str) -> str:
    """Name of the results of a checkpoint: its folder's, or the repository's without owner and revision."""
    return Path(checkpoint.partition("@")[0]).resolve().name


def corpus_name(corpus: str) -> str:
    """A corpus without the path to it."""
    if corpus.startswith("hub:"):
        return corpus.removeprefix("hub:").partition("@")[0].partition(":")[0].rpartition("/")[2]
    return Path(corpus).resolve().name.removesuffix(".gz").removesuffix(".txt")


def cpu_flags() -> set[str]:
    """Instructions that the CPU has, as far as the system tells them."""
    return set(_cpu_info("flags").split())


def cpu_name() -> str:
    """The name of the CPU, as far as the system tells it; clouds call processors of many years alike, so with VNNI."""
    name = _cpu_info("model name") or platform.processor() or platform.machine()
    return f"{name} with AVX-512 VNNI" if "avx512_vnni" in cpu_flags() else name


def _cpu_info(field: str) -> str:
    """What the system tells of its first processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")


def slug(text: str) -> str:
    """A text as a part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unknown"


def sha256_of(folder: Path) -> str:
    """Hash of a checkpoint's weights, which says whose a result is."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def versions(*more: str) -> dict[str, str]:
    """Version of this package, of Python and of what computes, and of `more` packages, as far as they are installed."""
    found = {"zoo": __version__, "python": platform.python_version()}
    for package in (*PACKAGES, *more):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def write(path: Path, result: dict[str, Any]) -> None:
    """Writes a result as JSON: the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
