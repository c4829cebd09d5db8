"""Gets a checkpoint from the Hub, whole and checked, into the cache or a folder of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import CheckpointError
from .fetching import WHOLE, copy, fetch, files_in
from .hub import Hosted, check_catalog, locate, verify
from .published import versions


@dataclass(frozen=True)
class Pulled:
    """What `pull` got: the folder, where it came from, whether it was there already."""

    folder: Path
    source: str
    was_there: bool


def pull(name: str, to: str | Path | None = None, revision: str | None = None) -> Pulled:
    """Gets a checkpoint with everything that belongs to it, code and ONNX files too.

    Args:
        name: a name of the catalog, `name@v1`, or `owner/name[@revision]`.
        to: the folder that it becomes, which appears whole or not at all; None: it stays in the Hub's cache.
        revision: as in `zoo.hub.folder_of`.

    Raises:
        CheckpointError: it cannot be had, or a file is not the one that it must be.
    """
    found = _on_the_hub(name, revision) or locate(name, revision)
    if isinstance(found, Path):
        folder, source, expected = found, str(found), None
        if to is None:
            verify(folder)
            return Pulled(folder, source, True)
    else:
        expected = found.sha256
        folder = fetch(found.repo_id, found.revision, expected, WHOLE)
        source = f"{found.repo_id}@{folder.name}"
    verify(folder)
    if to is None:
        return Pulled(folder, source, False)
    new = copy(folder, Path(to), files_in(folder), expected)
    return Pulled(Path(to), source, not new)


def _on_the_hub(name: str, revision: str | None) -> Hosted | None:
    """Where the Hub has a name of the catalog, although the package may have its files too."""
    plain, _, asked = name.partition("@")
    wanted = asked or revision
    for version in reversed(versions(plain)):
        if version.repo_id and wanted in (None, version.name, version.revision):
            if wanted is None:
                check_catalog(plain, version)
            return Hosted(version.repo_id, version.revision, version.sha256)
    if Path(name).is_dir():
        raise CheckpointError(f"{name} is a folder, so there is nothing to pull; give a name, or owner/name[@revision]")
    return None
