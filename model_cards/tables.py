"""The tables of the paper and of the thesis with this zoo beside them: docs/paper-tables.md."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from zoo.errors import ZooError

from . import thesis
from .facts import SPLITS, Facts, card_of, derived, gather, gather_derived
from .frontier import frontier
from .latency import OURS, PHONE, device_of
from .matching import Row, differs, numbers_in, of_method, perplexity, rows

COMMAND = "python -m model_cards.tables"
ROOT = Path(__file__).parents[1]
PAGE = "docs/paper-tables.md"
NONE = "–"
INTRODUCTION = f"""<!-- Made by {COMMAND}; it is not edited by hand. -->
# The papers' tables, and ours beside them

A checkpoint counts for a row where its method is the same (cell, what is compressed and how; one in 8 or 4 bits counts
for rows in floats too, and is told) and it has no more parameters than the row's network, biases counted and of sparse
matrices the numbers that are stored. Shown is the one of these with the lowest test perplexity, and in how far it is
another network. Perplexities are static ones of the shipped files, over all 82,430 targets. MB are those of weights
and config; ours hold 16 bits a number or fewer, the paper's 32. "Predicted" is a time on the paper's phone, the
{PHONE}, that was computed from the paper's own timings, not measured; measured is the median of `{OURS}` on the device
that most checkpoints were timed on, and where another is named on that one. For a row of the thesis ours has the same
prior, with or without groups, and is sparsified in at least the same parts; where the thesis counts words, it has no
more of them. "As described": the paper prints another number than its description gives; ours are compared with the
latter. A name that links to a recipe has no files here: `python -m conversion.build NAME` makes it from a checkpoint
that has, without training and bit for bit what was measured.
"""


def with_derived(root: Path, checkpoints: list[Facts]) -> list[Facts]:
    """The checkpoints, and those without files that the tables show too."""
    return [*checkpoints, *(gather_derived(root, name) for name in derived(root))]


def page(checkpoints: list[Facts]) -> str:
    """The page in Markdown."""
    parts = [INTRODUCTION, f"{score(checkpoints)}\n", f"## By size\n\n{frontier(checkpoints)}\n"]
    parts.append(f"## By method\n\n{by_method(checkpoints)}\n")
    for number, what in ((1, "compression of the whole network"), (3, "the output layer alone")):
        parts.append(f"## Grachev et al. 2019, Table {number}: {what}\n\n{table(number, checkpoints)}\n")
    titles = {1: "starting points", 2: "layers", 3: "methods on rated reviews", 4: "methods on IMDb"}
    parts += [f"## Thesis, Table {n}: {what}\n\n{thesis.table(n, checkpoints)}\n" for n, what in titles.items()]
    parts.append(f"## Another seed\n\n{by_seed(checkpoints)}\n")
    names = [facts.name for facts in checkpoints if f"[{facts.name}]" in "".join(parts)]
    parts.append("\n".join(f"[{name}]: {_link(name, checkpoints)}" for name in names))
    return "\n".join(parts).rstrip() + "\n"


def score(checkpoints: list[Facts]) -> str:
    """In how many rows of the paper ours is ahead, and which rows are left."""
    left = [row for row in rows() if not _is_beaten(row, of_method(row.method, checkpoints, row.numbers))]
    told = f"Of the {len(rows())} rows of the paper's Tables 1 and 3, ours has the lower perplexity in"
    if not left:
        return f"{told} all."
    names = dict.fromkeys(row.name for row in left)  # a network may stand in both tables
    return f"{told} {len(rows()) - len(left)}; not yet in: {'; '.join(names)}."


def _is_beaten(row: Row, found: list[Facts]) -> bool:
    """Whether the best of what counts for a row has the lower perplexity."""
    return bool(found) and perplexity(found[0]) < row.printed["test_perplexity"]


def _link(name: str, checkpoints: list[Facts]) -> str:
    """The card of a checkpoint, or the recipe of one without files."""
    files = next(facts.sha256 for facts in checkpoints if facts.name == name)
    is_here = set(files) != {"model.safetensors"}
    return f"../{card_of(name)}" if is_here else f"../conversion/recipes/{name}.toml"


def table(number: int, checkpoints: list[Facts]) -> str:
    """Table 1 or 3 of the paper, ours beside it."""
    timed, device = number == 1, device_of_most(checkpoints)
    heads = ["the paper's row", "MB", "M parameters", "perplexity", *(["Mali ms"] if timed else []), "ours", "MB"]
    heads += ["parameters", "perplexity", "lower", "predicted Mali ms", f"ms measured on {device}", "differs in"]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (4 if timed else 3)}---|{'---:|' * 3}---|---:|---:|---|"]
    for row in rows():
        if row.table == number:
            times = [f"{row.printed['mali_ms']:.2f}"] if timed else []
            printed = [f"{row.printed['size_mb']:g}", _printed(row), f"{row.printed['test_perplexity']:g}"]
            lines.append(f"| {' | '.join([row.name, *printed, *times, *_ours(row, checkpoints, device)])} |")
    return "\n".join(lines)


def _printed(row: Row) -> str:
    """Parameters in M as printed, and where it is another number that of the network as it is described."""
    described = "" if row.agrees else f" ({row.numbers / 1e6:.2f} as described)"
    return f"{row.printed['parameters_m']:g}{described}"


def _ours(row: Row, checkpoints: list[Facts], device: str) -> list[str]:
    """The cells of our side."""
    found = of_method(row.method, checkpoints, row.numbers)
    if not found:
        return [f"recipe only, not trained: `{row.recipe}`", *[NONE] * 7]
    facts = found[0]
    return [
        f"[{facts.name}]",
        f"{facts.size['bytes'] / 1e6:.2f}",
        f"{numbers_in(facts.layout):,}",
        f"{perplexity(facts):.2f}",
        "yes" if _is_beaten(row, found) else "no",
        _predicted(facts),
        _measured(facts, device),
        differs(facts, row, checkpoints),
    ]


def _predicted(facts: Facts) -> str:
    """Predicted milliseconds on the paper's phone, in the paper's way."""
    told = [
        f"{one['milliseconds']:.2f}"
        for found in facts.predicted
        if found["device"] == PHONE
        for one in found["predictions"]
        if "milliseconds" in one
    ]
    return ", ".join(told) or NONE


def device_of_most(checkpoints: list[Facts]) -> str:
    """The device and threads on which most checkpoints were timed, the first by name of equals."""
    found = Counter(device_of(one) for facts in checkpoints for one in facts.latency if _timed(one))
    return min(found, key=lambda device: (-found[device], device), default="no device yet")


def _measured(facts: Facts, device: str) -> str:
    """The median of our step on a device; where it was not timed there, on the first by name, which is named."""
    told = {
        device_of(found): f"{found['milliseconds'][OURS]['median']:.2f}" for found in facts.latency if _timed(found)
    }
    if device in told or not told:
        return told.get(device, NONE)
    other = min(told)
    return f"{told[other]} ({other})"


def _timed(found: dict) -> bool:
    """Whether a result times our step."""
    return "median" in found["milliseconds"].get(OURS, {})


def by_method(checkpoints: list[Facts]) -> str:
    """Each method of Tables 1 and 3: the best of the paper's rows that ours beats, with no more parameters."""
    lines = [
        "| method | the paper's best row | the best that ours beats | M parameters | perplexity "
        "| ours | parameters | perplexity |",
        "|---|---|---|---:|---:|---|---:|---:|",
    ]
    for name in dict.fromkeys(row.method for row in rows()):
        of_it = sorted((row for row in rows() if row.method == name), key=lambda row: row.printed["test_perplexity"])
        cells = [name, f"{of_it[0].name} ({of_it[0].printed['test_perplexity']:g})"]
        beaten = [
            (row, found[0]) for row in of_it if _is_beaten(row, found := of_method(name, checkpoints, row.numbers))
        ]
        if beaten:
            row, facts = beaten[0]
            cells += [
                row.name,
                _printed(row),
                f"{row.printed['test_perplexity']:g}",
                f"[{facts.name}]",
            ]
            cells += [f"{numbers_in(facts.layout):,}", f"{perplexity(facts):.2f}"]
        elif others := of_method(name, checkpoints):
            facts = others[0]
            cells += [
                "none yet",
                NONE,
                NONE,
                f"[{facts.name}]",
                f"{numbers_in(facts.layout):,}",
                f"{perplexity(facts):.2f}",
            ]
        else:
            cells += ["none yet", NONE, NONE, "recipe only, not trained", NONE, NONE]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def by_seed(checkpoints: list[Facts]) -> str:
    """Checkpoints that were trained again from scratch with another seed, the published one first."""
    lines = [
        "Trained again from scratch by the same recipe (`python -m conversion.ablations.seeds NAME`); the first seed",
        "of each is the published checkpoint's. Plus and minus are standard errors of the perplexity over the text.",
        "",
        "| checkpoint | seed | epochs | valid | test | test against the published |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for facts in checkpoints:
        for row in facts.seeds:
            change = row["test"]["perplexity"] - facts.seeds[0]["test"]["perplexity"]
            told = [f"{row[split]['perplexity']:.2f} ± {row[split]['standard_error']:.2f}" for split in SPLITS]
            against = NONE if row is facts.seeds[0] else f"{change:+.2f}"
            lines.append(f"| [{facts.name}] | {row['seed']} | {row['epochs']:g} | {told[0]} | {told[1]} | {against} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Writes the page, or with --check says whether it is up to date."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is not up to date")
    check = parser.parse_args(arguments).check
    try:
        names = sorted(path.parent.name for path in (root / "zoo" / "checkpoints").glob("[!.]*/config.json"))
        text = page(with_derived(root, [gather(root, name) for name in names]))
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    path = root / PAGE
    stale = not path.is_file() or path.read_text(encoding="utf-8") != text
    if stale and check:
        print(f"not up to date: {PAGE}; type: {COMMAND}", file=sys.stderr)
    elif stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"wrote {PAGE}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
