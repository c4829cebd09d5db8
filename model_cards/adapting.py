"""Perplexities with weights or a cache that follow the text, as a table of their own."""

from __future__ import annotations

from .facts import SPLITS

HEADS = {"dynamic": "dynamic evaluation", "cache": "neural cache"}
WHAT = {
    "dynamic": "Dynamic evaluation (Krause et al. 2018) lets the weights follow the words read so far",
    "cache": "A neural cache (Grave et al. 2017) makes words more probable that followed like states a short while ago",
}


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
    lines.append("")
    for kind in kinds:
        settings = ", ".join(f"{name} {value:g}" for name, value in found[kind]["settings"].items())
        lines.append(
            f"{WHAT[kind]}; chosen on the validation text: {settings}. Measured by `{found[kind]['command']}`."
        )
    return "\n".join(lines) + "\n"
