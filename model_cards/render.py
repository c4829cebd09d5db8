"""Renders cards, the catalog and the README's table of checkpoints from the folders and their results."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template

from zoo import specs
from zoo.errors import CheckpointError, ZooError
from zoo.layout import Layout, read_layout

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
BEGIN, END = "<!-- checkpoints: made by model_cards.render -->", "<!-- end of checkpoints -->"
COMMAND = "python -m model_cards.render"
SPLITS = ("valid", "test")
HEADLINE = ("perplexity", "top1", "top3")


@dataclass(frozen=True)
class Facts:
    """What is known of one checkpoint: its files and what was measured on them."""

    name: str
    layout: Layout
    recipe: str
    sha256: dict[str, str]  # file -> sha256
    size: dict  # of bench.size
    quality: dict[str, dict]  # corpus -> results of bench.quality
    latency: list[dict]  # of bench.latency, one per device
    onnx: dict  # what `zoo export` found; empty: not exported
    steps: list[dict]  # of a compression, the parent first; none where it was trained from scratch

    @property
    def parent(self) -> str | None:
        """The checkpoint that this one was compressed from."""
        return tomllib.loads(self.recipe).get("parent") or None

    @property
    def corpus(self) -> str:
        """The corpus that it was trained on; a recipe that names none means the Penn Treebank."""
        return tomllib.loads(self.recipe).get("corpus", "ptb")

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
                corpus: {f"{split}_{key}": round(float(found[split][key]), 4) for split in SPLITS for key in HEADLINE}
                for corpus, found in self.quality.items()
            },
            "sha256": self.sha256,
        }


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


def gather(root: Path, name: str) -> Facts:
    """Reads a checkpoint folder and its results.

    Raises:
        CheckpointError: a file or a result is missing, or a result was measured on other weights.
    """
    folder, results = root / "zoo" / "checkpoints" / name, root / "bench" / "results" / name
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    sha256 = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    sha256.pop("README.md", None)  # the card comes after the catalog
    for needed in ("config.json", "model.safetensors", "recipe.toml"):
        if needed not in sha256:
            raise CheckpointError(f"{folder} lacks {needed}; build it: python -m conversion.build {name}")
    measured = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    size = measured.get("size")
    quality = {stem: found for stem, found in measured.items() if set(SPLITS) <= set(found)}
    latency = [found for stem, found in measured.items() if stem.startswith("latency-")]
    if not size:
        raise CheckpointError(f"{name} has no {results / 'size.json'}; measure it: python -m bench.size {name}")
    if not quality:
        raise CheckpointError(f"{name} has no quality in {results}; measure it: python -m bench.quality {name}")
    for stem, found in measured.items():
        if found["sha256"] != sha256["model.safetensors"]:
            verb = "quality" if stem in quality else stem.partition("-")[0]
            raise CheckpointError(
                f"{results / stem}.json was measured on other weights; measure again: "
                f"{found.get('command', f'python -m bench.{verb} {name}')}"
            )
    recipe = (folder / "recipe.toml").read_text(encoding="utf-8").strip()
    metrics = folder / "metrics.json"
    steps = json.loads(metrics.read_text(encoding="utf-8")).get("steps", []) if metrics.is_file() else []
    onnx = measured.get("onnx", {})
    return Facts(name, read_layout(folder), recipe, sha256, size, quality, latency, onnx, steps)


def card(facts: Facts) -> str:
    """The model card in Markdown, with the Hub's metadata before it."""
    from huggingface_hub import EvalResult, ModelCardData

    corpora = tomllib.loads((HERE / "corpora.toml").read_text(encoding="utf-8"))
    if facts.corpus not in corpora:
        raise CheckpointError(
            f"model_cards/corpora.toml has no section {facts.corpus!r}, on which {facts.name} was trained; add it"
        )
    corpus = corpora[facts.corpus]
    metadata = ModelCardData(
        language=corpus["language"],
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["rnnlm", facts.layout.cell, "next-word-prediction", "compression"],
        datasets=[corpus["dataset"]],
        metrics=["perplexity"],
        model_name=facts.name,
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=corpora[on]["dataset"],
                dataset_name=corpora[on]["name"],
                dataset_split=split,
                metric_type="perplexity",
                metric_name="word perplexity",
                metric_value=round(float(found[split]["perplexity"]), 4),
            )
            for on, found in facts.quality.items()
            if on in corpora
            for split in SPLITS
        ],
    )
    page = Template((HERE / "template.md").read_text(encoding="utf-8")).substitute(
        name=facts.name,
        identifier=re.sub(r"\W", "_", facts.name),
        description=facts.description,
        headline=" ".join(
            f"Test perplexity {found['test']['perplexity']:.2f} on {corpora.get(on, {}).get('name', on)}."
            for on, found in facts.quality.items()
        ),
        steps=_steps_table(facts.steps),
        parentage=f"Compressed from `{facts.parent}`." if facts.parent else "Trained from scratch.",
        recipe=facts.recipe,
        quality="\n".join(_quality_table(on, found) for on, found in facts.quality.items()),
        latency="\n".join(map(_latency_table, facts.latency)) or "Not measured yet.\n",
        onnx=_onnx_table(facts.onnx),
        commands="\n".join(f"| quality on {on} | `{found['command']}` |" for on, found in facts.quality.items()),
        **{key: f"{facts.size[key]:,}" for key in ("parameters", "nonzeros", "bytes", "tokenizer_bytes")},
        **{key: corpus[key].strip() for key in ("title", "licence", "style", "limits")},
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n{page}"


def _steps_table(steps: list[dict]) -> str:
    """What every step of a compression left and cost; nothing where there was none."""
    if not steps:
        return ""
    lines = ["What each step left; bytes are those of the weights, perplexity is that of the validation text.", ""]
    lines += ["| step | parameters | nonzeros | bytes | perplexity | change |", "|---|---:|---:|---:|---:|---:|"]
    before = None
    for step in steps:
        perplexity = step["valid_perplexity"]
        change = "" if before is None else f"{perplexity / before - 1:+.2%}"
        counts = " | ".join(f"{step[key]:,}" for key in ("parameters", "nonzeros", "bytes"))
        lines.append(f"| {step['step']} | {counts} | {perplexity:.2f} | {change} |")
        before = perplexity
    return "\n".join(lines) + "\n\n"


def _latency_table(found: dict) -> str:
    """What was timed on one device."""
    lines = [
        f"{found['device']}, {found['protocol']['threads']} thread(s):",
        "",
        "| what | mean ms | median ms | p95 ms |",
        "|---|---:|---:|---:|",
    ]
    for contender, ms in found["milliseconds"].items():
        lines.append(f"| {contender} | {ms['mean']:.3f} | {ms['median']:.3f} | {ms['p95']:.3f} |")
    if memory := found.get("memory"):
        weights, made = memory["weights"] / 1e6, memory["step_peak"] / 1e6
        lines += ["", f"In torch the weights take {weights:.2f} MB of memory, what one step makes {made:.2f} MB more."]
    return "\n".join([*lines, ""])


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
    return "\n".join(lines) + "\n"


def table(checkpoints: list[Facts]) -> str:
    """The README's table of checkpoints."""
    lines = [
        "| checkpoint | network | parameters | MB | corpus | valid perplexity | test perplexity | top-1 | top-3 |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for facts in checkpoints:
        for corpus, found in facts.quality.items():
            valid, test = found["valid"], found["test"]
            lines.append(
                f"| [{facts.name}](model_cards/cards/{facts.name}.md) | {facts.description} "
                f"| {facts.size['parameters']:,} | {facts.size['bytes'] / 1e6:.2f} | {corpus} "
                f"| {valid['perplexity']:.2f} | {test['perplexity']:.2f} | {test['top1']:.3f} | {test['top3']:.3f} |"
            )
    return "\n".join(lines if checkpoints else ["None is shipped yet."])


def pages(root: Path) -> dict[Path, str]:
    """Every generated file of the project in `root` and what it should hold.

    Raises:
        CheckpointError: a checkpoint lacks a file or a result, or the README lacks the markers of its table.
    """
    folders = sorted((root / "zoo" / "checkpoints").glob("[!.]*/config.json"))  # .name: being written
    checkpoints = [gather(root, path.parent.name) for path in folders]
    catalog = {facts.name: facts.catalog_row for facts in checkpoints}
    made = {root / "zoo" / "catalog.json": json.dumps(catalog, indent=2) + "\n"}
    for facts in checkpoints:
        text = card(facts)
        made[root / "model_cards" / "cards" / f"{facts.name}.md"] = text
        made[root / "zoo" / "checkpoints" / facts.name / "README.md"] = text
    readme = root / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise CheckpointError(f"{readme} has no table of checkpoints; put the lines {BEGIN} and {END} where it belongs")
    made[readme] = f"{before}{begin}\n\n{table(checkpoints)}\n\n{end}{after}"
    return made


def main(arguments: list[str] | None = None, root: Path = HERE.parent) -> int:
    """Writes the generated files, or with --check names those that are not up to date."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is not up to date")
    check = parser.parse_args(arguments).check
    try:
        made = pages(root)
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    orphans = sorted(set((root / "model_cards" / "cards").glob("*.md")) - set(made))
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if check:
        for path in [*stale, *orphans]:
            print(f"not up to date: {path.relative_to(root)}; type: {COMMAND}", file=sys.stderr)
        return 1 if stale or orphans else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], encoding="utf-8", newline="\n")
        print(f"wrote {path.relative_to(root)}")
    for path in orphans:
        path.unlink()
        print(f"removed {path.relative_to(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
