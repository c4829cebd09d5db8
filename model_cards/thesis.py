"""The thesis's Tables 1 to 4, and beside each row the text classifier of the same method."""

from __future__ import annotations

import sys
from typing import Any

from .compression import in_words
from .facts import Facts
from .paper import ROWS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = ROWS.parent / "recipes"
PRINTED = ROWS.with_name("thesis_rows.toml")
LEFT = {"words": "words", "inputs": "input", "hidden": "hidden", "gates": "gates"}  # column -> part of the structure
NOTES = {
    "movie-reviews": "The 10,000 rated reviews of the thesis are not public; ours are 5,006 others, so the two errors "
    "are of different texts and only the counts can be compared.",
    "imdb": "The thesis starts from word vectors made on other text, ours starts from none.",
}


def table(number: int, checkpoints: list[Facts]) -> str:
    """One of the thesis's tables in Markdown, ours beside it."""
    tables = tomllib.loads(PRINTED.read_text(encoding="utf-8"))["table"]
    printed = next(one for one in tables if one["number"] == number)
    columns, metric = printed["columns"], printed["metric"]
    counts = [column for column in columns if column in LEFT] or list(LEFT)
    heads = ["the thesis's row", metric, *columns, "ours", metric, *(f"{name}, ours" for name in counts), "differs in"]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (1 + len(columns))}---|{'---:|' * (1 + len(counts))}---|"]
    for row in printed["rows"]:
        told = [f"{value:,}" if isinstance(value, int) else f"{value:.2f}" for value in row["left"]]
        cells = [row["name"], f"{row['quality']:.4f}".rstrip("0"), *(told or ["–"] * len(columns))]
        words = row["left"][columns.index("words")] if "words" in columns else None
        facts = best(row["recipe"], printed["corpus"], metric, checkpoints, words)
        if facts is None:
            cells += [f"recipe only, not trained: `{row['recipe']}`", *["–"] * (2 + len(counts))]
        else:
            found = facts.quality[printed["corpus"]]["test"][metric]
            left = [in_words(facts.structure.get(LEFT[name])) for name in counts]
            cells += [f"[{facts.name}]", f"{found:.4f}", *left, _differs(facts, row["recipe"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", NOTES[printed["corpus"]]])


def best(recipe: str, corpus: str, metric: str, checkpoints: list[Facts], words: int | None = None) -> Facts | None:
    """The best checkpoint of a row's method that compresses at least what the row does; None: there is none.

    Args:
        words: that it may have at most; None: any number.
    """
    theirs = _read(recipe)
    found = [
        facts
        for facts in checkpoints
        if facts.layout.labels is not None
        and facts.corpus == corpus
        and _same(tomllib.loads(facts.recipe), theirs)
        and (words is None or facts.structure.get("words", words + 1) <= words)
        and metric in facts.quality.get(corpus, {}).get("test", {})
    ]
    sign = -1 if metric == "accuracy" else 1
    return min(found, key=lambda facts: (sign * facts.quality[corpus]["test"][metric], facts.name), default=None)


def _read(recipe: str) -> dict[str, Any]:
    """A recipe as its table."""
    return tomllib.loads((RECIPES / f"{recipe}.toml").read_text(encoding="utf-8"))


def _bayes(recipe: dict[str, Any]) -> dict[str, Any] | None:
    """The step that sparsifies; None: nothing does."""
    return next((step for step in recipe.get("compress", ()) if step["method"] == "bayes"), None)


def _roles(step: dict[str, Any]) -> set[str]:
    """The parts of the network that a step sparsifies."""
    return {"embed", "layers", "score"} if "all" in step["roles"] else set(step["roles"])


def _same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether two recipes are one method: prior and groups, ours of at least the same parts."""
    mine, other = _bayes(ours), _bayes(theirs)
    if mine is None or other is None:
        return mine is other
    names = ("prior", "group_prior")
    return (
        [mine.get(name) for name in names] == [other.get(name) for name in names]
        and bool(mine.get("groups")) == bool(other.get("groups"))
        and _roles(mine) >= _roles(other)
    )


def _differs(facts: Facts, name: str) -> str:
    """In how far a checkpoint was made in another way than a row."""
    ours, theirs, told = tomllib.loads(facts.recipe), _read(name), []
    step, their_step = _bayes(ours), _bayes(theirs)
    if step and their_step and (more := sorted(_roles(step) - _roles(their_step))):
        names = {"embed": "vocabulary", "layers": "recurrent layer", "score": "last layer"}
        told.append(f"{' and '.join(names[part] for part in more)} sparsified too")
    for what, field in (("word vectors of", "embedding_size"), ("width", "hidden_size")):
        mine, other = (recipe.get("model", {}).get(field) for recipe in (ours, theirs))
        if mine is not None and mine != other:
            told.append(f"{what} {mine} at the start (there {other})")
    return ", ".join(told) or "–"
