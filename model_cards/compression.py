"""What the steps of a compression left and cost, and what its last one left of the network, as tables."""

from __future__ import annotations

from typing import Any

# Key of a step -> heading and digits; the first of them that a step has is what `change` is of.
QUALITIES = {
    "valid_perplexity": ("perplexity", 2),
    "valid_accuracy": ("accuracy", 4),
    "valid_rmse": ("rmse", 4),
    "valid_mse": ("mse", 4),
}
PARTS = {
    "words": "words",
    "input": "elements of word vectors",
    "hidden": "hidden units",
    "gates": "gates that move",
    "weights": "weights",
}
NONE = "–"


def steps_table(steps: list[dict]) -> str:
    """What every step of a compression left and cost; nothing where there was none."""
    if not steps:
        return ""
    told = [key for key in QUALITIES if any(key in step for step in steps)]
    names = ", ".join(QUALITIES[key][0] for key in told)
    verb = "is that" if len(told) == 1 else "are those"
    of_labels = "of the validation text" if told == ["valid_perplexity"] else "of the validation texts"
    lines = [f"What each step left; bytes are those of the weights, {names} {verb} {of_labels}.", ""]
    headings = ["step", "parameters", "nonzeros", "bytes", *(QUALITIES[key][0] for key in told), "change"]
    lines += [f"| {' | '.join(headings)} |", f"|---|{'---:|' * (len(headings) - 1)}"]
    before = None
    for step in steps:
        first = next(step[key] for key in told if key in step)
        change = "" if before is None else f"{first / before - 1:+.2%}"
        counts = [f"{step[key]:,}" for key in ("parameters", "nonzeros", "bytes")]
        qualities = [f"{step[key]:.{QUALITIES[key][1]}f}" if key in step else NONE for key in told]
        lines.append(f"| {' | '.join([step['step'], *counts, *qualities, change])} |")
        before = first
    return "\n".join(lines) + "\n\n" + "".join(map(_thresholds, steps))


def _thresholds(step: dict) -> str:
    """The thresholds that a step tried, and which it took."""
    if not step.get("thresholds"):
        return ""
    keys = list(step["thresholds"][0])
    lines = [f"The thresholds that were tried in {step['step']}:", "", f"| {' | '.join(map(_heading, keys))} |"]
    lines.append(f"|{'---:|' * len(keys)}")
    lines += [f"| {' | '.join(in_words(row.get(key)) for key in keys)} |" for row in step["thresholds"]]
    taken = [f"Taken was {in_words(step['threshold'])}.", ""] if "threshold" in step else []
    return "\n".join([*lines, "", *taken]) + "\n"


def structure_tables(structure: dict[str, Any]) -> str:
    """What is left of a network, by kind and by matrix; nothing where nothing is told of it."""
    if not structure:
        return ""
    kinds = [key for key in structure if key != "matrices"]
    lines = ["What is left of the network; what no output depends on does not count, stored or not.", ""]
    lines += [f"| {' | '.join(PARTS.get(key, _heading(key)) for key in kinds)} |", f"|{'---:|' * len(kinds)}"]
    lines += [f"| {' | '.join(in_words(structure[key]) for key in kinds)} |", ""]
    if matrices := structure.get("matrices"):
        lines += ["| matrix | rows | columns | not zero |", "|---|---:|---:|---:|"]
        for name, row in matrices.items():
            lines.append(f"| {name} | {row['rows']:,} | {row['columns']:,} | {row['nonzeros']:,} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def structure_in_words(structure: dict[str, Any]) -> str:
    """What is left of a network, by kind, in a line."""
    told = {key: f"{in_words(structure[key])} {PARTS[key]}" for key in PARTS if key in structure}
    if "input" in told:
        told["input"] = f"word vectors of {in_words(structure['input'])}"
    return ", ".join(told.values()) or NONE


def _heading(key: str) -> str:
    return key.replace("_", " ")


def in_words(value: Any) -> str:
    """A number with thousands or four digits; of a list, which has one per layer, each."""
    if value is None:
        return NONE
    if isinstance(value, list):
        return " + ".join(map(in_words, value))
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
