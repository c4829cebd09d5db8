"""The model card of a text classifier, and the README's table of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from string import Template
from typing import Any

from .compression import steps_table, structure_in_words, structure_tables
from .facts import SPLITS, Facts, card_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEMPLATE = Path(__file__).with_name("classifier_template.md")
# Metric -> the columns of its table (heading, key, digits), what is said of them.
TABLES: dict[str, tuple[tuple[tuple[str, str, int], ...], str]] = {
    "accuracy": (
        (("accuracy", "accuracy", 4), ("standard error", "standard_error", 4), ("cross entropy", "loss", 4)),
        "Accuracy is the share of texts whose most probable class is theirs; half of it is chance.",
    ),
    "rmse": (
        (
            ("rmse", "rmse", 4),
            ("standard error", "standard_error", 4),
            ("mse", "mse", 4),
            ("mse of the mean", "variance", 4),
        ),
        "Rmse is the root of the mean squared error, mse, of the predicted numbers, which are taken as they are; the "
        "standard\nerror is that of the rmse. The mse of the mean is that of a model that always predicts the mean "
        "rating of the split.",
    ),
}
METHOD = """The method:

```bibtex
@inproceedings{chirkova2018bayesian,
  title     = {Bayesian Compression for Natural Language Processing},
  author    = {Chirkova, Nadezhda and Lobacheva, Ekaterina and Vetrov, Dmitry},
  booktitle = {Proceedings of the 2018 Conference on Empirical Methods in Natural Language Processing},
  pages     = {2910--2915},
  year      = {2018},
  doi       = {10.18653/v1/D18-1319}
}
```

"""


def metric_of(facts: Facts) -> str:
    """What a text classifier is judged by."""
    return "rmse" if facts.layout.labels == 1 else "accuracy"


def metadata(facts: Facts, corpora: dict[str, Any]) -> dict[str, Any]:
    """What the Hub's metadata have of a text classifier, beside what those of all checkpoints have."""
    from huggingface_hub import EvalResult

    metrics = ["rmse", "mse"] if metric_of(facts) == "rmse" else ["accuracy"]
    return {
        "pipeline_tag": "text-classification",
        "tags": ["rnnlm", facts.layout.cell, "sentiment-analysis", "compression"],
        "metrics": metrics,
        "eval_results": [
            EvalResult(
                task_type="text-classification",
                dataset_type=corpora[on].get("dataset", on),
                dataset_name=corpora[on]["name"],
                dataset_split=split,
                metric_type=metric,
                metric_name=metric,
                metric_value=value,
            )
            for on, found in facts.quality.items()
            if on in corpora
            for split in SPLITS
            for metric, value in (
                *((metric, round(float(found[split][metric]), 4)) for metric in metrics),
                *([("bytes", facts.size["bytes"])] if split == "test" else ()),
            )
        ],
    }


def page(facts: Facts, corpora: dict[str, Any], places: dict[str, str]) -> str:
    """The card without the metadata.

    Args:
        places: where the card says that the checkpoint is: `where`, `source`, `picture`.
    """
    corpus, metric = corpora[facts.corpus], metric_of(facts)
    steps = tomllib.loads(facts.recipe).get("compress", [])
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=facts.name,
        identifier=re.sub(r"\W", "_", facts.name),
        description=facts.description,
        headline=" ".join(
            f"Test {metric} {found['test'][metric]:.4f} on {corpora.get(on, {}).get('name', on)}."
            for on, found in facts.quality.items()
        ),
        steps=steps_table(facts.steps),
        structure=structure_tables(facts.structure),
        parentage=facts.parentage,
        recipe=facts.recipe,
        quality="\n".join(_quality_table(on, found, metric) for on, found in facts.quality.items()),
        measure=TABLES[metric][1],
        answer="logits[:, 0].tolist()" if metric == "rmse" else "logits.softmax(1).tolist()",
        commands="\n".join(f"| quality on {on} | `{found['command']}` |" for on, found in facts.quality.items()),
        **places,
        method=METHOD if any(step.get("method") == "bayes" for step in steps) else "",
        **{key: f"{facts.size[key]:,}" for key in ("parameters", "nonzeros", "by_rows", "bytes", "tokenizer_bytes")},
        **{key: corpus[key].strip() for key in ("title", "licence", "style", "limits", "citation")},
    )


def _quality_table(corpus: str, found: dict, metric: str) -> str:
    """Rows of one corpus: what was found on each split."""
    columns = [column for column in TABLES[metric][0] if column[1] in found["test"]]
    lines = [f"| {corpus} | texts | {' | '.join(heading for heading, *_ in columns)} |"]
    lines.append(f"|---|{'---:|' * (1 + len(columns))}")
    for split in SPLITS:
        row = found[split]
        told = [f"{row[key]:.{digits}f}" for _, key, digits in columns]
        lines.append(f"| {split} | {row['texts']:,} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


def table(checkpoints: list[Facts]) -> str:
    """The README's table of text classifiers."""
    lines = [
        "| checkpoint | network | left of it | parameters | nonzeros | MB | corpus | measure | valid | test | +- |",
        "|---|---|---|---:|---:|---:|---|---|---:|---:|---:|",
    ]
    for facts in checkpoints:
        metric, size = metric_of(facts), facts.size
        counts = f"{size['parameters']:,} | {size['nonzeros']:,} | {size['bytes'] / 1e6:.3f}"
        for corpus, found in facts.quality.items():
            numbers = [found["valid"][metric], found["test"][metric], found["test"]["standard_error"]]
            lines.append(
                f"| [{facts.name}]({card_of(facts.name)}) | {facts.description} "
                f"| {structure_in_words(facts.structure)} | {counts} | {corpus} | {metric} "
                f"| {' | '.join(f'{number:.4f}' for number in numbers)} |"
            )
    return "\n".join(lines if checkpoints else ["None is shipped yet."])
