"""Files of the Hub: downloaded to its cache, each held to its sha256, and copied out whole or not at all."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import CheckpointError
from .explaining import Unreachable, explained, is_offline
from .remote import COMMIT, Snapshot, api, check_path, git_oid, refuse_pickles, snapshot

NEEDED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
USED = ("*.json", "*.safetensors", "recipe.toml", "README.md")  # no code: the package's own classes are used
WHOLE = (*USED, "*_rnnlm.py", "onnx/*.onnx", "onnx/*.onnx_data", "*.svg", "LICENSE")
LEFTOVER_SECONDS = 3600


def fetch(
    repo_id: str,
    revision: str | None,
    expected: Mapping[str, str] | None = None,
    wanted: Iterable[str] = USED,
) -> Path:
    """The folder of a repository in the Hub's cache with the wanted files, downloaded where they are not there.

    Args:
        revision: branch, tag or commit; None: main.
        expected: file -> sha256 that it must have; None: what the Hub says of the commit.
        wanted: patterns of file names.

    Raises:
        CheckpointError: it cannot be had, is no checkpoint in safetensors, or a file is not the one that it must be.
    """
    wanted = tuple(wanted)
    for path in expected or ():
        check_path(path, "the catalog")
    if expected is not None and revision and COMMIT.fullmatch(revision):
        cached = _cached(repo_id, revision, expected, wanted)
        if cached is not None:
            return cached
    try:
        found = snapshot(repo_id, revision)
    except Unreachable as refused:
        cached = _cached_folder(repo_id, revision)
        if cached is None:
            raise
        _check_cached(cached, repo_id, expected, wanted, refused)
        return cached
    refuse_pickles(found)
    names = {path for path in found.files if _is(path, wanted)}
    absent = sorted({path for path in expected or () if _is(path, wanted)} - names)
    if absent:
        raise CheckpointError(
            f"{repo_id}@{found.commit} lacks {', '.join(absent)}, which the catalog lists; it is not what was "
            "published; nothing of it is used"
        )
    folder = Path()
    for path in sorted(names, key=_order):
        # With the weights the cache learns what the revision is: not before everything else is there.
        asked = revision or "main" if path == "model.safetensors" else found.commit
        folder = _download(found, path, asked, (expected or {}).get(path))
    return folder


def copy(source: Path, target: Path, names: Iterable[str], expected: Mapping[str, str] | None = None) -> bool:
    """Copies files to a folder that appears whole or not at all; whether it was not there already.

    Args:
        expected: file -> sha256 that the copy must have.

    Raises:
        CheckpointError: the folder is there with other content, or a copy is not what it must be.
    """
    target, names = Path(os.path.abspath(os.path.expanduser(target))), sorted(names)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if target.is_dir() and all(
            (target / name).is_file() and sha256_of(target / name) == sha256_of(source / name) for name in names
        ):
            return False
        raise CheckpointError(f"{target} is there already with other content; remove it, or give --to another folder")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        temporary.mkdir(exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"cannot write to {target.parent} ({error.strerror}); give --to a folder of yours"
        ) from error
    try:
        for name in names:
            place = temporary / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, place)
            with place.open("rb") as file:
                os.fsync(file.fileno())
            _must_be(place, (expected or {}).get(name) or sha256_of(source / name), str(source / name))
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def files_in(folder: Path, wanted: Iterable[str] = WHOLE) -> list[str]:
    """The names of the files of a checkpoint folder that belong to it."""
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in paths if _is(path, tuple(wanted)))


def is_cached(repo_id: str, revision: str) -> bool:
    """Whether the cache has the weights of this commit."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo_id, "model.safetensors", revision=revision), str)


def _is(path: str, wanted: tuple[str, ...]) -> bool:
    """Whether a file matches one of the patterns, those without a folder at the top only; hidden ones never do."""
    return not path.startswith(".") and any(
        fnmatch.fnmatchcase(path, pattern) and path.count("/") == pattern.count("/") for pattern in wanted
    )


