"""A checkpoint folder with everything that a repository of the Hub needs: code, card, picture, digest, ONNX files."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from .catalog import CHECKPOINTS, entries
from .clean_load import clean_digest, compare
from .digest import digest_of
from .errors import CheckpointError, ZooError
from .explaining import SECRET, token
from .fetching import WHOLE, files_in, sha256_of
from .hub import verify
from .published import IDENTITY, write
from .remote import PICKLES

DIGEST = "digest.json"
CARD = "README.md"


def complete(folder: Path, target: Path, repo_id: str) -> None:
    """Copies a checkpoint folder and adds what it lacks, but for ONNX files.

    Args:
        target: an empty folder, which becomes the content of the repository.
        repo_id: the repository that it will be in; the card names it.

    Raises:
        CheckpointError: the folder lacks something that cannot be made, or its card has numbers that nobody measured.
    """
    verify(folder)
    refuse_others_code(folder)
    for name in files_in(folder, WHOLE):
        if not name.endswith(".py") and "/" not in name:
            shutil.copyfile(folder / name, target / name)
    from .modeling_rnnlm import AUTO_MAP, CODE

    for name in CODE:
        shutil.copyfile(Path(__file__).with_name(name), target / name)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    if config.get("auto_map") != AUTO_MAP or len(config.get("architectures") or ()) != 1:
        from .layout import CLASSIFIER

        classifies = CLASSIFIER in (config.get("architectures") or ())
        config |= {"auto_map": AUTO_MAP, "architectures": [CLASSIFIER if classifies else "RnnLmForCausalLM"]}
        write(target / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name, text in _card(folder, repo_id).items():
        write(target / name, text)
    refuse_secrets(target)


def check(target: Path) -> dict[str, Any]:
    """Loads a completed folder in a clean process and with this package; the digest, of which both agree on every bit.

    Where the folder has no stored digest it is written there, rounded so that every machine writes the same.

    Raises:
        CheckpointError: it does not load, or computes something else than it did or than this package does.
    """
    from .loading import load_any

    stored = read_digest(target) if (target / DIGEST).is_file() else None
    clean = clean_digest(target)
    own = digest_of(load_any(target)[0])
    if clean["sha256"] != own["sha256"]:  # mean and spread are sums, which threads may add in another order
        raise CheckpointError(
            f"{target.name} computes something else with the code in the folder than with this package (digest "
            f"{clean['sha256'][:12]}... and {own['sha256'][:12]}...); install the release that built it"
        )
    if stored is not None:
        compare(clean, stored, f"{target.name} does not compute what it did when its digest was stored")
    if not (target / DIGEST).is_file():
        numbers = {key: round(clean[key], 4) for key in ("mean", "spread")}
        told = {"weights": sha256_of(target / "model.safetensors"), **numbers}
        write(target / DIGEST, json.dumps(told, indent=2) + "\n")
    return clean


def check_copy(folder: Path, empty: Path, trust_remote_code: bool = False) -> tuple[dict[str, Any], bool]:
    """`check` of a copy of a folder, code added where it has none; the digest, and whether one was stored with it.

    Raises:
        CheckpointError: as `check`, or the folder has code that is not this package's, and that is not trusted.
    """
    from .modeling_rnnlm import CODE

    verify(folder)
    own = {name: Path(__file__).with_name(name).read_bytes() for name in CODE}
    others = [path.name for path in sorted(folder.glob("*.py")) if own.get(path.name) != path.read_bytes()]
    if others and not trust_remote_code:
        raise CheckpointError(
            f"{folder} has code that is not this package's ({', '.join(others[:3])}), and checking runs it; read "
            f"it, then type: zoo check {folder} --trust-remote-code"
        )
    target = empty / folder.name
    target.mkdir()
    for name in files_in(folder, WHOLE):
        if "/" not in name:
            shutil.copyfile(folder / name, target / name)
    for name in CODE:
        if not (target / name).exists():
            (target / name).write_bytes(own[name])
    stored = (target / DIGEST).is_file()
    return check(target), stored


def read_digest(folder: Path) -> dict[str, Any]:
    """The digest that is stored in a folder.

    Raises:
        CheckpointError: it is no digest, or one of other weights.
    """
    path = folder / DIGEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        numbers = [float(found[key]) for key in ("mean", "spread")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{DIGEST} of {folder.name} is no digest; remove it, type: zoo check --write") from error
    if found.get("weights") != sha256_of(folder / "model.safetensors"):
        raise CheckpointError(f"{path} is of other weights than model.safetensors beside it; remove the wrong one")
    return found | dict(zip(("mean", "spread"), numbers, strict=True))


def refuse_others_code(folder: Path) -> None:
    """Refuses a folder whose weights are pickles, or whose name is that of another checkpoint of the catalog.

    Raises:
        CheckpointError: says which.
    """
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise CheckpointError(
            f"{folder} has {', '.join(pickles[:3])}, which can run code when it is loaded; only safetensors are "
            "published: move it away"
        )
    entry = entries().get(folder.name)
    if entry is None or folder.resolve() == (CHECKPOINTS / folder.name).resolve():
        return
    if any(sha256_of(folder / name) != entry.sha256.get(name) for name in IDENTITY):
        raise CheckpointError(
            f"{folder} has the name of a checkpoint of the catalog and is another one; rename the folder"
        )


def refuse_secrets(folder: Path) -> None:
    """Refuses files that hold a token of the Hub.

    Raises:
        CheckpointError: names the file.
    """
    secret = token()
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if (secret and secret.encode() in content) or SECRET.search(content.decode("utf-8", "ignore")):
            raise CheckpointError(f"{path.name} holds a token of the Hub; take it out, and make the token invalid")


def can_export() -> bool:
    """Whether the packages for ONNX files are there."""
    return all(importlib.util.find_spec(name) for name in ("conversion", "onnx", "onnxruntime", "onnx_ir"))


def add_onnx(folder: Path, target: Path) -> str:
    """Adds onnx/: the folder's own where it is of these weights, else a new export if the packages for it are there.

    Files that do not suggest the same words as torch are not added, and fp32 alone where it is the others that do not.

    Returns:
        Why something was left out; "": nothing was.
    """
    from .layout import read_layout

    report = folder / "onnx" / "check.json"
    if report.is_file():
        weights = json.loads(report.read_text(encoding="utf-8")).get("sha256")
        if weights == sha256_of(folder / "model.safetensors"):
            (target / "onnx").mkdir()
            for path in sorted((folder / "onnx").glob("*.onnx*")):
                shutil.copyfile(path, target / "onnx" / path.name)
            return ""
    if read_layout(folder).labels is not None:
        return "there is none of text classifiers"
    if not can_export():
        return "type: pip install 'rnnlm-zoo[export]'"
    exporters, reason = importlib.import_module("conversion.exporters"), ""
    for variants in ("all", "fp32"):
        try:
            exporters.export(target, "onnx", target, variants)
        except ZooError as error:
            reason = reason or str(error)
            continue
        (target / "onnx" / "check.json").unlink()  # what it says depends on the text at hand; the card has the measured
        break
    return reason


def _card(folder: Path, repo_id: str) -> dict[str, str]:
    """The card and its picture: file name -> content."""
    try:
        cards = importlib.import_module("model_cards.publishing")
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] != "model_cards":
            raise ZooError(f"a card needs {error.name}: pip install 'rnnlm-zoo[train]'") from error
        if (folder / CARD).is_file():
            return {}
        raise CheckpointError(
            f"{folder} has no {CARD}, and the package model_cards that makes one is not installed; install the whole "
            "rnnlm-zoo, or write one"
        ) from error
    return cards.files_of(folder, repo_id)
