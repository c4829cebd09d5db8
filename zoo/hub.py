"""From what a user names to a checkpoint folder, and whether that folder is whole.

Nothing here imports torch or transformers; huggingface_hub only where a repository is named.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .catalog import CHECKPOINTS, entries
from .errors import CheckpointError
from .fetching import NEEDED, fetch, sha256_of
from .published import IDENTITY, Version, names, versions

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
REPOSITORY = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16}
BITS |= {"U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64}
HEADER_LIMIT = 100_000_000  # bytes; the format's own limit


@dataclass(frozen=True)
class Hosted:
    """A checkpoint on the Hub: where, and the sha256 of its files if the catalog knows them."""

    repo_id: str
    revision: str | None
    sha256: Mapping[str, str] | None = None


def folder_of(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a checkpoint, downloaded first where only the Hub has it.

    Args:
        name: an existing folder, a name of the catalog, `name@v1` for a version of it, or `owner/name[@revision]`.
        revision: version of a name, or branch, tag or commit of a Hub repository.

    Raises:
        CheckpointError: nothing has this name, the repository cannot be had, or a file is not the catalog's.
    """
    found = locate(name, revision)
    return found if isinstance(found, Path) else fetch(found.repo_id, found.revision, found.sha256)


def locate(name: str | Path, revision: str | None = None) -> Path | Hosted:
    """As `folder_of`, but of what is on the Hub it says where, and nothing is downloaded."""
    given = str(name)
    folder = Path(os.path.expanduser(given))  # pathlib's raises for a user that there is not
    if given and folder.is_dir():
        return folder
    if not isinstance(name, str):
        raise CheckpointError(_unknown(given))
    plain, _, asked = given.partition("@")
    if asked and revision and asked != revision:
        raise CheckpointError(f"{given} names revision {asked} and revision={revision!r} another; give one of them")
    if NAME.fullmatch(plain) and (asked or "@" not in given):
        shipped, wanted = CHECKPOINTS / plain, asked or revision
        if wanted is None and shipped.is_dir():
            return shipped
        if shipped.is_dir() or versions(plain):
            return _version(plain, shipped, wanted)
    repository = REPOSITORY.fullmatch(given)
    if repository is None:
        raise CheckpointError(_unknown(given))
    return hosted(repository["id"], asked or revision)


def hosted(repo_id: str, revision: str | None) -> Hosted:
    """A repository of the Hub, with the sha256 of its files where one of the catalog's versions is this commit."""
    for name in names():
        for version in versions(name):
            if version.repo_id == repo_id and revision in (version.name, version.revision):
                return Hosted(repo_id, version.revision, version.sha256)
    return Hosted(repo_id, revision)


def _version(name: str, shipped: Path, wanted: str | None) -> Path | Hosted:
    """A version of a name of the catalog: the shipped folder if it is that one, else where the Hub has it."""
    known = versions(name)
    if wanted is None:  # not shipped here, and the newest is on the Hub or nowhere
        version = next((version for version in reversed(known) if version.repo_id), None)
        if version is None:
            raise CheckpointError(_unknown(name))
        check_catalog(name, version)
        return Hosted(str(version.repo_id), version.revision, version.sha256)
    version = next((version for version in known if wanted in (version.name, version.revision)), None)
    if version is None:
        raise CheckpointError(
            f"{name} has no version {wanted!r}; it has {', '.join(found.name for found in known) or 'none yet'}; "
            f"also allowed: {name} without a version, or owner/name@revision on the Hub"
        )
    found = {file: sha256_of(shipped / file) for file in IDENTITY if (shipped / file).is_file()}
    if found and version.is_identity_of(found):
        return shipped
    if version.repo_id is None:
        raise CheckpointError(
            f"{name}@{version.name} is not on the Hub, and the files here are another version; take it from the "
            f"release that shipped it, or type: zoo info {name}"
        )
    return Hosted(version.repo_id, version.revision, version.sha256)


def check_catalog(name: str, version: Version) -> None:
    """Refuses a published version that computes something else than the catalog says of its name.

    Raises:
        CheckpointError: names the file.
    """
    sha256 = entries()[name].sha256 if name in entries() else version.sha256
    for file in IDENTITY:
        ours, theirs = str(sha256.get(file))[:12], str(version.sha256.get(file))[:12]
        if ours != theirs:
            raise CheckpointError(
                f"{file} of {name} has sha256 {ours}... in the catalog and {theirs}... as published ({version.name}); "
                f"one of them is wrong: ask for {name}@{version.name}, or publish it again"
            )


