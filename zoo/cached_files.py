"""Files that are made once and read ever after, under `ZOO_CACHE` (default ~/.cache/rnnlm-zoo)."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, TypeVar, cast

from .errors import CorpusError

T = TypeVar("T")


def cached(name: str, read: Callable[[Path], T], write: Callable[[IO[bytes]], None]) -> T:
    """What a cached file holds; the file is made first if it is absent or damaged.

    It appears under its name only when whole, so builders at the same moment do no harm.

    Args:
        name: the file's; to be another one whenever the content would be.
        read: raises OSError, ValueError or EOFError where a file is damaged.

    Raises:
        CorpusError: the file cannot be written.
    """
    wanted = Path(os.path.expanduser(os.environ.get("ZOO_CACHE") or "~/.cache/rnnlm-zoo"))
    try:
        return read(wanted / name)
    except (OSError, ValueError, EOFError):
        folder = _writable(wanted)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}.", delete=False) as file:
            try:
                write(cast("IO[bytes]", file))
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, folder / name)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise CorpusError(f"cannot write {folder / name}: {reason}; set ZOO_CACHE to a folder with room") from error
    return read(folder / name)


@cache
def _writable(wanted: Path) -> Path:
    """The cache folder, or one for this process alone where nothing can be written."""
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError as error:
        folder = Path(tempfile.mkdtemp(prefix="rnnlm-zoo-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        warnings.warn(
            f"cannot write to {wanted} ({error.strerror}); tokens go to {folder} until this process ends; "
            "set ZOO_CACHE to a folder that can be written",
            stacklevel=2,
        )
        return folder
