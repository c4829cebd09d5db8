"""What each `zoo` command does with its parsed arguments; every function returns the exit code.

Heavy imports stand inside the functions: `zoo suggest` loads neither torch nor transformers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .catalog import LANGUAGE, Entry, entries
from .errors import CheckpointError, VocabularyError
from .published import versions

if TYPE_CHECKING:
    from .suggestions import Suggester

ON_HUB = "on the Hub"
DEFAULTS = ("lr-cifg-1200-born-again-ptb", "lstm-200-ptb")  # the first of these that is shipped


def suggest(given: Namespace) -> int:
    """Next words of each text, or of each line of standard input."""
    from .suggestions import Suggester

    model = given.model if given.model is not None else _default_model()
    suggester = Suggester(model)
    suggester.check_k(given.k, given.special)
    interactive = not given.text and sys.stdin.isatty()
    try:
        for text in given.text or _lines(interactive):
            _suggest_one(suggester, model, text, given, interactive)
    except KeyboardInterrupt:
        if given.text:
            raise
        if interactive:  # an interrupt is a way to end; the prompt's line too
            print()
    if not given.json:
        speed = "" if suggester.ms_per_word is None else f", {suggester.ms_per_word:.2f} ms per word"
        print(f"{model}: {suggester.size_bytes / 1e6:.2f} MB{speed}")
    return 0


def _suggest_one(suggester: Suggester, model: str, text: str, given: Namespace, interactive: bool) -> None:
    """Prints what may follow one text; a person at a prompt may go on after a word that cannot be read."""
    try:
        found = suggester.suggest(text, given.k, given.special)
        unknown = suggester.unknown_words(text)
    except VocabularyError as error:
        if not interactive:
            raise
        print(f"error: {error}", file=sys.stderr)
        return
    if given.json:
        _print_json(
            {
                "text": text,
                "suggestions": [{"word": word, "probability": probability} for word, probability in found],
                "unknown_words": unknown,
                "model": model,
                "bytes": suggester.size_bytes,
                "ms_per_word": suggester.ms_per_word,
            }
        )
        return
    if not interactive:  # a person sees the text above
        print(text)
    if unknown:
        print(f"  (not in the vocabulary, read as <unk>: {', '.join(unknown)})")
    for word, probability in found:
        print(f"  {100 * probability:5.1f} %  {word}")
    sys.stdout.flush()


def _default_model() -> str:
    """The shipped checkpoint that suggests when none is named."""
    shipped = [name for name, row in entries().items() if row.task == LANGUAGE]
    if not shipped:
        raise CheckpointError(
            "no checkpoint is shipped with this copy; type: zoo suggest --model NAME with a checkpoint folder, or "
            "owner/name on the Hub"
        )
    return next((name for name in DEFAULTS if name in shipped), shipped[0])


def _lines(interactive: bool) -> Iterator[str]:
    """Lines of standard input until it ends; with a prompt where a person types."""
    if interactive:
        with contextlib.suppress(ImportError):  # line editing and history, where Python has them
            import readline  # noqa: F401
        print("A text and Enter: the words that may follow. Ctrl-D ends.", file=sys.stderr)
    with contextlib.suppress(EOFError):
        while True:
            yield input("> " if interactive else "")
    if interactive:
        print()


def list_(given: Namespace) -> int:
    """The catalog as a table: here is with the package, cache is the Hub's."""
    rows = entries()
    if given.json:
        _print_json({name: _list_row(row) for name, row in rows.items()})
        return 0
    if not rows:
        print("no checkpoint is shipped with this copy; a folder or owner/name on the Hub works in every command")
        return 0
    table = [("name", "version", "where", "parameters", "MB", "quality", "network")]
    for row in rows.values():
        version = versions(row.name)[-1].name if versions(row.name) else ""
        size = f"{row.bytes / 1e6:.2f}"
        table.append((row.name, version, _where(row), f"{row.parameters:,}", size, row.headline, row.description))
    _print_table(table, right=(3, 4))
    if any(row[2] == ON_HUB for row in table):
        print("\nto get one that is on the Hub, type: zoo pull NAME")
    return 0


def _list_row(row: Entry) -> dict[str, Any]:
    """A checkpoint of the catalog in JSON, with where it is and its versions."""
    known = {found.name: {"repo_id": found.repo_id, "revision": found.revision} for found in versions(row.name)}
    return {**dataclasses.asdict(row), "where": _where(row), "versions": known}


def _where(row: Entry) -> str:
    """Where the files of a checkpoint are."""
    if row.folder.is_dir():
        return "here"
    version = next((found for found in reversed(versions(row.name)) if found.repo_id), None)
    if version is None:
        return "nowhere"
    from .fetching import is_cached

    return "cache" if is_cached(str(version.repo_id), str(version.revision)) else ON_HUB


def info(given: Namespace) -> int:
    """Network, counts by matrix, recipe and measured numbers of a checkpoint."""
    from .hub import folder_of
    from .info import describe, table

    folder = folder_of(given.name)
    found = describe(folder)
    if given.json:
        _print_json({"name": given.name, **found})
        return 0
    print(f"{given.name}: {found['network']}\n")
    _print_table(table(found), right=(1, 2, 4, 5, 6))
    if found["metrics"] is not None:
        print("\nmeasured")
        for key, value in _leaves(found["metrics"]):
            print(f"  {key}: {value}")
    if found["recipe"] is not None:
        print("\nrecipe")
        print("\n".join(f"  {line}".rstrip() for line in found["recipe"].strip().splitlines()))
    return 0


def delegate(module: str, command: str, arguments: Sequence[str]) -> int:
    """A command of another package, which need not be there where only the weights are used."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in ("conversion",):
            print(f"error: zoo {command} needs the package conversion; install the whole rnnlm-zoo", file=sys.stderr)
        else:
            print(f"error: zoo {command} needs {error.name}: pip install 'rnnlm-zoo[train]'", file=sys.stderr)
        return 2
    return found.main(list(arguments), prog=f"zoo {command}")


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every number and text in nested JSON."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, round(value, 4) if isinstance(value, float) else value


def _print_table(rows: Sequence[tuple[str, ...]], right: tuple[int, ...]) -> None:
    """Columns in line; those in `right` end, the others begin together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())


def _print_json(value: dict[str, Any]) -> None:
    """One JSON object on one line."""
    print(json.dumps(value), flush=True)
