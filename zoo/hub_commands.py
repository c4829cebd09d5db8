"""What `zoo pull`, `zoo check` and `zoo publish` do with their arguments; every function returns the exit code."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from .errors import ZooError

if TYPE_CHECKING:
    from .publishing import Publication


def pull(given: Namespace) -> int:
    """Gets a checkpoint and says where it is."""
    from .pulling import pull

    found = pull(given.name, given.to)
    if given.json:
        print(json.dumps({"name": given.name, "folder": str(found.folder), "source": found.source}))
    elif found.was_there:
        print(f"{given.name} is there already: {found.folder}")
    else:
        print(f"{given.name} is in {found.folder}, from {found.source}; every file has its sha256")
    return 0


def check(given: Namespace) -> int:
    """Loads a checkpoint as a stranger would and compares its outputs."""
    _quiet()
    import tempfile
    from pathlib import Path

    from .completion import DIGEST, check_copy
    from .hub import folder_of
    from .published import write

    folder = folder_of(given.name).resolve()  # "." has a name of its own then
    with tempfile.TemporaryDirectory(prefix="zoo-check-") as temporary:
        digest, stored = check_copy(folder, Path(temporary), given.trust_remote_code)
        if given.write:
            made = Path(temporary, folder.name, DIGEST).read_text(encoding="utf-8")
            write(folder / DIGEST, made)
    if given.json:
        print(json.dumps({"name": given.name, **digest, "stored": stored}))
    else:
        told = "agrees with the one stored in the folder" if stored else "none was stored in the folder"
        print(f"{given.name} is whole; the digest of its outputs, {digest['sha256'][:16]}, {told}")
    return 0


def publish(given: Namespace) -> int:
    """Publishes a checkpoint, all of them, or a page."""
    chosen = [bool(given.name), given.all, bool(given.space)]
    if sum(chosen) != 1:
        raise ZooError("zoo publish takes one of: NAME, --all, --space FOLDER; type: zoo publish --help")
    if given.all and "/" in given.to:
        raise ZooError(f"--all publishes to an owner and {given.to!r} is one repository; give --to OWNER")
    failed: dict[str, Any] = {}
    if given.space:
        from .spaces import publish_space

        done = [publish_space(given.space, given.to, given.private, given.dry_run, _tell)]
    else:
        from .publishing import publish, publish_all

        _quiet()

        def publish_one(name: str) -> Publication:
            return publish(name, given.to, given.private, given.dry_run, not given.no_onnx, _tell)

        if given.all:
            done, failed = publish_all(_parents_first(), publish_one)
        else:
            done = [publish_one(given.name)]
    if given.json:
        print(json.dumps({"published": [_row(one) for one in done], "failed": {k: str(e) for k, e in failed.items()}}))
    else:
        print("\n".join(line for one in done for line in _lines(one, given.dry_run)))
    for name, error in failed.items():
        print(f"error: {name}: {error}", file=sys.stderr)
    return 2 if failed else 0


def _parents_first() -> list[str]:
    """The shipped checkpoints, each after the one that it was compressed from, whose repository its card names."""
    from .catalog import entries

    ordered: list[str] = []

    def add(name: str) -> None:
        entry = entries().get(name)
        if entry and name not in ordered:
            if entry.parent:
                add(entry.parent)
            if entry.folder.is_dir():
                ordered.append(name)

    for name in entries():
        add(name)
    return ordered


def _row(one: Publication) -> dict[str, Any]:
    """A publication in JSON."""
    return {
        "name": one.name,
        "repo_id": one.plan.repo_id,
        "version": one.version.name,
        "revision": one.version.revision,
        "changed": one.changed,
        "uploaded": list(one.plan.additions),
        "deleted": list(one.plan.deletions),
        "sha256": dict(one.plan.sha256),
    }


def _lines(one: Publication, dry_run: bool) -> list[str]:
    """A publication for people."""
    where = f"{one.plan.repo_id}, {one.version.name}"
    if dry_run:
        marks = dict.fromkeys(one.plan.sha256, "same") | dict.fromkeys(one.plan.additions, "upload")
        marks |= dict.fromkeys(one.plan.deletions, "delete")
        private = ", private" if one.plan.private else ""
        return [
            f"would be {where}{private}: {one.plan.told()}",
            *(f"  {mark:6}  {n}" for n, mark in sorted(marks.items())),
        ]
    if not one.changed:
        return [f"{one.name}: nothing changed; it is {where} at {one.version.revision}"]
    return [f"{one.name}: published as {where} at {one.version.revision}"]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _quiet() -> None:
    """No bars of transformers among the lines."""
    from transformers.utils import logging

    logging.disable_progress_bar()
