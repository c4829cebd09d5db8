"""Which row of Table 1 of Grachev et al. 2019 a checkpoint stands for, from its layout, and how it differs from it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from zoo import specs
from zoo.counts import parameters_of
from zoo.layout import Layout, layout_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROWS = Path(__file__).parents[1] / "conversion" / "paper_rows.toml"


@dataclass(frozen=True)
class Row:
    """A row of Table 1: its name, what it prints, and a layout with as many parameters (see paper_rows.toml)."""

    name: str
    mali_ms: float
    perplexity: float
    layout: Layout


@cache
def rows() -> tuple[Row, ...]:
    """The rows of Table 1, in its order."""
    found = tomllib.loads(ROWS.read_text(encoding="utf-8"))["row"]
    return tuple(
        Row(row["name"], row["paper"]["mali_ms"], row["paper"]["test_perplexity"], layout_of(row["config"], row["id"]))
        for row in found
        if row["table"] == 1
    )


def kind(layout: Layout) -> tuple:
    """What makes two networks the same row: cell, hidden size, layers, projected or not, how they are compressed, gates
    and softmaxes that the paper has not."""
    forms = {(name.partition(".")[0], layout.spec(name)["form"]) for name in layout.shapes}
    factored = sorted((role, form) for role, form in forms if form not in specs.LEAVES)
    how = factored or sorted({form for _, form in forms})  # 8 bits inside of factors make no other row
    more = (layout.mogrifier_rounds, layout.num_softmaxes)
    return layout.cell, layout.hidden_size, layout.num_hidden_layers, layout.projection_size is not None, how, more


def rows_of(layout: Layout) -> list[Row]:
    """The rows of Table 1 of this kind of network: none, one, or the two that were pruned without and with training."""
    return [row for row in rows() if kind(row.layout) == kind(layout)]


def differences(ours: Layout, theirs: Layout) -> list[str]:
    """How a checkpoint differs from the network of a row, in a few words each."""
    told = []
    if ours.tie_word_embeddings != theirs.tie_word_embeddings:
        told.append("tied" if ours.tie_word_embeddings else "untied")
    for what, mine, other in (
        ("embedding", ours.embedding_size, theirs.embedding_size),
        ("projection", ours.projection_size, theirs.projection_size),
        ("vocabulary", ours.vocab_size, theirs.vocab_size),
    ):
        if mine != other:
            told.append(f"{what} {mine:,} (there {other:,})")
    names = [name for name in ours.shapes if name in theirs.shapes]
    stored = {
        (specs.words(ours.spec(name)), specs.words(theirs.spec(name)))
        for name in names
        if ours.spec(name) != theirs.spec(name)
    }
    told += [f"matrices {mine} (there {other})" for mine, other in sorted(stored)]
    mine, other = (sum(parameters_of(layout).values()) for layout in (ours, theirs))
    return [*told, f"{mine:,} parameters (there {other:,})"] if mine != other else told