def _unknown(given: str) -> str:
    """What to say of a name that nothing has."""
    shipped = sorted({path.name for path in CHECKPOINTS.glob("[!.]*/") if path.is_dir()} | set(entries()))
    if given in shipped:
        return (
            f"{given} is not on the Hub yet and its files are not in {CHECKPOINTS}; they are in a clone of the "
            f"project: pip install -e CLONE, or name the folder, CLONE/zoo/checkpoints/{given}"
        )
    if _has_recipe(given):
        return f"{given} has a recipe and no files; to make them, type: python -m conversion.build {given} --data DIR"
    close = difflib.get_close_matches(given, shipped, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return (
        f"no checkpoint or folder is called {given!r}; {hint}shipped: {', '.join(shipped) or 'none'}; "
        "also allowed: a folder, name@v1, or owner/name[@revision] on the Hub; to see all, type: zoo list"
    )


def _has_recipe(name: str) -> bool:
    """Whether the package that makes checkpoints is there, and knows how this one is made."""
    found = importlib.util.find_spec("conversion")
    folders = found.submodule_search_locations if found and found.submodule_search_locations else []
    return any((Path(folder) / "recipes" / f"{name}.toml").is_file() for folder in folders)


def verify(folder: str | Path) -> None:
    """Checks that a checkpoint folder is whole: files, header and length of the weights, vocabulary, sha256 if shipped.

    Raises:
        CheckpointError: names the file, what is wrong with it and what to do.
    """
    folder = Path(folder)
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if "model.safetensors" in missing and (parts := sorted(folder.glob("model-*.safetensors"))):
        raise CheckpointError(
            f"{folder} has its weights in {len(parts)} files and the zoo reads one; save it whole: "
            "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    if missing:
        raise CheckpointError(
            f"{folder} is no checkpoint folder: it lacks {', '.join(missing)}; {_remedy(folder)}, "
            "or name a folder that holds them"
        )
    config = _read_json(folder / "config.json")
    if config.get("model_type") != "rnnlm":
        raise CheckpointError(
            f"{folder / 'config.json'} has model_type {config.get('model_type')!r}; the zoo reads 'rnnlm'; "
            "load others with transformers.AutoModelForCausalLM.from_pretrained"
        )
    read_header(folder / "model.safetensors")
    _verify_vocabulary(folder, config)
    _verify_sha256(folder)


def read_header(path: Path) -> dict[str, dict]:
    """The tensors of a safetensors file: name -> {"dtype", "shape", "data_offsets"}, offsets in bytes of the file.

    Raises:
        CheckpointError: the file is cut off, too long, or its header cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == b"version ":
            raise CheckpointError(f"{path} is a pointer of git-lfs, not the weights; type: git lfs pull")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > HEADER_LIMIT or 8 + length > size:
            raise CheckpointError(f"{path} is damaged: {size} bytes cannot hold its header; {_remedy(path.parent)}")
        content = file.read(length)
    try:
        tensors = {name: entry for name, entry in json.loads(content).items() if name != "__metadata__"}
        needed = {name: math.prod(entry["shape"]) * BITS[entry["dtype"]] // 8 for name, entry in tensors.items()}
        end = 8 + length
        for name, entry in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
            first, last = (8 + length + offset for offset in entry["data_offsets"])
            entry["data_offsets"] = [first, last]
            end = last if first == end and last - first == needed[name] else -1
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: its header cannot be read; {_remedy(path.parent)}") from error
    if end != size:
        says = f"needs {end}" if end >= 0 else "contradicts itself"
        raise CheckpointError(f"{path} is damaged: it has {size} bytes and its header {says}; {_remedy(path.parent)}")
    return tensors


def _verify_vocabulary(folder: Path, config: dict) -> None:
    """Refuses a tokenizer whose ids do not fill the embedding exactly."""
    path = folder / "tokenizer.json"
    content = _read_json(path)
    try:
        ids = set(content["model"]["vocab"].values()) | {token["id"] for token in content.get("added_tokens", [])}
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is no word-level tokenizer; {_remedy(folder)}") from error
    if len(ids) != config.get("vocab_size") or ids != set(range(len(ids))):
        raise CheckpointError(
            f"{path} belongs to another vocabulary: it has {len(ids)} words and config.json says "
            f"vocab_size {config.get('vocab_size')!r}; {_remedy(folder)}"
        )


def _verify_sha256(folder: Path) -> None:
    """Compares a shipped checkpoint with the catalog, file by file."""
    entry = entries().get(folder.name)
    if entry is None or folder.resolve() != entry.folder.resolve():
        return
    paths = {name: folder / name for name in entry.sha256}
    found = {name: sha256_of(path) for name, path in paths.items() if path.is_file()}
    if found.get("recipe.toml", "") not in ("", entry.sha256.get("recipe.toml")):
        return  # built anew: every build writes a recipe of its own, and the catalog does not speak of this one yet
    for name, expected in entry.sha256.items():
        if found.get(name) != expected:
            raise CheckpointError(
                f"{paths[name]} is not the file of the catalog (sha256 {expected[:12]}...); {_remedy(folder)}"
            )


def _read_json(path: Path) -> dict:
    """The JSON object in a file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON; {_remedy(path.parent)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object; {_remedy(path.parent)}")
    return content


def _remedy(folder: Path) -> str:
    """How to get a whole copy of a checkpoint."""
    if folder.resolve().parent == CHECKPOINTS.resolve():
        return f"get it again: git checkout -- zoo/checkpoints/{folder.name}, or install the package again"
    return "get it again from where it came"
