"""What the commands that make a checkpoint of another one share: places, device, runs, errors."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from transformers.utils import logging

from zoo.errors import RecipeError, ZooError
from zoo.evaluation import trained_on
from zoo.hub import folder_of
from zoo.loading import set_threads

from .build import build
from .checkpoint import check_place
from .crew import check_device
from .interruption import Interrupted
from .recipe import NAME, Recipe

DONE = "done"  # a file in the folder of a run whose checkpoint was made


def add_source(parser: argparse.ArgumentParser) -> None:
    """The parent, the folder to make and the texts."""
    parser.add_argument("parent", metavar="PARENT", help="a shipped checkpoint, a folder, or owner/name on the Hub")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the checkpoint folder to make")
    parser.add_argument("--data", metavar="DIR", help="folder of the corpus (default: environment variable ZOO_DATA)")
    parser.add_argument("--corpus", help="as zoo evaluate takes it (default: the one that the parent was trained on)")


def add_work(parser: argparse.ArgumentParser) -> None:
    """Where and how the work is done."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs' states (default: runs)")
    parser.add_argument("--replace", action="store_true", help="replace the folder if it is there")


def corpus_of(given: argparse.Namespace) -> str:
    """The corpus that is given, or the one that the parent was trained on (CheckpointError: it does not say)."""
    return trained_on(folder_of(given.parent)) if given.corpus is None else given.corpus


def run_command(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], object], arguments: list[str] | None
) -> int:
    """Parses, checks the places and works; returns 0, 2 for an error, 128 + signal when stopped."""
    given = parser.parse_args(arguments)
    logging.disable_progress_bar()
    try:
        set_threads(given.threads)
        check_out(given)
        check_device(given.device)
        work(given)
        return 0
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        number = stop.number if isinstance(stop, Interrupted) else 2
        again = shlex.join([*parser.prog.split(), *(sys.argv[1:] if arguments is None else arguments)])
        print(f"{stop or 'stopped'}; to go on type: {again}", file=sys.stderr)
        return 128 + number


def check_out(given: argparse.Namespace) -> None:
    """Refuses (RecipeError) a folder that no checkpoint can have, or that is there."""
    out: Path = given.out
    if not NAME.fullmatch(out.name):
        raise RecipeError(f"--out ends in {out.name!r}; a name has small letters, digits, . _ and -, e.g. small-lstm")
    check_place(out)
    if out.exists() and not given.replace:
        raise RecipeError(f"{out} is there already; give another --out, or --replace")


def make(recipe: Recipe, given: argparse.Namespace) -> Path:
    """Builds the folder; a run that is over already, of another place or one to be replaced, is begun anew."""
    run_folder = given.runs / given.out.name
    if (run_folder / DONE).is_file():
        shutil.rmtree(run_folder)
    folder = build(recipe, given.out.parent, given.runs, given.data, given.device, finish=False, replace=given.replace)
    (run_folder / DONE).touch()
    return folder
