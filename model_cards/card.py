"""The model card of a checkpoint in Markdown, with the Hub's metadata before it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from zoo.errors import CheckpointError

from . import classifier, keyboard, latency
from .adapting import adapting_table
from .compression import steps_table, structure_tables
from .facts import SPLITS, Facts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
QUALITY = (  # of each split in the metadata: type, name, key of the results
    ("perplexity", "word perplexity", "perplexity"),
    ("accuracy", "top-1", "top1"),
    ("accuracy", "top-3", "top3"),
)


@dataclass(frozen=True)
class OnHub:
    """What the card of a repository of the Hub says beside what the card of a folder says.

    Attributes:
        repo_id: the repository.
        base_model: the repository of the checkpoint that this one was compressed from; None: it is not on the Hub.
        picture: the file of the picture in the repository; "": there is none.
    """

    repo_id: str
    base_model: str | None = None
    picture: str = ""


def card(facts: Facts, on_hub: OnHub | None = None) -> str:
    """The model card in Markdown, with the Hub's metadata before it."""
    from huggingface_hub import ModelCardData

    corpora = tomllib.loads((HERE / "corpora.toml").read_text(encoding="utf-8"))
    if facts.corpus not in corpora:
        raise CheckpointError(
            f"model_cards/corpora.toml has no section {facts.corpus!r}, on which {facts.name} was trained; add it"
        )
    corpus = corpora[facts.corpus]
    own = classifier.metadata(facts, corpora) if classifies(facts) else _metadata(facts, corpora)
    shared = ModelCardData(
        language=corpus["language"],
        license="apache-2.0",
        library_name="transformers",
        datasets=[corpus["dataset"]] if "dataset" in corpus else None,
        base_model=facts.parent if on_hub is None else on_hub.base_model,
        model_name=facts.name,
        **own,
    )
    places = {
        "where": on_hub.repo_id if on_hub else f"path/to/{facts.name}",
        "source": "From the Hub (give a tag or commit as `revision`)" if on_hub else "From this folder",
        "picture": f"\n![Size against quality, this checkpoint marked]({on_hub.picture})\n"
        if on_hub and on_hub.picture
        else "",
    }
    text = classifier.page(facts, corpora, places) if classifies(facts) else _page(facts, corpora, places)
    return f"---\n{shared.to_yaml()}\n---\n\n{text}"


def classifies(facts: Facts) -> bool:
    """Whether a checkpoint is a text classifier, not a language model."""
    return facts.layout.labels is not None


def _metadata(facts: Facts, corpora: dict[str, Any]) -> dict[str, Any]:
    """What the Hub's metadata have of a language model, beside what those of all checkpoints have."""
    from huggingface_hub import EvalResult

    return {
        "pipeline_tag": "text-generation",
        "tags": ["rnnlm", facts.layout.cell, "next-word-prediction", "compression"],
        "metrics": ["perplexity", "accuracy"],
        "eval_results": [
            EvalResult(
                task_type="text-generation",
                dataset_type=corpora[on].get("dataset", on),
                dataset_name=corpora[on]["name"],
                dataset_split=split,
                metric_type=kind,
                metric_name=name,
                metric_value=value,
            )
            for on, found in facts.quality.items()
            if on in corpora
            for split in SPLITS
            for kind, name, value in (
                *((kind, name, round(float(found[split][key]), 4)) for kind, name, key in QUALITY),
                *(measures(facts) if split == "test" else ()),
            )
        ],
    }


def measures(facts: Facts) -> list[tuple[str, str, float]]:
    """Size and latency on each device for the metadata: type, name, value."""
    timed = [
        ("latency", f"ms a token, {latency.device_of(found)}", round(found["milliseconds"][latency.OURS]["median"], 4))
        for found in facts.latency
        if latency.OURS in found["milliseconds"]
    ]
    return [("bytes", "bytes", facts.size["bytes"]), *timed]


def _page(facts: Facts, corpora: dict[str, Any], places: dict[str, str]) -> str:
    """The card of a language model without the metadata."""
    corpus = corpora[facts.corpus]
    return Template((HERE / "template.md").read_text(encoding="utf-8")).substitute(
        name=facts.name,
        identifier=re.sub(r"\W", "_", facts.name),
        description=facts.description,
        headline=" ".join(
            f"Test perplexity {found['test']['perplexity']:.2f} on {corpora.get(on, {}).get('name', on)}."
            for on, found in facts.quality.items()
        ),
        steps=steps_table(facts.steps) + structure_tables(facts.structure),
        parentage=facts.parentage,
        recipe=facts.recipe,
        quality="\n".join(_quality_table(on, found) for on, found in facts.quality.items()),
        latency=latency.section(facts),
        keyboard=keyboard.section(facts.keyboard),
        onnx=_onnx_table(facts.onnx),
        commands="\n".join(f"| quality on {on} | `{found['command']}` |" for on, found in facts.quality.items()),
        **places,
        **{key: f"{facts.size[key]:,}" for key in ("parameters", "nonzeros", "by_rows", "bytes", "tokenizer_bytes")},
        **{key: corpus[key].strip() for key in ("title", "licence", "style", "limits")},
    )


def _onnx_table(found: dict) -> str:
    """The files of an export, and how far they agree with torch."""
    if not found:
        return "Not measured yet.\n"
    lines = [
        f"{found['text']}; {', '.join(f'{package} {version}' for package, version in found['versions'].items())}:",
        "",
        "| file | bytes | same best three words | largest difference of a logit |",
        "|---|---:|---:|---:|",
    ]
    for file, row in found["files"].items():
        same, most = row["same_top3"], row["max_logit_difference"]
        lines.append(f"| {file} | {found['bytes'][file]:,} | {same:.2%} | {most:.2g} |")
    return "\n".join([*lines, ""])


def _quality_table(corpus: str, found: dict) -> str:
    """Rows of one corpus: what was counted on each split."""
    lines = [
        f"| {corpus} | targets | perplexity | standard error | at temperature {found['temperature']:.2f} "
        "| top-1 | top-3 | 1/perplexity |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for split in SPLITS:
        row = found[split]
        lines.append(
            f"| {split} | {row['targets']:,} | {row['perplexity']:.2f} | {row['standard_error']:.2f} "
            f"| {row['perplexity_at_temperature']:.2f} | {row['top1']:.4f} | {row['top3']:.4f} "
            f"| {row['reciprocal_perplexity']:.4f} |"
        )
    return "\n".join([*lines, "", adapting_table(corpus, found)]).rstrip() + "\n"