def _order(path: str) -> tuple[bool, str]:
    """An order in which the weights come last: where they are in the cache, everything else is."""
    return path == "model.safetensors", path


def _download(found: Snapshot, path: str, revision: str, expected: str | None) -> Path:
    """Downloads one file of a commit, or finds it in the cache; the folder of the snapshot."""
    what, file = f"{found.repo_id}@{found.commit}", found.files[path]
    try:
        place = Path(api().hf_hub_download(found.repo_id, path, revision=revision))
    except Exception as error:  # the transport's own exceptions differ between versions of the client
        raise explained(error, f"{what} ({path})", "read") from None
    folder = place.parents[path.count("/")]
    if folder.name != found.commit:
        raise CheckpointError(
            f"{path} of {what} came from commit {folder.name}: a swapped revision, or one that has just "
            "changed; it is not used; give the same command again, or check HF_ENDPOINT"
        )
    if not file.is_content_of(place):
        _discard(place)
        raise CheckpointError(
            f"{path} of {what} is not what the Hub says that it is ({file.sha256 or file.oid}); the download is "
            "removed; give the same command again"
        )
    if expected is not None:
        _must_be(place, expected, f"{path} of {what}")
    return folder


def _must_be(place: Path, expected: str, what: str) -> None:
    """Refuses a file with another sha256 than the catalog's."""
    found = sha256_of(place)
    if found != expected:
        raise CheckpointError(
            f"{what} is not the file of the catalog: sha256 {found[:12]}... instead of {str(expected)[:12]}...; it was "
            "changed there, or the catalog is wrong; it is not used"
        )


def _discard(place: Path) -> None:
    """Takes a file and what it points to out of the cache."""
    content = place.resolve()
    place.unlink(missing_ok=True)
    content.unlink(missing_ok=True)


def _cached_folder(repo_id: str, revision: str | None) -> Path | None:
    """The folder of a revision in the cache, as far as it is there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo_id, "config.json", revision=revision or "main")
    return Path(found).parent if isinstance(found, str) else None


def _cached(repo_id: str, revision: str, expected: Mapping[str, str], wanted: tuple[str, ...]) -> Path | None:
    """The folder of a commit in the cache if all files that the catalog lists are there; they are checked."""
    folder = _cached_folder(repo_id, revision)
    names = [path for path in expected if _is(path, wanted)]
    if folder is None or not all((folder / path).is_file() for path in names):
        return None
    for path in names:
        if sha256_of(folder / path) != expected[path] and not is_offline() and not _is_as_downloaded(folder / path):
            _discard(folder / path)  # damaged in the cache: the Hub has it whole
            return None
        _must_be(folder / path, expected[path], str(folder / path))
    return folder


def _check_cached(
    folder: Path, repo_id: str, expected: Mapping[str, str] | None, wanted: tuple[str, ...], refused: CheckpointError
) -> None:
    """Refuses what the cache has of a repository unless all of it is there and as it was downloaded."""
    names = [path for path in expected if _is(path, wanted)] if expected else list(NEEDED)
    missing = [path for path in names if not (folder / path).is_file()]
    if missing:
        raise CheckpointError(f"{refused} (the cache lacks {', '.join(missing)} of {repo_id})")
    for path in files_in(folder, wanted):
        if expected is not None and path in expected:
            _must_be(folder / path, expected[path], str(folder / path))
        if not _is_as_downloaded(folder / path):
            raise CheckpointError(
                f"{folder / path} was changed since it was downloaded; type: hf cache verify {repo_id}, or remove it"
            )


def _is_as_downloaded(place: Path) -> bool:
    """Whether a file of the cache has the content after which the cache has named it."""
    name = Path(os.readlink(place)).name if place.is_symlink() else ""
    if re.fullmatch(r"[0-9a-f]{64}", name):
        return sha256_of(place) == name
    return not COMMIT.fullmatch(name) or git_oid(place.read_bytes()) == name


def _remove_leftovers(target: Path) -> None:
    """Removes what killed runs left of the same folder, unless it may still be written to."""
    for path in target.parent.glob(f".{target.name}.*.partial"):
        if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
