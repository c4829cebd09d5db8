"""What every result file shares: its place, the device and versions it was measured with, and writing it whole."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo import __version__
from zoo.errors import ZooError
from zoo.writing import write_atomically

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
    """The name of the CPU, or of the phone or board where the CPU has none.

    Clouds call processors of many years alike, so VNNI is told.
    """
    name = _cpu_info("model name") or _board() or platform.processor() or platform.machine()
    return f"{name} with AVX-512 VNNI" if "avx512_vnni" in cpu_flags() else name


def _board() -> str:
    """What the maker calls a phone, board or Mac; "" where the system does not tell."""
    tree = Path("/proc/device-tree/model")
    with contextlib.suppress(OSError):
        if name := tree.read_text(encoding="utf-8", errors="replace").strip("\0 \n"):
            return name
    for command in (["getprop", "ro.product.model"], ["sysctl", "-n", "machdep.cpu.brand_string"]):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
            if found:
                return found
    return ""


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


def read(path: Path) -> dict[str, Any]:
    """A result that is there already; {} where there is none.

    Raises:
        ZooError: it is no result.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"{path} cannot be read as JSON ({error}); remove it, or give another --out") from error
    if not isinstance(found, dict):
        raise ZooError(f"{path} is no result; remove it, or give another --out")
    return found


def check_out(folder: Path) -> None:
    """Refuses (ZooError), before anything is measured, a folder that results cannot be written to."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".probe-", dir=place))
    except OSError as error:
        raise ZooError(f"cannot write to {folder}; give a folder of yours: --out FOLDER") from error


def told(run: Callable[[], int]) -> int:
    """Runs a command; its errors in a line (2), an interruption too (130)."""
    try:
        return run()
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what was being measured was not written", file=sys.stderr)
        return 130


def write(path: Path, result: dict[str, Any]) -> None:
    """Writes a result as JSON: the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
