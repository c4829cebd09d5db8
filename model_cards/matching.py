"""Which checkpoint stands beside a row of Grachev et al. 2019: the best of its method with no more parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from zoo import specs
from zoo.counts import parameters_of
from zoo.layout import Layout, layout_of

from .facts import Facts
from .paper import ROWS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CORPUS = "ptb"
SHORT = {"low_rank": "LR", "tensor_train": "TT", "sparse": "pruned"}
IN_INTEGERS = "LSTM"  # the one cell of which the paper has a row in integers
PARTS = {"embed": "embedding", "input": "recurrent layers", "recurrent": "recurrent layers", "head": "softmax"}


@dataclass(frozen=True)
class Row:
    """A row of Table 1 or 3: what it prints, the recipe of its network, its layout and what its method is called.

    agrees: whether its layout has as many parameters as are printed.
    """

    table: int
    name: str
    recipe: str
    printed: Mapping[str, float]
    agrees: bool
    layout: Layout
    method: str

    @property
    def numbers(self) -> int:
        """Parameters of its layout, counted as ours are."""
        return numbers_in(self.layout)


@cache
def rows() -> tuple[Row, ...]:
    """The rows of Tables 1 and 3, in their order."""
    found = []
    for row in tomllib.loads(ROWS.read_text(encoding="utf-8"))["row"]:
        name, layout = f"paper-{row['id']}", layout_of(row["config"], row["id"])
        text = (ROWS.parent / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        how = method(layout, tomllib.loads(text))
        found.append(Row(row["table"], row["name"], name, row["paper"], row["agrees"] != "no", layout, how))
    return tuple(found)


def method(layout: Layout, recipe: Mapping[str, Any]) -> str:
    """Cell, what is compressed and how, whatever the sizes; integers only of an LSTM that has nothing else compressed.

    Args:
        recipe: tells whether pruning was followed by training.
    """
    cell, told = f"{'Mogrifier ' if layout.mogrifier_rounds else ''}{layout.cell.upper()}", []
    for name in layout.shapes:
        role, form = name.partition(".")[0], layout.spec(name)["form"]
        if form in SHORT:
            # A tied embedding is the output layer too.
            part = PARTS.get("head" if role == "embed" and layout.tie_word_embeddings else role, role)
            told.append(f"{SHORT[form]} {part}")
    told = list(dict.fromkeys(told))
    if "TT recurrent layers" in told:
        told.remove("TT recurrent layers")
        cell = f"TT {cell}"
    if layout.projection_size is not None:
        cell = f"LR {cell}"
    if layout.num_softmaxes > 1:
        told.append("mixture of softmaxes")
    if any(part.startswith("pruned") for part in told):
        steps = [step for step in recipe.get("compress", ()) if step.get("method") == "prune"]
        told.append("with training" if any(step.get("stage") for step in steps) else "without training")
    forms = {layout.spec(name)["form"] for name in layout.shapes}
    if not told and cell == IN_INTEGERS and "dense" not in forms:
        told = [" and ".join(sorted(forms))]
    return ", ".join([cell, *told])


def numbers_in(layout: Layout) -> int:
    """Parameters with biases; of a sparse matrix the numbers that are stored, which are its nonzeros."""
    found = parameters_of(layout)
    for name in layout.shapes:
        spec = layout.spec(name)
        if spec["form"] == "sparse":
            found[name] = spec["nonzeros"]
    return sum(found.values())


def perplexity(facts: Facts) -> float:
    """Static test perplexity on CORPUS."""
    return facts.quality[CORPUS]["test"]["perplexity"]


def of_method(name: str, checkpoints: list[Facts], most: float = float("inf")) -> list[Facts]:
    """The language models of a method with no more parameters than `most`, the best first."""
    found = [
        facts
        for facts in checkpoints
        if CORPUS in facts.quality
        and facts.layout.labels is None
        and _counts_for(name, method(facts.layout, tomllib.loads(facts.recipe)))
        and numbers_in(facts.layout) <= most
    ]
    return sorted(found, key=lambda facts: (perplexity(facts), facts.name))


def _counts_for(wanted: str, how: str) -> bool:
    """Whether a method is the wanted one, or that in integers, which counts as it does of the other cells."""
    return how == wanted or (wanted == IN_INTEGERS and how.startswith(f"{IN_INTEGERS}, int"))


def differs(facts: Facts, row: Row, checkpoints: list[Facts]) -> str:
    """In how far a checkpoint is another network than a row's, what it was made from, and who taught these."""
    ours, theirs, told = facts.layout, row.layout, []
    if ours.tie_word_embeddings != theirs.tie_word_embeddings:
        told.append("tied" if ours.tie_word_embeddings else "untied")
    for what, mine, other in (
        ("layers", ours.num_hidden_layers, theirs.num_hidden_layers),
        ("width", ours.hidden_size, theirs.hidden_size),
        ("embedding", ours.embedding_size, theirs.embedding_size),
        ("projection", ours.projection_size, theirs.projection_size),
    ):
        if mine != other:
            told.append(f"{what} {mine} (there {other})")
    kinds = {_stored(facts.layout.spec(name)) for name in facts.layout.shapes} - {"dense"}
    if kinds - {_stored(theirs.spec(name)) for name in theirs.shapes}:
        told.append(" and ".join(sorted(kinds)))
    line, known = [facts], {other.name: other for other in checkpoints}
    while (parent := line[-1].parent) in known:
        line.append(known[parent])
    told += [f"from {one.parent}" for one in line if one.parent]
    teachers = [name for one in line for name in tomllib.loads(one.recipe).get("training", {}).get("teachers", ())]
    if teachers:
        told.append(f"taught by {', '.join(dict.fromkeys(teachers))}")
    return ", ".join(told) or "–"


def _stored(spec: specs.Spec) -> str:
    """How the numbers of a matrix or of its factors are stored."""
    inner = spec.get("values", specs.DENSE) if spec["form"] in SHORT else spec
    scheme = " one range" if inner.get("scheme") == "range" else ""
    return f"{inner['form']}{scheme}"
