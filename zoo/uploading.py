"""The difference between a folder and a repository, and the one commit and tag that end it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import CheckpointError
from .explaining import explained
from .published import VERSION
from .remote import Snapshot, api, has_xet, snapshot, without_warnings

OTHERS = (".gitattributes",)  # files of the Hub's own


@dataclass(frozen=True)
class Plan:
    """What a repository has to become.

    Attributes:
        repo_id, kind, private: the repository; kind is "model" or "space".
        folder: the files that it shall have.
        sha256: file -> sha256 of all files that it shall have, those that are there already and not in the folder too.
        remote: what it has; None: there is no such repository.
        tags: version -> commit.
        additions, deletions, upload_bytes: the difference.
    """

    repo_id: str
    kind: str
    private: bool
    folder: Path
    sha256: Mapping[str, str]
    remote: Snapshot | None
    tags: Mapping[str, str] = field(default_factory=dict)
    additions: Sequence[str] = ()
    deletions: Sequence[str] = ()
    upload_bytes: int = 0

    @property
    def changes(self) -> list[str]:
        """Every file that changes."""
        return [*self.additions, *self.deletions]

    def kept(self, under: str) -> dict[str, str]:
        """The repository's large files in a folder: name -> sha256; empty where one of them is no large file."""
        files = [file for path, file in (self.remote.files if self.remote else {}).items() if path.startswith(under)]
        return {file.path: str(file.sha256) for file in files} if all(file.sha256 for file in files) else {}

    def with_files(self, sha256: Mapping[str, str]) -> Plan:
        """The same for the files that the repository shall have."""
        additions, deletions = _difference(self.folder, sha256, self.remote)
        size = sum((self.folder / name).stat().st_size for name in additions)
        return dataclasses.replace(self, sha256=sha256, additions=additions, deletions=deletions, upload_bytes=size)

    def told(self) -> str:
        """What changes, in a few words."""
        if not self.changes:
            return "no file changed"
        gone = f", {len(self.deletions)} to delete" if self.deletions else ""
        return f"{len(self.additions)} files to upload, {self.upload_bytes / 1e6:.2f} MB{gone}"


def _difference(folder: Path, sha256: Mapping[str, str], remote: Snapshot | None) -> tuple[list[str], list[str]]:
    """The files that a repository lacks or has with other content, and those that it has beside the wanted ones."""
    there = remote.files if remote else {}
    local = [name for name in sorted(sha256) if (folder / name).is_file()]
    additions = [name for name in local if name not in there or not there[name].is_content_of(folder / name)]
    return additions, sorted(set(there) - set(sha256) - set(OTHERS))


def plan(folder: Path, repo_id: str, kind: str, private: bool, dry_run: bool) -> Plan:
    """Compares a folder with a repository, which is created first if it is not there, unless `dry_run`.

    Raises:
        CheckpointError: the Hub refuses, cannot be reached, or the repository is public and shall be private.
    """
    client = api()
    sdk = "static" if kind == "space" else None
    try:
        if not dry_run:
            client.create_repo(repo_id, repo_type=kind, private=True if private else None, exist_ok=True, space_sdk=sdk)
        elif not client.repo_exists(repo_id, repo_type=kind):
            return Plan(repo_id, kind, private, folder, {}, None)
    except Exception as error:  # the transport's own exceptions differ between versions of the client
        raise explained(error, repo_id, "write") from None
    remote = snapshot(repo_id, None, kind)
    if private and not remote.private:
        raise CheckpointError(
            f"{repo_id} is public and --private was given; nothing was uploaded; make it private on the Hub first, or "
            "give another name"
        )
    return Plan(repo_id, kind, private, folder, {}, remote, _tags(repo_id, kind))


def carry_out(wanted: Plan, version: str) -> str:
    """Uploads what changed in one commit, sees that it arrived, and tags it; the commit.

    Large files that an interrupted upload has brought there already are not sent again. Nothing of the repository
    changes before the commit, and no tag is made before every file of the commit is the right one.

    Raises:
        CheckpointError: the Hub refuses, cannot be reached, or has other content than was sent.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    if wanted.remote is None:
        raise CheckpointError(f"{wanted.repo_id} is not there yet; publish without --dry-run")
    client, commit = api(), wanted.remote.commit
    if wanted.changes:
        operations: list[CommitOperationAdd | CommitOperationDelete]
        operations = [CommitOperationDelete(name) for name in wanted.deletions]
        try:
            with contextlib.ExitStack() as stack:
                for name in wanted.additions:
                    path = wanted.folder / name
                    # Of an open file the client sends the bytes over HTTP; of a path it insists on Xet where that is
                    # installed, which other servers than huggingface.co need not have.
                    content = path if has_xet() else stack.enter_context(path.open("rb"))
                    operations.append(CommitOperationAdd(name, content))
                if not has_xet():
                    stack.enter_context(without_warnings())
                commit = client.create_commit(
                    wanted.repo_id,
                    operations,
                    commit_message=f"Publish {version}",
                    repo_type=wanted.kind,
                    parent_commit=commit or None,
                ).oid
        except Exception as error:  # the transport's own exceptions differ between versions of the client
            raise explained(error, wanted.repo_id, "write") from None
    _must_have_arrived(wanted, commit)
    if wanted.tags.get(version) != commit:
        try:
            client.create_tag(wanted.repo_id, tag=version, revision=commit, repo_type=wanted.kind)
        except Exception as error:  # as above
            raise explained(error, f"{wanted.repo_id}@{version}", "write") from None
        if _tags(wanted.repo_id, wanted.kind).get(version) != commit:
            raise CheckpointError(f"the tag {version} of {wanted.repo_id} is not at {commit}; look at it on the Hub")
    return commit


def _must_have_arrived(wanted: Plan, commit: str) -> None:
    """Refuses a commit that does not have exactly the files of the plan."""
    arrived = snapshot(wanted.repo_id, commit, wanted.kind)
    additions, deletions = _difference(wanted.folder, wanted.sha256, arrived)
    wrong = sorted({*additions, *deletions, *wanted.sha256} - (set(arrived.files) - {*additions, *deletions}))
    if wrong:
        raise CheckpointError(
            f"{wanted.repo_id}@{commit} is not what was sent: {', '.join(wrong[:3])}; it has no tag; give the same "
            "command again"
        )


def _tags(repo_id: str, kind: str) -> dict[str, str]:
    """Version -> commit of the tags that are versions."""
    try:
        found = api().list_repo_refs(repo_id, repo_type=kind).tags
    except Exception as error:  # the transport's own exceptions differ between versions of the client
        raise explained(error, repo_id, "read") from None
    return {tag.name: tag.target_commit for tag in found if VERSION.fullmatch(tag.name)}
