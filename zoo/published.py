"""Versions of checkpoints: name -> v1, v2, ... -> the files that each one is, and the commit of the Hub that has them.

`published.json` beside this file goes with the package: `model_cards.render` adds a version for a shipped checkpoint
whose files are no version yet, `zoo publish` adds where it is on the Hub. What a version means is never changed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import CheckpointError

PUBLISHED = Path(__file__).with_name("published.json")
IDENTITY = ("config.json", "model.safetensors", "tokenizer.json")  # what a checkpoint computes
VERSION = re.compile(r"v[1-9][0-9]*")
KEYS = {"sha256", "repo_id", "revision"}
CHECKPOINTS, SPACES = "checkpoints", "spaces"


@dataclass(frozen=True)
class Version:
    """One version of a checkpoint or a Space.

    Attributes:
        name: v1, v2, ...
        sha256: file -> hexadecimal sha256; of all files where it is on the Hub, else of IDENTITY.
        repo_id: the repository that has it; None: on no Hub.
        revision: the commit, 40 hexadecimal digits.
    """

    name: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    repo_id: str | None = None
    revision: str | None = None

    @property
    def number(self) -> int:
        """Its place in the order."""
        return int(self.name[1:])

    def is_identity_of(self, sha256: Mapping[str, str]) -> bool:
        """Whether files with these sha256 compute the same as this version's."""
        return all(self.sha256.get(name) == sha256.get(name) for name in IDENTITY)


def versions(name: str, kind: str = CHECKPOINTS) -> list[Version]:
    """The versions of a checkpoint or Space, the newest last; empty where none is known."""
    found = dict[str, Version]()
    for path in (user_file(), PUBLISHED):  # what goes with the package has the last word, if it says where
        for version, row in _read(path).get(kind, {}).get(name, {}).items():
            if (
                not VERSION.fullmatch(version)
                or not isinstance(row, dict)
                or set(row) - {"sha256", "repo_id", "revision"}
            ):
                raise CheckpointError(f"{path} has a wrong entry {version!r} of {name}; get the file again")
            new, known = Version(version, **row), found.get(version)
            if known is None or new.repo_id or not new.is_identity_of(known.sha256):
                found[version] = new
    return sorted(found.values(), key=_number)


def names(kind: str = CHECKPOINTS) -> list[str]:
    """Every name that has a version."""
    return list(dict.fromkeys([*_read(PUBLISHED).get(kind, {}), *_read(user_file()).get(kind, {})]))


def user_file() -> Path:
    """The file of the user's own publications: ZOO_PUBLISHED, or one in the folder of settings."""
    settings = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(os.path.expanduser(os.environ.get("ZOO_PUBLISHED") or f"{settings}/rnnlm-zoo/published.json"))


def target() -> Path:
    """The file that a publication is recorded in: the package's own in a clone, else the user's.

    Raises:
        CheckpointError: it cannot be written.
    """
    in_clone = (PUBLISHED.parents[1] / "hubconf.py").is_file() and os.access(PUBLISHED.parent, os.W_OK)
    path = PUBLISHED if in_clone and not os.environ.get("ZOO_PUBLISHED") else user_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}; set ZOO_PUBLISHED to a file that can be written"
        ) from error
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CheckpointError(f"cannot write {path}; set ZOO_PUBLISHED to a file that can be written")
    return path


def record(name: str, version: Version, kind: str = CHECKPOINTS) -> bool:
    """Writes where a version is on the Hub; whether that changed anything. The file is replaced as a whole.

    Raises:
        CheckpointError: the version means other files already, or the file cannot be written.
    """
    known = next((found for found in versions(name, kind) if found.name == version.name), None)
    if known == version:
        return False
    if known and known.repo_id and dict(known.sha256) != dict(version.sha256):
        raise CheckpointError(
            f"{name}@{version.name} is other files already ({known.repo_id}@{known.revision}); a version never changes"
        )
    path = target()
    content = _read(path)
    row = {"repo_id": version.repo_id, "revision": version.revision, "sha256": dict(sorted(version.sha256.items()))}
    content.setdefault(kind, {}).setdefault(name, {})[version.name] = row
    write(path, as_text(content))
    return True


def as_text(content: Mapping[str, Any]) -> str:
    """The content of a file of versions: a line for each version and for each of its files."""
    return json.dumps(content, indent=1) + "\n"


def write(path: Path, text: str) -> None:
    """Writes a text file, which is the old or the new one at every moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def with_shipped(text: str, shipped: Mapping[str, Mapping[str, str]]) -> str:
    """A file of versions with one more for each shipped checkpoint whose files are no version of it yet.

    Args:
        text: the file; "": there is none yet.
        shipped: name -> file -> sha256.
    """
    content: dict[str, Any] = json.loads(text) if text else {}
    rows = content.setdefault(CHECKPOINTS, {})
    for name, sha256 in shipped.items():
        known = rows.setdefault(name, {})
        newest = max((Version(version, row["sha256"]) for version, row in known.items()), key=_number, default=None)
        if newest is None or not newest.is_identity_of(sha256):
            number = newest.number + 1 if newest else 1
            known[f"v{number}"] = {"sha256": {file: sha256[file] for file in IDENTITY if file in sha256}}
    return as_text(content)


def _number(version: Version) -> int:
    return version.number


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in a file of versions; empty where there is no file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON; get the file again, or remove it") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object; get the file again, or remove it")
    return content
