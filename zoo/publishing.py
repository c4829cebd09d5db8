"""Puts a checkpoint on the Hub: completed, loaded as a stranger would, uploaded in one commit, tagged, recorded."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .completion import add_onnx, check, complete
from .errors import CheckpointError, ZooError
from .explaining import token
from .fetching import sha256_of
from .hub import NAME, locate
from .published import CHECKPOINTS, Version, record, target, versions
from .uploading import Plan, carry_out, plan

OWNER = re.compile(r"[A-Za-z0-9][\w.-]*")
KEPT = "onnx/"  # files that are as good as new ones while the weights are the same


@dataclass(frozen=True)
class Publication:
    """What was, or with a dry run would be, published: the plan, the version, whether anything changed."""

    name: str
    plan: Plan
    version: Version
    changed: bool


def publish(
    name: str | Path,
    to: str,
    private: bool = False,
    dry_run: bool = False,
    with_onnx: bool = True,
    tell: Callable[[str], None] = lambda line: None,
) -> Publication:
    """Completes a checkpoint, verifies it, uploads it in one commit, tags that, and records it in the catalog.

    Doing it again changes nothing unless a file changed. Stopped at any moment, what was published before stays as it
    was, and doing it again goes on.

    Args:
        name: a shipped checkpoint or a folder.
        to: an owner, or owner/name.
        private: whether a new repository is private; one that is public is then refused.
        dry_run: whether everything but the upload is done.
        with_onnx: whether onnx/ is made where the packages for it are installed.
        tell: called with a line about each step.

    Raises:
        CheckpointError: the folder is not complete or does not load, or the Hub refuses.
    """
    folder = locate(name)
    if not isinstance(folder, Path):
        raise CheckpointError(f"{name} is not here; type: zoo pull {name} --to DIR, then: zoo publish DIR --to {to}")
    known_as = folder.resolve().name
    repo_id = repository_of(to, known_as)
    if not NAME.fullmatch(known_as):
        raise CheckpointError(
            f"a checkpoint cannot be called {known_as!r}; allowed are letters, digits and . _ -; rename the folder"
        )
    if not dry_run:
        require_token()
        target()
    with tempfile.TemporaryDirectory(prefix="zoo-publish-") as temporary:
        whole = Path(temporary) / known_as
        whole.mkdir()
        tell(f"{known_as}: completing a copy")
        complete(folder, whole, repo_id)
        tell(f"{known_as}: loading it in a clean process")
        check(whole)
        found = plan(whole, repo_id, "model", private, dry_run)
        weights = found.remote.files.get("model.safetensors") if found.remote else None
        kept = found.kept(KEPT) if weights and weights.is_content_of(whole / "model.safetensors") else {}
        if with_onnx and not kept:
            tell(f"{known_as}: adding onnx/")
            if left_out := add_onnx(folder, whole):
                tell(f"{known_as}: onnx/ is left out: {left_out}")
        sha256 = {path.relative_to(whole).as_posix(): sha256_of(path) for path in whole.rglob("*") if path.is_file()}
        found = found.with_files(sha256 | kept)
        version = version_of(known_as, CHECKPOINTS, found)
        if dry_run:
            return Publication(known_as, found, version, bool(found.changes))
        tell(f"{known_as}: {found.told()} to {repo_id}")
        commit = carry_out(found, version.name)
    version = Version(version.name, dict(found.sha256), repo_id, commit)
    recorded = record(known_as, version)
    return Publication(known_as, found, version, bool(found.changes) or recorded)


def publish_all(
    names: Iterable[str], publish_one: Callable[[str], Publication]
) -> tuple[list[Publication], dict[str, ZooError]]:
    """Publishes several; one that fails does not keep the others from it.

    Returns:
        What was published, and name -> error of what was not.
    """
    done, failed = list[Publication](), dict[str, ZooError]()
    for name in names:
        try:
            done.append(publish_one(name))
        except ZooError as error:
            failed[name] = error
    return done, failed


def repository_of(to: str, name: str) -> str:
    """`owner` or `owner/name` -> `owner/name`.

    Raises:
        CheckpointError: it is neither.
    """
    parts = to.split("/")
    if len(parts) > 2 or not all(OWNER.fullmatch(part) and not part.endswith((".git", ".")) for part in parts):
        raise CheckpointError(
            f"cannot publish to {to!r}; allowed: an owner or owner/name with letters, digits and . _ -; type: zoo "
            f"publish {name} --to OWNER"
        )
    return to if len(parts) == 2 else f"{to}/{name}"


def require_token() -> None:
    """Refuses to begin without a token.

    Raises:
        CheckpointError: says how to get one.
    """
    if not token():
        raise CheckpointError(
            "publishing needs a token of the Hub that may write; set HF_TOKEN, or type: hf auth login; to see "
            "what would be published without one, add --dry-run"
        )


def version_of(name: str, kind: str, found: Plan) -> Version:
    """The version that the files of a plan are: one that is tagged or known already, else the next."""
    known = versions(name, kind)[::-1]
    unchanged = found.remote is not None and not found.changes
    tagged = {tag for tag, commit in found.tags.items() if unchanged and found.remote and commit == found.remote.commit}
    taken = set(found.tags) - tagged
    for version in known:
        exact = version.repo_id is not None
        same = dict(version.sha256) == dict(found.sha256) if exact else version.is_identity_of(found.sha256)
        if same and version.name not in taken:
            return version
    free = tagged - {version.name for version in known}
    numbers = [int(tag[1:]) for tag in [*found.tags, *(version.name for version in known)]]
    return Version(max(free, key=lambda tag: int(tag[1:])) if free else f"v{max(numbers, default=0) + 1}")
