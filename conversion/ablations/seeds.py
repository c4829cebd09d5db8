"""A checkpoint trained again from scratch with other seeds: how far its perplexity depends on chance.

python -m conversion.ablations.seeds tt-lstm-256-ptb --seeds 2 --data DIR --out bench/results/tt-lstm-256-ptb/seeds.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from zoo.errors import RecipeError
from zoo.fetching import sha256_of
from zoo.hub import folder_of

from ..build import build
from ..checkpoint import provenance
from ..interruption import Interrupted
from ..recipe import Recipe, parse_recipe
from ..recipe_text import with_key
from .command import parser, write_table

PROGRAM = "conversion.ablations.seeds"
FOLDER = "_seeds"  # of the checkpoints, beside the runs; no recipe can have this name


def table(folder: Path, seeds: tuple[int, ...], data: str | None, runs: Path, device: str = "auto") -> dict[str, Any]:
    """A row for the checkpoint and one for each other seed: `seed`, `epochs`, and perplexities on `valid` and `test`.

    Runs go on where they were stopped; a seed that is done is not trained again while its folder under `runs` is there.

    Raises:
        ZooError: the checkpoint has no recipe that trains from scratch, or what `build` raises.
    """
    file = folder / "recipe.toml"
    if not file.is_file():
        raise RecipeError(f"{folder} has no recipe.toml; give a checkpoint that conversion.build made")
    recipe = parse_recipe(file.read_text(encoding="utf-8"), str(file))
    if recipe.parent or not recipe.stage:
        raise RecipeError(
            f"{folder.name} was made from {recipe.parent or 'no training'}; give one trained from scratch"
        )
    if recipe.seed in seeds or len(set(seeds)) < len(seeds):
        raise RecipeError(f"seeds are {list(seeds)}; give different ones, without {folder.name}'s own, {recipe.seed}")
    rows = [_row(recipe.seed, folder)]
    for seed in seeds:
        made = build(with_seed(recipe, seed), runs / FOLDER, runs, data, device, finish=False, replace=False)
        rows.append(_row(seed, made))
    return {
        "name": folder.name,
        "corpus": recipe.corpus,
        "sha256": sha256_of(folder / "model.safetensors"),
        "rows": rows,
        "versions": provenance(),
    }


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The same recipe under another seed and a name that says so."""
    text = with_key(with_key(recipe.text, "name", f"{recipe.name}-seed-{seed}"), "seed", seed)
    return parse_recipe(text, f"{recipe.name} with seed {seed}")


def _row(seed: int, folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    told = {split: {key: found[split][key] for key in ("perplexity", "standard_error")} for split in ("valid", "test")}
    return {"seed": seed, "epochs": found["training"]["epochs"], **told}


def main(arguments: list[str] | None = None) -> int:
    """Makes the table of one checkpoint; 128 + signal when stopped."""
    options = parser(PROGRAM, __doc__, corpus=False)
    options.add_argument("--seeds", type=int, nargs="+", default=[2], help="other seeds (default: 2)")
    options.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default runs)")
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")
    given = options.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    seeds = tuple(given.seeds)
    try:
        return write_table(
            PROGRAM,
            given.out,
            lambda: table(folder_of(given.checkpoint), seeds, given.data, given.runs, given.device),
            f" --seeds {' '.join(map(str, seeds))}",
        )
    except (Interrupted, KeyboardInterrupt) as stop:
        print(f"{stop or 'stopped'}; to go on give the same command again", file=sys.stderr)
        return 128 + (stop.number if isinstance(stop, Interrupted) else 2)


if __name__ == "__main__":
    sys.exit(main())
