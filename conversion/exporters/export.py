"""One call from a checkpoint to the files of another runtime."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.hub import folder_of

# target -> the folder of its files, the module that writes them, the packages it needs by import name
TARGETS = {
    "onnx": ("onnx", "to_onnx", ("onnx", "onnxruntime")),
    "executorch": ("executorch", "to_executorch", ("executorch",)),
    "litert": ("litert", "to_litert", ("litert_torch", "ai_edge_litert")),
    "c": ("c", "to_c", ()),
}
EXTRAS = {"onnx": "export", "executorch": "executorch", "litert": "litert"}
VARIANTS = {"onnx": ("fp32", "fp16", "int8"), "executorch": ("fp32",), "litert": ("fp32",), "c": ("stored",)}
BESIDE = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def export(
    name: str | Path,
    to: str,
    out: str | Path | None = None,
    variants: str | Sequence[str] = "all",
    corpus: str | Path | None = None,
    data: str | Path | None = None,
) -> list[Path]:
    """Writes a checkpoint in the format of another runtime, after the files gave the same words as torch.

    Args:
        name: a shipped checkpoint, a folder, or `owner/name[@revision]` on the Hub.
        to: `onnx`, `executorch`, `litert` or `c`.
        out: folder that gets `onnx/model.onnx` etc., and config and tokenizer beside it; None: the checkpoint's own
            folder where `name` is one, else a folder of the checkpoint's name here.
        variants: `all`, or some of fp32, fp16, int8 (ONNX); C has the numbers as they are stored, the others
            have fp32.
        corpus, data: text for the check, as in `zoo.corpora.load_corpus`. Neither given: PTB where the environment
            variable ZOO_DATA has it, else text that the model makes.

    Returns:
        The files written, `check.json` with the measured differences the last of them.

    Raises:
        ZooError: an unknown target or variant, a package or compiler that is not installed.
        CheckpointError: no such checkpoint, or an exported file that does not compute the same.
        CorpusError: a corpus was named that cannot be read.
    """
    if to not in TARGETS:
        raise ZooError(f"there is no export to {to!r}; allowed: {', '.join(TARGETS)}")
    allowed = VARIANTS[to]
    asked = allowed if variants == "all" else (variants,) if isinstance(variants, str) else tuple(variants)
    if not asked or set(asked) - set(allowed):
        raise ZooError(f"variant {', '.join(asked) or 'none'} for {to}; allowed: all, {', '.join(allowed)}")
    kind, module, packages = TARGETS[to]
    folder = folder_of(name)
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ZooError(
                f"the export to {to} needs the package {package} ({error}); type: pip install 'rnnlm-zoo[{EXTRAS[to]}]'"
            ) from error
    from zoo.loading import load

    from .text import check_text

    model, tokenizer = load(name)
    text = check_text(model, tokenizer, corpus, data)
    if out is None:
        out = folder if Path(os.path.expanduser(str(name))).is_dir() else folder_name(str(name))
    out = Path(os.path.expanduser(out))
    if out.exists() and not out.is_dir():
        raise ZooError(f"{out} is a file; give --out a folder")
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    before = _before(out, kind, folder, weights)
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=out, prefix=f".{kind}-") as unchecked:
            report = importlib.import_module(f".{module}", __package__).write(model, text, Path(unchecked), asked)
            versions = {package: importlib.metadata.version(package.replace("_", "-")) for package in packages}
            files = [*report["files"], *report.get("sources", ())]
            sizes = {file: (Path(unchecked) / file).stat().st_size for file in files}
            told = {"name": folder.name, "command": f"zoo export {folder.name} --to {to} --data DIR"}
            report = {**told, "sha256": weights, "versions": versions, "bytes": sizes, **report}
            for key in ("bytes", "files"):  # of variants that were exported before, and stay
                if isinstance(report.get(key), dict):
                    report[key] = before.get(key, {}) | report[key]
            (Path(unchecked) / "check.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            (out / kind).mkdir(exist_ok=True)
            written = [out / kind / file for file in [*files, "check.json"]]
            for path in written:
                os.replace(Path(unchecked) / path.name, path)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                out.rmdir()
        raise
    beside = [file for file in BESIDE if (folder / file).is_file() and not (out / file).exists()]
    for file in beside:
        shutil.copyfile(folder / file, out / file)
    return [out / file for file in beside] + written


def _before(out: Path, kind: str, folder: Path, weights: str) -> dict[str, Any]:
    """The report of an earlier export of the same weights into `out`; {}: there is none.

    Raises:
        ZooError: `out` holds files of another checkpoint, which would be taken for this one's.
    """
    other = [
        file
        for file in BESIDE
        if (out / file).is_file()
        and (folder / file).is_file()
        and (out / file).read_bytes() != (folder / file).read_bytes()
    ]
    report = {}
    with contextlib.suppress(OSError, ValueError):
        report = json.loads((out / kind / "check.json").read_text(encoding="utf-8"))
    if report and report.get("sha256") != weights:
        other.append(f"{kind}/check.json")
    if other:
        raise ZooError(f"{out} holds {other[0]} of another checkpoint; give another --out, or remove what is there")
    return report


def folder_name(name: str) -> str:
    """`owner/name@revision` -> `name`."""
    return name.partition("@")[0].rpartition("/")[2]
