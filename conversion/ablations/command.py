"""The command that the ablations share: a table of one checkpoint, written as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers.utils import logging

from zoo.errors import ZooError
from zoo.writing import write_atomically


def parser(program: str, about: str | None, corpus: bool = True) -> argparse.ArgumentParser:
    """What all of them take; without `corpus` where the checkpoint's own is the only one."""
    made = argparse.ArgumentParser(prog=f"python -m {program}", description=about)
    made.add_argument("checkpoint", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    if corpus:
        made.add_argument("--corpus", default="ptb", help="as in zoo evaluate (default: ptb)")
    made.add_argument("--data", metavar="DIR", help="folder of the corpus (default: environment variable ZOO_DATA)")
    made.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    return made


def write_table(program: str, out: Path, make: Callable[[], dict[str, Any]], options: str = "") -> int:
    """Makes a table and writes it whole with the command that makes it again; 0, or 2 for an error told in one line."""
    logging.disable_progress_bar()  # of loading
    try:
        result = make()
        command = f"python -m {program} {result['name']}{options} --data DIR --out FILE"
        text = json.dumps(result | {"command": command}, indent=2) + "\n"
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, lambda file: file.write(text.encode()))
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
