"""What is known of a checkpoint: its folder, and what was measured on its weights or predicted for them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo import specs
from zoo.catalog import CLASSIFICATION
from zoo.errors import CheckpointError
from zoo.fetching import sha256_of
from zoo.layout import Layout, layout_of, read_layout

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPLITS = ("valid", "test")
HEADLINE = ("perplexity", "top1", "top3", "accuracy", "mse", "rmse")  # those that there are, in the catalog
# Beginning of a file's name -> what makes it, and what it must hold to be rendered.
KINDS: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "size": ("size", (("parameters",), ("nonzeros",), ("by_rows",), ("bytes",), ("tokenizer_bytes",))),
    "latency": ("latency", (("device",), ("protocol", "threads"), ("milliseconds",))),
    "predicted": ("predict", (("device",), ("predictions",))),
    "keyboard": ("keyboard", ()),
    "personal": ("personal", (("command",),)),
    "seeds": ("seeds", (("command",), ("rows",))),
    "opencl": ("agreement", (("device",), ("words",), ("storages",))),
}


@dataclass(frozen=True)
class Facts:
    """What is known of one checkpoint: its files, what was measured on them, and what was predicted for them."""

    name: str
    layout: Layout
    recipe: str
    sha256: dict[str, str]  # file -> sha256
    size: dict  # of bench.size
    quality: dict[str, dict]  # corpus -> results of bench.quality
    latency: list[dict]  # of bench.latency, one per device and number of threads
    agreement: list[dict]  # of bench.agreement, one per device
    predicted: list[dict]  # of bench.predict, one per device
    onnx: dict  # what `zoo export` found; empty: not exported
    steps: list[dict]  # of a compression, the parent first; none where it was trained from scratch
    structure: dict = field(default_factory=dict)  # what a compression left of the network; empty: not told
    keyboard: dict[str, dict] = field(default_factory=dict)  # file stem -> results of bench.keyboard and the like
    trained_on: str = ""  # the corpus that metrics.json names
    seeds: list[dict] = field(default_factory=list)  # a row per seed, its own first; empty: not trained again

    @property
    def parent(self) -> str | None:
        """The checkpoint that this one was made from."""
        return tomllib.loads(self.recipe).get("parent") or None

    @property
    def parentage(self) -> str:
        """What its weights began as, in a sentence."""
        if self.parent is None:
            return "Trained from scratch."
        recipe = tomllib.loads(self.recipe)
        if not recipe.get("stage"):
            return f"Compressed from `{self.parent}`."
        return f"Trained on from the weights of `{self.parent}`{', then compressed' if recipe.get('compress') else ''}."

    @property
    def corpus(self) -> str:
        """The corpus that it was trained on; where neither recipe nor metrics name one, the Penn Treebank."""
        return tomllib.loads(self.recipe).get("corpus") or self.trained_on or "ptb"

    @property
    def description(self) -> str:
        """Cell, layers, widths and weight forms in one line."""
        return ", ".join([self.layout.describe(), *forms_in_words(self.layout)])

    @property
    def catalog_row(self) -> dict:
        """Its row of catalog.json; see zoo.catalog.Entry."""
        return {
            "description": self.description,
            "parent": self.parent,
            "parameters": self.size["parameters"],
            "nonzeros": self.size["nonzeros"],
            "bytes": self.size["bytes"],
            "quality": {
                corpus: {
                    f"{split}_{key}": round(float(found[split][key]), 6)
                    for split in SPLITS
                    for key in HEADLINE
                    if key in found[split]
                }
                for corpus, found in self.quality.items()
            },
            "sha256": self.sha256,
            **({} if self.layout.labels is None else {"task": CLASSIFICATION}),
        }


def card_of(name: str) -> str:
    """Where a checkpoint's card is, from the project's root."""
    return f"zoo/checkpoints/{name}/README.md"


def forms_in_words(layout: Layout) -> list[str]:
    """The weight forms that are not dense, those that most matrices share last."""
    groups: dict[str, list[str]] = {}
    for name in layout.shapes:
        groups.setdefault(specs.words(layout.spec(name)), []).append(name)
    if groups.keys() == {"dense"}:
        return []
    *few, (form, _) = sorted(groups.items(), key=lambda group: len(group[1]))
    told = [f"{' '.join(roles(names, layout))} {form}" for form, names in few if form != "dense"]
    if form == "dense":
        return told
    return [*told, f"all else {form}" if few else f"all {form}"]


def roles(names: list[str], layout: Layout) -> list[str]:
    """Names of matrices, those of all layers as one."""
    told = []
    for name in names:
        role = name.partition(".")[0]
        layers = {other for other in layout.shapes if other.partition(".")[0] == role}
        told.append(role if layers <= set(names) else name)
    return list(dict.fromkeys(told))


def gather(root: Path, name: str, folder: Path | None = None) -> Facts:
    """Reads a checkpoint folder and its results.

    Args:
        root: of the project, whose bench/results/NAME are the results.
        folder: the checkpoint; None: the shipped one of this name.

    Raises:
        CheckpointError: a file or a result is missing, or a result is not whole or was measured on other weights.
    """
    folder, results = folder or root / "zoo" / "checkpoints" / name, root / "bench" / "results" / name
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    sha256 = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    sha256.pop("README.md", None)  # the card comes after the catalog
    for needed in ("config.json", "model.safetensors", "recipe.toml"):
        if needed not in sha256:
            raise CheckpointError(f"{folder} lacks {needed}; build it: python -m conversion.build {name}")
    weights = sha256["model.safetensors"]
    measured = _measured(results, name, weights)
    if "size" not in measured:
        raise CheckpointError(f"{name} has no {results / 'size.json'}; measure it: python -m bench.size {name}")
    known = _by_kind(measured)
    if not known["quality"]:
        raise CheckpointError(f"{name} has no quality in {results}; measure it: python -m bench.quality {name}")
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return Facts(
        name=name,
        layout=read_layout(folder),
        recipe=(folder / "recipe.toml").read_text(encoding="utf-8").strip(),
        sha256=sha256,
        steps=metrics.get("steps", []),
        structure=metrics.get("structure", {}),
        trained_on=metrics.get("corpus", ""),
        **known,
    )


def derived(root: Path) -> list[str]:
    """Checkpoints that are measured and not here, because a recipe makes them from one that is, without training."""
    found = []
    for path in sorted((root / "conversion" / "recipes").glob("*.toml")):
        recipe, checkpoints = tomllib.loads(path.read_text(encoding="utf-8")), root / "zoo" / "checkpoints"
        size = root / "bench" / "results" / path.stem / "size.json"
        if (
            (checkpoints / recipe.get("parent", " ")).is_dir()
            and not (checkpoints / path.stem).exists()
            and not any(step.get("stage") for step in (recipe, *recipe.get("compress", ())))
            and size.is_file()
            and "config" in json.loads(size.read_text(encoding="utf-8"))
        ):
            found.append(path.stem)
    return found


def gather_derived(root: Path, name: str) -> Facts:
    """Of a checkpoint of `derived`: its recipe, and what was measured on the weights that it makes."""
    results = root / "bench" / "results" / name
    size = json.loads((results / "size.json").read_text(encoding="utf-8"))
    return Facts(
        name=name,
        layout=layout_of(size["config"], name),
        recipe=(root / "conversion" / "recipes" / f"{name}.toml").read_text(encoding="utf-8").strip(),
        sha256={"model.safetensors": size["sha256"]},
        steps=[],
        **_by_kind(_measured(results, name, size["sha256"])),
    )


def _measured(results: Path, name: str, weights: str) -> dict[str, dict[str, Any]]:
    """The results of a checkpoint by the stems of their files, all of the weights with this sha256."""
    return {path.stem: _result(path, name, weights) for path in sorted(results.glob("*.json"))}


def _by_kind(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The fields of `Facts` that results fill."""

    def of(*kinds: str) -> dict[str, dict[str, Any]]:
        return {stem: found for stem, found in measured.items() if stem.startswith(kinds)}

    return {
        "size": measured["size"],
        "quality": {stem: found for stem, found in measured.items() if set(SPLITS) <= set(found)},
        "latency": sorted(of("latency-").values(), key=lambda found: (found["device"], found["protocol"]["threads"])),
        "agreement": list(of("opencl-").values()),
        "predicted": list(of("predicted-").values()),
        "onnx": measured.get("onnx", {}),
        "keyboard": of("keyboard", "personal"),
        "seeds": measured.get("seeds", {}).get("rows", []),
    }


def _result(path: Path, name: str, weights: str) -> dict[str, Any]:
    """A result file, refused unless it is whole and of the weights with this sha256."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON; measure again, or remove it") from error
    verb, needed = KINDS.get(path.stem.partition("-")[0], ("quality", ()))
    usual = f"python -m bench.{verb} {name}"
    command = found.get("command", usual) if isinstance(found, dict) else usual
    for keys in (("sha256",), *needed):
        if not _has(found, keys):
            raise CheckpointError(f"{path} has no {'.'.join(keys)}; make it with: {command}")
    if found["sha256"] != weights:
        raise CheckpointError(f"{path} was measured on other weights; measure again: {command}")
    if (found.get("kind") == "prediction") != path.stem.startswith("predicted-"):
        raise CheckpointError(
            f"{path} is {'a' if found.get('kind') else 'no'} prediction; predictions are predicted-*.json and nothing "
            "else is: rename or remove it"
        )
    return found


def _has(found: Any, keys: Sequence[str]) -> bool:
    """Whether nested objects have a value under these keys."""
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            return False
        found = found[key]
    return True
