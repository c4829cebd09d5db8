"""Perplexities with weights or a cache that follow the text, as a table of their own."""

from __future__ import annotations

from .facts import SPLITS

HEADS = {"dynamic": "dynamic evaluation", "cache": "neural cache"}
NOTE = """Dynamic evaluation (Krause et al. 2018) changes the weights, a neural cache (Grave et al. 2017) the
distribution, by the words read so far; both start anew with each split, with settings chosen on the validation text."""


def adapting_table(corpus: str, found: dict) -> str:
    """The static perplexities of a corpus and those of each way that was measured; "" where none was."""
    kinds = [kind for kind in HEADS if kind in found]
    if not kinds:
        return ""
    heads = [f"{corpus}, perplexity", "static", *(HEADS[kind] for kind in kinds)]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (1 + len(kinds))}"]
    for split in SPLITS:
        told = [f"{one['perplexity']:.2f}" for one in (found[split], *(found[kind][split] for kind in kinds))]
        lines.append(f"| {split} | {' | '.join(told)} |")
    lines += ["", NOTE]
    for kind in kinds:
        settings = ", ".join(f"{name} {value:g}" for name, value in found[kind]["settings"].items())
        lines.append(f"{HEADS[kind].capitalize()}: {settings}; measured by `{found[kind]['command']}`.")
    return "\n".join(lines) + "\n"
