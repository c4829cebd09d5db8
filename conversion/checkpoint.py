"""From a trained model to a checkpoint folder, complete or absent."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save

from zoo.corpora import Corpus
from zoo.counts import parameters_of
from zoo.errors import CheckpointError
from zoo.layout import layout_of
from zoo.reviews import Reviews
from zoo.scoring import TEMPERATURES, Scores, best_temperature, score_stream
from zoo.text_scoring import score_texts

from .bayes.shrink import structure_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HALF_LABEL_COST = 0.001  # accuracy, or squared error, that it may change
HALF_COST = 0.05  # validation perplexity that halving the file may cost
WHOLE = ("config.json", "model.safetensors")  # a folder with these is a checkpoint
OWN = {  # what may lie in one beside code, so that it may be replaced
    *WHOLE,
    *("generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("metrics.json", "recipe.toml", "digest.json", "README.md", "__pycache__"),
    *("onnx", "executorch", "litert", "c"),  # exports
}


def save_checkpoint(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    recipe: str,
    metrics: dict[str, Any],
    half: bool,
    replace: bool = False,
) -> None:
    """Writes a checkpoint folder under another name and gives it its own when it is whole.

    Args:
        recipe: the text of recipe.toml.
        metrics: the content of metrics.json.
        half: whether float tensors are stored in float16; the config says float32 all the same, so they load as that.
        replace: whether a folder that is there is replaced.

    Raises:
        FileExistsError: the folder is there and `replace` is False.
        CheckpointError: as `check_place`.
    """
    if folder.exists() and not replace:
        raise FileExistsError(folder)
    check_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        compact(temporary / "tokenizer.json")
        weights = temporary / "model.safetensors"
        tensors = load_file(weights)
        weights.unlink()  # the library's file is readable by its owner only
        weights.write_bytes(save(half_of(tensors) if half else tensors, metadata={"format": "pt"}))
        _write(temporary / "metrics.json", json.dumps(metrics, indent=2))
        _write(temporary / "recipe.toml", recipe)
        for file in temporary.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if old.exists() and not folder.exists():  # stopped between the two renames
            old.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)


def check_place(folder: Path) -> None:
    """Refuses (CheckpointError) a place whose replacement would take with it what is no checkpoint."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise CheckpointError(f"{folder} is a file or a link; give the checkpoint a folder of its own, e.g. {folder}.d")
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise CheckpointError(f"{folder} is the folder that this runs in; give a folder of its own, e.g. my-model")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if not names:
        return
    others = sorted(name for name in names - OWN if not name.endswith(".py"))
    if others or not names.issuperset(WHOLE):
        what = f"holds {', '.join(others[:3])}{' ...' if len(others) > 3 else ''}" if others else "is no checkpoint"
        raise CheckpointError(f"{folder} {what}; to replace it would delete that: move it away, or give another folder")


def compact(file: Path) -> None:
    """Takes the blanks out of a JSON file, a third of what the library writes."""
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def half_of(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors with float32 rounded to float16."""
    return {name: tensor.half() if tensor.dtype == torch.float32 else tensor for name, tensor in tensors.items()}


def measure(model: Any, corpus: Corpus | Reviews) -> tuple[dict[str, Any], bool]:
    """Perplexities at batch 1, the temperature fitted on validation, and whether to store the weights in float16.

    The model is left with the weights as they will be loaded from the file. The test text is read once, at the end.
    Of a text classifier the qualities are those of labels.
    """
    if isinstance(corpus, Reviews):
        return measure_labels(model, corpus)
    tokens, eos_id = corpus.splits, corpus.eos_id
    exact = score_stream(model, tokens["valid"], eos_id, temperatures=TEMPERATURES)
    temperature = best_temperature(exact)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(half_of(weights))
    valid = score_stream(model, tokens["valid"], eos_id, temperatures=(temperature,))
    cost = valid.perplexity - exact.perplexity
    half = cost <= HALF_COST
    if not half:
        model.load_state_dict(weights)
        valid = score_stream(model, tokens["valid"], eos_id, temperatures=(temperature,))
    found = {"valid": _row(valid, temperature)}
    if "test" in tokens:
        found["test"] = _row(score_stream(model, tokens["test"], eos_id, temperatures=(temperature,)), temperature)
    stored = {"dtype": "float16" if half else "float32", "float16_cost": round(cost, 5)}
    parameters = sum(parameters_of(layout_of(model.config.to_dict())).values())
    return {**found, "temperature": temperature, "stored": stored, "parameters": parameters}, half


def measure_labels(model: Any, reviews: Reviews) -> tuple[dict[str, Any], bool]:
    """`measure` of a text classifier, with its structure in the counts of the thesis."""
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = {}

    def scores(split: str) -> dict[str, float]:
        told = score_texts(model, reviews.splits[split].texts, reviews.splits[split].labels).summary()
        return {key: round(value, 6) for key, value in told.items() if key != "ms_per_text"}

    exact = scores("valid")
    model.load_state_dict(half_of(weights))
    found["valid"] = scores("valid")
    measured = "accuracy" if "accuracy" in exact else "mse"
    cost = abs(found["valid"][measured] - exact[measured])
    half = cost <= HALF_LABEL_COST
    if not half:
        model.load_state_dict(weights)
        found["valid"] = exact
    if "test" in reviews.splits:
        found["test"] = scores("test")
    stored = {"dtype": "float16" if half else "float32", "float16_cost": round(cost, 6)}
    layout = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    parameters = sum(parameters_of(layout_of(layout)).values())
    return {**found, "structure": structure_of(model), "stored": stored, "parameters": parameters}, half


def provenance() -> dict[str, str]:
    """Versions of what makes checkpoints, and the git commit of this code, if it is in a repository."""
    found = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return found
    return {**found, "commit": commit + (" with changes" if status.strip() else "")}


def _row(scores: Scores, temperature: float) -> dict[str, Any]:
    """One split's numbers."""
    return {
        "targets": scores.targets,
        "perplexity": round(scores.perplexity, 4),
        "standard_error": round(scores.standard_error, 4),
        "perplexity_at_temperature": round(math.exp(scores.nll_at[temperature] / scores.targets), 4),
        "top1": round(scores.top1, 5),
        "top3": round(scores.top3, 5),
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
