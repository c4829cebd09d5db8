"""What a repository of the Hub holds; only huggingface_hub's public functions are used."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError
from .explaining import explained, redacted

if TYPE_CHECKING:
    from huggingface_hub import HfApi

COMMIT = re.compile(r"[0-9a-f]{40}")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".msgpack")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a commit: its size, its sha256 where the Hub keeps it as a large file, and its git object id."""

    path: str
    size: int | None
    sha256: str | None
    oid: str | None

    def is_content_of(self, path: Path) -> bool:
        """Whether a local file has the content that this one claims."""
        content = path.read_bytes()
        if self.sha256:
            return hashlib.sha256(content).hexdigest() == self.sha256
        return git_oid(content) == self.oid


@dataclass(frozen=True)
class Snapshot:
    """A commit of a repository and every file of it by path; "" and none before the first commit."""

    repo_id: str
    commit: str
    private: bool
    files: dict[str, RemoteFile]


def git_oid(content: bytes) -> str:
    """What git calls a file with this content."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def api() -> HfApi:
    """The Hub's client with the user's endpoint and token; bars only where a person sees them."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    return HfApi()


def snapshot(repo_id: str, revision: str | None = None, kind: str = "model") -> Snapshot:
    """The files of a repository at a revision, every name of them checked.

    Raises:
        CheckpointError: no such repository or revision, no access, no connection, an answer for another commit, or a
            file whose name would leave the folder.
    """
    from huggingface_hub import constants

    try:
        found: Any = api().repo_info(
            repo_id,
            revision=revision,
            repo_type=kind,
            files_metadata=True,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        )
    except Exception as error:  # the transport's own exceptions differ between versions of the client
        raise explained(error, f"{repo_id}@{revision or 'main'}", "read") from None
    if not found.sha and not found.siblings:
        return Snapshot(repo_id, "", bool(found.private), {})  # just created
    if not isinstance(found.sha, str) or not COMMIT.fullmatch(found.sha):
        raise CheckpointError(f"the Hub does not say which commit {repo_id}@{revision or 'main'} is; check HF_ENDPOINT")
    if revision and COMMIT.fullmatch(revision) and found.sha != revision:
        raise CheckpointError(
            f"{repo_id}@{revision} was asked for and the Hub answered with commit {found.sha}: a swapped revision; "
            "nothing was taken from it; check HF_ENDPOINT"
        )
    listed = list(found.siblings or ())
    if not all(file.blob_id or file.lfs for file in listed):
        listed = _tree(repo_id, found.sha, kind)
    files = {}
    for file in listed:
        check_path(file.rfilename, repo_id)
        sha256 = file.lfs.sha256 if file.lfs else None
        files[file.rfilename] = RemoteFile(file.rfilename, file.size, sha256, file.blob_id)
    return Snapshot(repo_id, found.sha, bool(found.private), files)


def _tree(repo_id: str, commit: str, kind: str) -> list[Any]:
    """The files of a commit from the list of its tree, which has ids where the information on it has none."""
    from huggingface_hub.hf_api import RepoFile

    try:
        rows = list(api().list_repo_tree(repo_id, revision=commit, recursive=True, repo_type=kind))
    except Exception as error:  # the transport's own exceptions differ between versions of the client
        raise explained(error, f"{repo_id}@{commit}", "read") from None
    return [row for row in rows if isinstance(row, RepoFile)]


def check_path(path: Any, where: str) -> None:
    """Refuses the name of a file that would leave its folder, on any system.

    Raises:
        CheckpointError: names it.
    """
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    bad = not parts or path.startswith("/") or ".." in parts or any(sign in path for sign in "\\:\0")
    if bad or str(PurePosixPath(path)) != path:
        raise CheckpointError(
            f"{where} lists a file {redacted(repr(path))}, which would be written outside of the folder; nothing was "
            "taken from it; allowed are plain names such as config.json and onnx/model.onnx"
        )


def refuse_pickles(found: Snapshot) -> None:
    """Refuses a repository that has its weights in another form than safetensors.

    Raises:
        CheckpointError: says what it has instead.
    """
    if "model.safetensors" in found.files:
        return
    pickles = sorted(path for path in found.files if path.endswith(PICKLES))
    if pickles:
        raise CheckpointError(
            f"{found.repo_id} has {', '.join(pickles[:3])} and no model.safetensors; such files can run code when they "
            "are loaded, so the zoo reads safetensors only; of weights of your own, type: zoo import"
        )
    raise CheckpointError(
        f"{found.repo_id} holds no model.safetensors, so it is no checkpoint of the zoo; check the name"
    )


def has_xet() -> bool:
    """Whether the Hub that is asked has the storage that its own client prefers."""
    from huggingface_hub import constants

    return constants.ENDPOINT.rstrip("/") == "https://huggingface.co"


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keeps the client from saying that it goes without Xet."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
