"""The best language model in each budget of size, beside what is to be reached there."""

from __future__ import annotations

import sys
from pathlib import Path

from .facts import Facts
from .matching import CORPUS, perplexity

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BUDGETS = Path(__file__).with_name("frontier.toml")


def frontier(checkpoints: list[Facts]) -> str:
    """A row per budget of frontier.toml, in Markdown; names of checkpoints in brackets."""
    lines = [
        "| at most | best checkpoint | parameters | bytes with tokenizer | test perplexity | must | wanted | reached "
        "| published near it |",
        "|---|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for budget in tomllib.loads(BUDGETS.read_text(encoding="utf-8"))["budget"]:
        size = _bytes if budget["unit"] == "bytes" else _parameters
        inside = [facts for facts in checkpoints if CORPUS in facts.quality and size(facts) <= budget["most"]]
        unit = " MB on disk" if budget["unit"] == "bytes" else "M parameters"
        cells = [f"{budget['most'] / 1e6:.1f}{unit}"]
        if inside:
            facts = min(inside, key=lambda facts: (perplexity(facts), facts.name))
            found = perplexity(facts)
            reached = next((level for level in ("wanted", "must") if found <= budget[level]), "no")
            cells += [f"[{facts.name}]", f"{_parameters(facts):,}", f"{_bytes(facts):,}", f"{found:.2f}"]
        else:
            reached, cells = "no", [*cells, "none yet", *["–"] * 3]
        cells += [str(budget["must"]), str(budget["wanted"]), reached, budget["published"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _parameters(facts: Facts) -> int:
    """All numbers of the matrices, zeros too."""
    return facts.size["parameters"]


def _bytes(facts: Facts) -> int:
    """Weights, config and tokenizer."""
    return facts.size["bytes"] + facts.size["tokenizer_bytes"]
