"""The card of a checkpoint as it goes to the Hub, with a picture that marks it; no number without its results file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

from zoo.catalog import CLASSIFICATION, LANGUAGE, entries
from zoo.errors import CheckpointError
from zoo.fetching import sha256_of
from zoo.layout import read_layout
from zoo.published import versions

from . import latency, pareto
from .card import HERE, OnHub, card
from .facts import Facts, forms_in_words, gather

ROOT = Path(__file__).parents[1]
CARD, PICTURE, RESULTS = "README.md", "size-against-perplexity.svg", "results.json"


def files_of(folder: Path, repo_id: str, root: Path = ROOT) -> dict[str, str]:
    """The card, its picture and the results behind its numbers: file name -> content.

    Where bench/results has the measurements of these weights, the card is rendered from them. Else the folder's own
    card is taken if its metadata have no numbers but those of the metrics.json and results.json beside it, and where
    there is none, one without numbers is made.

    Args:
        folder: a checkpoint folder.
        repo_id: the repository that it goes to.

    Raises:
        CheckpointError: the folder's card has numbers that no results file has.
    """
    own = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).is_file() else None
    facts = _measured(root, folder)
    if facts is None:
        if own is None:
            return {CARD: _plain(folder, repo_id)}
        check_numbers(own, _numbers_in(folder), folder / CARD)
        return {CARD: own}
    shipped = root / "zoo" / "checkpoints" / folder.name
    if folder.resolve() == shipped.resolve() and own is not None and own != card(facts):
        raise CheckpointError(
            f"{folder / CARD} is not what the results say; numbers of a card come from bench/results only; type: "
            "python -m model_cards.render"
        )
    if own is not None:
        check_numbers(own, list(_leaves([facts.quality, facts.size, facts.latency])), folder / CARD)
    known = [found for name in entries() if (found := _measured(root, root / "zoo" / "checkpoints" / name))]
    drawn = pareto.picture([*(found for found in known if found.name != facts.name), facts], facts.name)
    picture = drawn if pareto.CORPUS in facts.quality and "perplexity" in facts.quality[pareto.CORPUS]["test"] else ""
    parent = next((version.repo_id for version in reversed(versions(facts.parent or "")) if version.repo_id), None)
    text = card(facts, OnHub(repo_id, parent, PICTURE if picture else ""))
    made = {CARD: text, RESULTS: _results(facts)} | ({PICTURE: picture} if picture else {})
    return made


def _results(facts: Facts) -> str:
    """What a card's metadata say, as it was measured, so that the numbers travel with the weights they are of."""
    timed = {latency.device_of(found): found["milliseconds"] for found in facts.latency}
    content = {"sha256": facts.sha256["model.safetensors"], "size": facts.size, "quality": facts.quality}
    return json.dumps(content | {"milliseconds": timed}, indent=1) + "\n"


def check_numbers(text: str, known: list[float], path: Path) -> None:
    """Refuses a card with a number in its metadata that was not measured.

    Args:
        text: the card.
        known: every number that was.
        path: of the card, for the message.

    Raises:
        CheckpointError: names the number, or the metadata cannot be read.
    """
    from huggingface_hub import ModelCard

    try:
        found = getattr(ModelCard(text).data, "eval_results", None) or []
    except Exception as error:  # yaml has many
        raise CheckpointError(f"{path} has metadata that cannot be read: {' '.join(str(error).split())}") from error
    for result in found:
        value = result.metric_value
        digits = len(repr(value).partition(".")[2]) if isinstance(value, float) else 0
        if not isinstance(value, int | float) or not any(round(number, digits) == value for number in known):
            raise CheckpointError(
                f"{path} says {result.metric_type} {value} on {result.dataset_name}, and no results file of these "
                f"weights has that number; measure them: python -m bench.size {path.parent}, python -m bench.quality "
                f"{path.parent}; or take it out of the card"
            )


def _measured(root: Path, folder: Path) -> Facts | None:
    """What was measured on these weights; None where nothing was."""
    results = root / "bench" / "results" / folder.name
    return gather(root, folder.name, folder) if (results / "size.json").is_file() else None


def _numbers_in(folder: Path) -> list[float]:
    """The numbers of a folder's metrics.json, and of its results.json if that is of its weights."""
    numbers = list[float]()
    for name in ("metrics.json", RESULTS):
        found = json.loads((folder / name).read_text(encoding="utf-8")) if (folder / name).is_file() else {}
        if name != RESULTS or found.get("sha256") == sha256_of(folder / "model.safetensors"):
            numbers += _leaves(found)
    return numbers


def _leaves(value: Any) -> Iterator[float]:
    """Every number in nested JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _plain(folder: Path, repo_id: str) -> str:
    """A card without numbers."""
    from huggingface_hub import ModelCardData

    layout = read_layout(folder)
    language = layout.labels is None
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=LANGUAGE if language else CLASSIFICATION,
        tags=["rnnlm", layout.cell],
    )
    page = Template((HERE / "plain_template.md").read_text(encoding="utf-8")).substitute(
        name=folder.name,
        repo_id=repo_id,
        description=", ".join([layout.describe(), *forms_in_words(layout)]),
        auto="AutoModelForCausalLM" if language else "AutoModelForSequenceClassification",
    )
    return f"---\n{data.to_yaml()}\n---\n\n{page}"
