"""Renders cards, catalog, versions, the README's tables, and tables and picture of docs/ from folders and results."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import IO

from zoo import published
from zoo.errors import CheckpointError, ZooError
from zoo.writing import write_atomically

from . import classifier, keyboard_page, latency, pareto, tables
from .card import card, classifies
from .facts import Facts, card_of, gather

COMMAND = "python -m model_cards.render"
ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- checkpoints: made by model_cards.render -->", "<!-- end of checkpoints -->"
BEGIN_LATENCY, END_LATENCY = "<!-- latency: made by model_cards.render -->", "<!-- end of latency -->"
BEGIN_TEXTS, END_TEXTS = "<!-- text classifiers: made by model_cards.render -->", "<!-- end of text classifiers -->"
PICTURE = "docs/pareto.svg"


def table(checkpoints: list[Facts]) -> str:
    """The README's table of language models."""
    lines = [
        "| checkpoint | network | parameters | MB | corpus | valid perplexity | test perplexity | top-1 | top-3 |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for facts in checkpoints:
        for corpus, found in facts.quality.items():
            valid, test = found["valid"], found["test"]
            lines.append(
                f"| [{facts.name}]({card_of(facts.name)}) | {facts.description} "
                f"| {facts.size['parameters']:,} | {facts.size['bytes'] / 1e6:.2f} | {corpus} "
                f"| {valid['perplexity']:.2f} | {test['perplexity']:.2f} | {test['top1']:.3f} | {test['top3']:.3f} |"
            )
    return "\n".join(lines if checkpoints else ["None is shipped yet."])


def pages(root: Path) -> dict[Path, str]:
    """Every generated file of the project in `root` and what it should hold.

    Raises:
        CheckpointError: a checkpoint lacks a file or a result, or the README lacks the markers of a table.
    """
    folders = sorted((root / "zoo" / "checkpoints").glob("[!.]*/config.json"))  # .name: being written
    checkpoints = [gather(root, path.parent.name) for path in folders]
    catalog = {facts.name: facts.catalog_row for facts in checkpoints}
    made = {root / "zoo" / "catalog.json": json.dumps(catalog, indent=2) + "\n"}
    kept = root / "zoo" / "published.json"
    known = kept.read_text(encoding="utf-8") if kept.is_file() else ""
    made[kept] = published.with_shipped(known, {facts.name: facts.sha256 for facts in checkpoints})
    for facts in checkpoints:
        try:
            made[root / card_of(facts.name)] = card(facts)
        except (LookupError, TypeError) as error:
            raise CheckpointError(
                f"a result in bench/results/{facts.name} is not whole ({type(error).__name__}: {error}); measure again "
                "with the command that it names, or restore the file"
            ) from error
    picture = pareto.picture(checkpoints)
    if picture:
        made[root / PICTURE] = picture
    readme = root / "README.md"
    language = [facts for facts in checkpoints if not classifies(facts)]
    measured = tables.with_derived(root, checkpoints)
    told = f"{tables.score(measured)} [Row by row]({tables.PAGE}).\n\n" if language else ""
    text = _between(readme.read_text(encoding="utf-8"), BEGIN, END, f"{told}{table(language)}", readme)
    texts = classifier.table([facts for facts in checkpoints if classifies(facts)])
    text = _between(text, BEGIN_TEXTS, END_TEXTS, texts, readme)
    shown = f"![Size against test perplexity]({PICTURE})" if picture else ""
    timed = f"{latency.table(language)}\n\n{shown}".rstrip()
    made[readme] = _between(text, BEGIN_LATENCY, END_LATENCY, timed, readme)
    made[root / tables.PAGE] = tables.page(measured)
    guide = root / keyboard_page.PAGE
    for title, content in keyboard_page.tables(checkpoints).items():
        known = made.get(guide) or guide.read_text(encoding="utf-8")
        begin, end = f"<!-- {title}: made by model_cards.render -->", f"<!-- end of {title} -->"
        made[guide] = _between(known, begin, end, content, guide)
    return made


def _between(text: str, begin: str, end: str, content: str, path: Path) -> str:
    """A text with what is between two markers replaced."""
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        what = begin.removeprefix("<!-- ").partition(":")[0]
        raise CheckpointError(f"{path} has no table of {what}; put the lines {begin} and {end} where it belongs")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Writes the generated files, or with --check names those that are not up to date."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is not up to date")
    check = parser.parse_args(arguments).check
    try:
        made = pages(root)
        stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if check:
        for path in stale:
            print(f"not up to date: {path.relative_to(root)}; type: {COMMAND}", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, partial(_fill, made[path]))
        print(f"wrote {path.relative_to(root)}")
    return 0


def _fill(text: str, file: IO[bytes]) -> None:
    """Writes a page."""
    file.write(text.encode())


if __name__ == "__main__":
    sys.exit(main())
