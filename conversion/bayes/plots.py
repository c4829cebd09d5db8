"""Pictures of a sparsified checkpoint: words, gates, sparsity over the epochs, and what thresholds cost.

Drawn is what the checkpoint can show: `words.svg` and `gates.svg` of a text classifier, `thresholds.svg` from its
metrics.json, `sparsity.svg` from the log of its training.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.errors import CheckpointError, ZooError
from zoo.hub import folder_of
from zoo.loading import load_any
from zoo.reviews import Reviews, load_reviews

from ..figures import write_svg
from ..recipe import RECIPES

LOGS = RECIPES / "logs"
MARKED = 40  # words that get their name in the picture
CONSTANT, LIVE = "#9fd0f0", "#1f4e8c"  # as in the thesis, Fig. 2: light gates are constant, dark ones read the data


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 0, or 2 for an error."""
    parser = argparse.ArgumentParser(prog="python -m conversion.bayes.plots", description=__doc__)
    parser.add_argument("checkpoint", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--data", help="folder of the reviews (default: the environment variable ZOO_DATA)")
    parser.add_argument("--log", type=Path, help="log.jsonl of the training (default: that of the recipe's name)")
    parser.add_argument("--out", type=Path, help="folder of the pictures (default: docs/bayes/NAME)")
    given = parser.parse_args(arguments)
    try:
        for file in draw(given.checkpoint, given.data, given.log, given.out):
            print(file)
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ImportError:
        print("error: pictures need matplotlib; type: pip install 'rnnlm-zoo[train]'", file=sys.stderr)
        return 2
    return 0


def draw(name: str, data: str | None = None, log: Path | None = None, out: Path | None = None) -> list[Path]:
    """Draws all that the checkpoint can show; the files.

    Args:
        data, log, out: as the options of the command.

    Raises:
        CheckpointError: there is nothing of Bayesian sparsification to show. CorpusError: the reviews are missing.
    """
    folder = folder_of(name)
    out = out or Path("docs", "bayes", folder.name)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    pictures: dict[str, Any] = {}
    steps = [step for step in metrics.get("steps", ()) if step.get("thresholds")]
    if steps:
        unit = "perplexity" if "valid_perplexity" in steps[0] else "validation loss"
        pictures["thresholds"] = thresholds_picture(steps[0]["thresholds"], steps[0]["threshold"], unit)
    log = log or LOGS / f"{folder.name}.jsonl"
    if log.is_file():
        entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        if entries := [entry for entry in entries if "density" in entry]:
            pictures["sparsity"] = sparsity_picture(entries)
    model, tokenizer = load_any(folder)
    if hasattr(model, "score"):
        pictures["gates"] = gates_picture(model)
        reviews = load_reviews(metrics["corpus"], data, tokenizer, splits=("train",))
        pictures["words"] = words_picture(model, reviews)
    if not pictures:
        raise CheckpointError(
            f"{name} was not sparsified by bayes and is no text classifier, so it has nothing to show; name another "
            "checkpoint, or give its training's --log"
        )
    files = {out / f"{kind}.svg": figure for kind, figure in pictures.items()}
    for file, figure in files.items():
        write_svg(figure, file)
    return list(files)


def figure_of(width: float = 7.0, height: float = 4.5) -> tuple[Any, Any]:
    """A figure and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def thresholds_picture(rows: list[dict[str, Any]], chosen: float, unit: str) -> Any:
    """The validation loss over the numbers that each threshold leaves; a ring is around the one taken."""
    figure, axes = figure_of()
    values = [math.exp(row["valid_loss"]) if unit == "perplexity" else row["valid_loss"] for row in rows]
    counts = [row["nonzeros"] for row in rows]
    axes.plot(counts, values, marker="o", color=LIVE)
    for row, count, value in zip(rows, counts, values, strict=True):
        axes.annotate(f"{row['threshold']:g}", (count, value), textcoords="offset points", xytext=(4, 5), fontsize=8)
        if row["threshold"] == chosen:
            axes.plot([count], [value], marker="o", markersize=14, fillstyle="none", color="#c0392b")
    axes.set(xlabel="numbers that are not zero", ylabel=unit, xscale="log", title="Threshold, before fine-tuning")
    axes.grid(alpha=0.3)
    return figure


def sparsity_picture(entries: list[dict[str, Any]]) -> Any:
    """The share of numbers that stay in every matrix over the epochs."""
    figure, axes = figure_of()
    for name in entries[0]["density"]:
        axes.plot([e["epoch"] for e in entries], [max(e["density"][name], 1e-6) for e in entries], label=name)
    axes.set(xlabel="epochs under noise", ylabel="share of numbers that stay", yscale="log", title="Sparsity")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


@torch.no_grad()
def gates_picture(model: Any) -> Any:
    """The gates of every hidden unit: dark if they read the data, light with their value if they are constant."""
    layer = model.model.layers[0]
    names = {"lstm": ("i", "f", "g", "o"), "cifg": ("i", "g", "o"), "gru": ("r", "z", "n"), "rnn": ("h",)}[layer.cell]
    H = model.config.hidden_size
    live = (layer.input.to_dense() != 0).any(1) | (layer.recurrent.to_dense() != 0).any(1)
    bias = layer.bias.detach()
    figure, axes = figure_of(1.2 + 0.9 * len(names), 0.9 + 0.45 * H)
    mask = live[: len(names) * H].view(len(names), H).T.numpy()
    from matplotlib.colors import ListedColormap

    axes.imshow(mask, cmap=ListedColormap([CONSTANT, LIVE]), vmin=0, vmax=1, aspect="auto")
    for unit in range(H):
        for number, gate in enumerate(names):
            if not mask[unit, number]:
                value = bias[number * H + unit]
                value = torch.tanh(value) if gate in ("g", "n", "h") else torch.sigmoid(value)
                axes.text(number, unit, f"{float(value):.2f}", ha="center", va="center", fontsize=9)
    axes.set(xticks=range(len(names)), yticks=range(H), xticklabels=names, ylabel="hidden unit")
    axes.set_title("Gates; light: constant", fontsize=10)
    return figure


@torch.no_grad()
def words_picture(model: Any, reviews: Reviews) -> Any:
    """The first principal element of every word that stays, over the mean label of the reviews that have it."""
    table = model.model.embed_tokens.to_dense().detach()
    words = (table != 0).any(1).nonzero()[:, 0].numpy()
    if len(words) == 0:
        raise CheckpointError("no word of this checkpoint has a vector, so there are no words to show")
    labels = mean_labels(reviews, len(table))
    kept = table[words]
    centred = kept - kept.mean(0)
    _, _, axis = torch.linalg.svd(centred, full_matrices=False)
    element = (centred @ axis[0]).numpy()
    if np.corrcoef(element, labels[words])[0, 1] < 0:
        element = -element
    figure, axes = figure_of()
    axes.scatter(element, labels[words], s=10, color=LIVE)
    far = np.argsort(-np.abs(element - element.mean()))[:MARKED]
    for place in far:
        word = reviews.vocabulary[words[place]]
        axes.annotate(
            word, (element[place], labels[words[place]]), fontsize=7, xytext=(2, 2), textcoords="offset points"
        )
    label = "element of the word vector" if kept.shape[1] == 1 else "main direction of the word vectors"
    told = "share of positive reviews" if reviews.num_labels > 1 else "mean rating"
    axes.set(xlabel=label, ylabel=f"{told} among those with the word", title=f"{len(words)} words that stay")
    axes.grid(alpha=0.3)
    return figure


def mean_labels(reviews: Reviews, size: int) -> np.ndarray:
    """Mean label [size] over all occurrences of every word in the training reviews; that of all where it has none."""
    sums, counts = np.zeros(size), np.zeros(size)
    split = reviews.splits["train"]
    for text, label in zip(split.texts, split.labels, strict=True):
        np.add.at(counts, text, 1)
        np.add.at(sums, text, float(label))
    return np.where(counts > 0, sums / np.maximum(counts, 1), float(np.mean(split.labels)))


if __name__ == "__main__":
    sys.exit(main())
