"""What the test server keeps: repositories with commits and tags, and the content of large files."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

ATTRIBUTES = base64.b64encode(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n").decode()


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str = "", more: dict[str, Any] | None = None):
        super().__init__(message)
        self.status, self.message, self.code, self.more = status, message, code, more or {}


@dataclass(frozen=True)
class File:
    """A file of a commit: its content in base64, or the sha256 of a large one."""

    size: int
    content: str = ""
    sha256: str = ""

    @property
    def oid(self) -> str:
        """The git object id; of a large file that of its pointer."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        content = pointer.encode() if self.sha256 else base64.b64decode(self.content)
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()

    def sibling(self) -> dict[str, Any]:
        """Its row in the information on a repository."""
        lfs = {"lfs": {"sha256": self.sha256, "size": self.size, "pointerSize": 130}} if self.sha256 else {}
        return {"blobId": self.oid, "size": self.size, **lfs}

    def row(self, path: str) -> dict[str, Any]:
        """Its row in a tree."""
        lfs = {"lfs": {"oid": self.sha256, "size": self.size, "pointerSize": 130}} if self.sha256 else {}
        return {"type": "file", "path": path, "oid": self.oid, "size": self.size, **lfs}


@dataclass(frozen=True)
class Commit:
    """A commit: its files, and the commit before."""

    files: dict[str, File]
    parent: str = ""
    title: str = "initial commit"

    @property
    def oid(self) -> str:
        """What names it."""
        content = [{path: file.oid for path, file in sorted(self.files.items())}, self.parent, self.title]
        return hashlib.sha1(json.dumps(content).encode()).hexdigest()


@dataclass
class Repository:
    """A repository with one branch."""

    id: str
    private: bool = False
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.add(Commit({".gitattributes": File(50, ATTRIBUTES)}, title=f"initial commit of {self.id}"))

    def add(self, commit: Commit) -> None:
        """Makes a commit the newest."""
        self.commits[commit.oid] = self.head = commit

    def commit(self, revision: str) -> Commit:
        """The commit of a branch, a tag or a hash."""
        if revision in ("main", "refs/heads/main"):
            return self.head
        oid = self.tags.get(revision.removeprefix("refs/tags/"), revision)
        if oid not in self.commits:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]


@dataclass
class Store:
    """Everything that the server holds."""

    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def commit(self, repository: Repository, rows: list[dict[str, Any]]) -> Commit:
        """Applies the rows of a commit, all or none."""
        header = next(row["value"] for row in rows if row["key"] == "header")
        if header.get("parentCommit") not in (None, repository.head.oid):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.head.files)
        for row in rows:
            key, value = row["key"], row["value"]
            if key == "file":
                files[value["path"]] = File(len(base64.b64decode(value["content"])), value["content"])
            elif key == "lfsFile":
                if value["oid"] not in self.blobs:
                    raise Refused(400, f"Your push was rejected: {value['path']} was not uploaded")
                files[value["path"]] = File(len(self.blobs[value["oid"]]), sha256=value["oid"])
            elif key == "deletedFile" and files.pop(value["path"], None) is None:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
        commit = Commit(files, repository.head.oid, header["summary"])
        repository.add(commit)
        return commit

    def told(self) -> dict[str, Any]:
        """Repositories as JSON: head, tags, number of commits, files."""
        return {
            f"{kind}/{id}": {
                "head": found.head.oid,
                "tags": found.tags,
                "private": found.private,
                "sdk": found.sdk,
                "commits": {oid: {path: f.oid for path, f in c.files.items()} for oid, c in found.commits.items()},
            }
            for (kind, id), found in self.repositories.items()
        }
