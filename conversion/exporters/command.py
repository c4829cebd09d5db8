"""Writes a checkpoint as ONNX, ExecuTorch, LiteRT or C, after the files suggested the same words as torch."""

from __future__ import annotations

import argparse
import json
import sys

from zoo.errors import ZooError

from .export import TARGETS, VARIANTS, export


def main(arguments: list[str] | None = None, prog: str = "python -m conversion.exporters") -> int:
    """Exports a checkpoint as the arguments say; returns 0, or 2 for an error that is told in one line."""
    given = _parser(prog).parse_args(arguments)
    try:
        from transformers.utils import logging

        logging.disable_progress_bar()  # of loading; the bar of the check counts words
        written = export(given.name, given.to, given.out, given.variant, given.corpus, given.data)
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report = json.loads(written[-1].read_text(encoding="utf-8"))
    for path in written:
        found = report["files"].get(path.name)
        shown = "" if found is None else f", the same best three words at {100 * found['same_top3']:.2f} %"
        print(f"{path}  {path.stat().st_size / 1e6:.2f} MB{shown}")
    positions = max(found["positions"] for found in report["files"].values())
    print(f"checked on {positions:,} positions: {report['text']}")
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "name", metavar="NAME", help="a shipped checkpoint, a folder, or owner/name[@revision] on the Hub"
    )
    parser.add_argument("--to", required=True, choices=tuple(TARGETS), help="the runtime")
    parser.add_argument("--out", metavar="DIR", help="folder to write to (default: NAME if a folder, else ./NAME)")
    parser.add_argument(
        "--variant",
        default="all",
        choices=("all", *sorted({*sum(VARIANTS.values(), ())})),
        help="precision of the weights (default: all)",
    )
    parser.add_argument("--corpus", metavar="NAME", help="text for the check: ptb, a folder, a file (default: ptb)")
    parser.add_argument(
        "--data", metavar="DIR",
        help="folder of the corpus (default: environment variable ZOO_DATA; without either, the model makes the text)",
    )  # fmt: skip
    return parser
