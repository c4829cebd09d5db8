"""Recipe -> checkpoint folder: trains (or goes on training), measures once, writes.

A run that was stopped or killed goes on when the same command is given again. Several devices or hosts:
`accelerate launch -m conversion.build NAME`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging

from zoo.catalog import CHECKPOINTS
from zoo.corpora import Corpus
from zoo.errors import RecipeError, ZooError
from zoo.floats import in_floats
from zoo.hub import folder_of
from zoo.loading import load_any, set_threads

from .checkpoint import check_place, measure, provenance, save_checkpoint
from .classification import train_reviews
from .crew import PartialState, check_device, disband
from .distillation import SoftTargets
from .drawn_text import taught
from .interruption import Interrupted
from .pipeline import run_steps
from .queueing import Crowd, build_all
from .recipe import RECIPES, Recipe, read_recipe
from .state import load_state, only_one
from .tasks import Data, config_of, load_data, measure_in, model_class, narrowed
from .train import train

COUNTED = 1 << 24  # tokens counted together


def build(recipe: Recipe, out: Path, runs: Path, data: str | None, device: str, finish: bool, replace: bool) -> Path:
    """Makes the checkpoint folder of a recipe.

    Args:
        out: folder of the checkpoints.
        runs: folder of the runs; this one's state, log and curve are in `runs / recipe.name`.
        data: folder of the corpora; None: the environment variable ZOO_DATA.
        device: `auto`, `cpu` or `cuda`.
        finish: make it of the best weights so far instead of training on.
        replace: put it in the place of one that is there.

    Raises:
        Interrupted: training was stopped by a signal; its state is saved.
        ZooError: the recipe, the corpus, the parent or the place of the folder cannot be used.
    """
    folder, run = out / recipe.name, runs / recipe.name
    check_place(folder)
    if folder.exists() and not replace:
        print(f"{folder} is there already; to build it again give --replace")
        return folder
    corpus, model = prepare(recipe, data, out)
    learnt, targets = corpus, None
    if isinstance(corpus, Corpus) and not finish:
        learnt, targets = taught(recipe, corpus, out, runs, device)
    facts, more = where_built(device), {}
    if recipe.compress and finish:
        raise RecipeError(f"recipe {recipe.name} has steps of its own length; leave out --finish")
    with only_one(run):
        if recipe.stage:
            state = trained(recipe, model, learnt, run, device, targets, finish)
            model.load_state_dict(state["best"]["weights"])
            facts = {**facts_of(state), **facts}
        if recipe.compress:
            model = model.to("cpu")
            model, steps = run_steps(recipe, model, learnt, run, device, options={"targets": targets})
            more = {"steps": steps}
    for step in more.get("steps", ()):
        corpus = narrowed(corpus, step.pop("words")) if "words" in step else corpus
    if PartialState().is_main_process:
        found, half = measure(model, corpus)
        facts = {**facts, **provenance()}
        metrics = {"corpus": recipe.corpus, "texts": corpus.sha256, **found, **more, "training": facts}
        built = "".join(f"{key} = {json.dumps(value)}\n" for key, value in facts.items())
        text = f"{recipe.text}\n[built]\n{built}"
        save_checkpoint(model, corpus.tokenizer, folder, text, metrics, half, replace)
        measure_of = measure_in(found["valid"])
        told = ", ".join(f"{split} {found[split][measure_of]:.4g}" for split in ("valid", "test") if split in found)
        print(f"{folder}: {measure_of} {told}", flush=True)
    PartialState().wait_for_everyone()
    return folder


def trained(
    recipe: Recipe, model: Any, corpus: Data, run: Path, device: str, targets: SoftTargets | None, finish: bool
) -> dict[str, Any]:
    """The state at the end of a recipe's stages; with `finish` the one that there is."""
    if finish:
        state = load_state(run / "state.pt")
        if state is None or not state["best"]:
            raise RecipeError(f"{run} has no evaluated weights to finish with; train on: leave out --finish")
        return state
    alone = dataclasses.replace(recipe, compress=())
    if isinstance(corpus, Corpus):
        return train(alone, model, corpus.splits, corpus.eos_id, run, device, targets=targets)
    return train_reviews(alone, model, corpus, run, device)


def prepare(recipe: Recipe, data: str | None, out: Path) -> tuple[Data, Any]:
    """The data of a recipe, and the model at its initial weights or at its parent's, looked for in `out` first."""
    if not recipe.parent:
        corpus = load_data(recipe, data)
        torch.manual_seed(recipe.seed)
        model = model_class(corpus)(config_of(recipe, corpus))
        if isinstance(corpus, Corpus) and isinstance(bias := model.lm_head.bias, torch.Tensor):
            set_unigram_bias(bias, corpus.splits["train"])
        return corpus, model
    source = folder_of(out / recipe.parent if (out / recipe.parent).is_dir() else recipe.parent)
    parent, tokenizer = load_any(source)
    corpus = load_data(recipe, data, tokenizer)
    if not isinstance(parent, model_class(corpus)):
        raise RecipeError(
            f"recipe {recipe.name}: {recipe.parent} is a {type(parent).__name__}, the corpus {recipe.corpus} needs a "
            f"{model_class(corpus).__name__}; give another parent or corpus"
        )
    if recipe.learns:
        parent = in_floats(parent)
    model = model_class(corpus)(config_of(recipe, corpus, parent.config))
    try:
        model.load_state_dict(parent.state_dict())
    except RuntimeError as error:
        raise RecipeError(
            f"recipe {recipe.name}: [model] gives other tensors than its parent {recipe.parent} has; "
            "change dropouts only, or remove the parent"
        ) from error
    return corpus, model


@torch.no_grad()
def set_unigram_bias(bias: torch.Tensor, tokens: np.ndarray) -> None:
    """Starts the head's bias [V] at the log frequency of the words, each counted once more than it occurs.

    Otherwise the first hundreds of updates learn nothing but these frequencies, and a deep projected cell may stay
    there.
    """
    counts = np.zeros(len(bias), np.int64)
    for start in range(0, len(tokens), COUNTED):  # the text may be larger than memory
        counts += np.bincount(tokens[start : start + COUNTED], minlength=len(bias))
    frequencies = (counts + 1) / (counts.sum() + len(bias))
    bias.copy_(torch.from_numpy(np.log(frequencies)))


def facts_of(state: dict[str, Any]) -> dict[str, Any]:
    """What a run did, for recipe.toml and metrics.json."""
    position, best, last = state["position"], state["best"], state["history"][-1]
    in_stage = last["epoch"] if last["stage"] == position["stage"] + 1 else 0.0  # it may not have been evaluated yet
    return {
        "epochs": round(position["epochs_before"] + in_stage, 4),
        "best_epoch": round(best["epochs"], 4),
        "tokens": position["tokens"],
        "seconds": round(position["seconds"]),
        "processes": len(state["rng"]),
    }


def where_built(device: str) -> dict[str, Any]:
    """The machine."""
    cuda = device != "cpu" and torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else processor(),
        "threads": torch.get_num_threads(),
    }


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 0, 1 where a build of the queue failed, 2 for an error, 128 + signal when stopped."""
    parser = argparse.ArgumentParser(prog="python -m conversion.build", description=__doc__)
    parser.add_argument("recipe", nargs="*", help="a name in conversion/recipes, or a TOML file")
    parser.add_argument("--queue", action="store_true", help="all recipes whose checkpoint is missing, by priority")
    parser.add_argument("--jobs", type=int, default=1, help="builds at once, with --queue (default 1)")
    parser.add_argument("--recipes", type=Path, default=RECIPES, help="folder of the queue's recipes")
    parser.add_argument("--data", help="folder of the corpora (default: the environment variable ZOO_DATA)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, help="processor threads of a build (default: torch's choice)")
    parser.add_argument("--out", type=Path, default=CHECKPOINTS, help="folder of checkpoints (default zoo/checkpoints)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default runs)")
    parser.add_argument("--finish", action="store_true", help="make the checkpoint of the best weights so far")
    parser.add_argument("--replace", action="store_true", help="build although the checkpoint is there")
    given = parser.parse_args(arguments)
    if given.queue == bool(given.recipe):
        parser.error("give recipes, or --queue")
    if given.jobs < 1:
        parser.error("--jobs must be at least 1")
    logging.disable_progress_bar()  # transformers' own, for a file that is written at once
    try:
        check_device(given.device)
        set_threads(given.threads)
        return run_queue(given) if given.queue else run_recipes(given)
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        number = stop.number if isinstance(stop, Interrupted) else 2
        again = shlex.join(["python", "-m", "conversion.build", *(sys.argv[1:] if arguments is None else arguments)])
        print(f"{stop or 'stopped'}; to go on type: {again}", file=sys.stderr)
        return 128 + number
    finally:
        disband()


def run_recipes(given: argparse.Namespace) -> int:
    """Builds the recipes named, one after the other."""
    for recipe in [read_recipe(name) for name in given.recipe]:
        build(recipe, given.out, given.runs, given.data, given.device, given.finish, given.replace)
    return 0


def run_queue(given: argparse.Namespace) -> int:
    """Builds what is missing."""
    recipes = [(path, read_recipe(path)) for path in sorted(given.recipes.glob("*.toml"))]
    if not recipes:
        raise RecipeError(f"{given.recipes} has no recipes (*.toml); give --recipes DIR")
    if given.device == "cpu" or not torch.cuda.is_available():
        if left := [recipe.name for _, recipe in recipes if recipe.gpu_only]:
            print(f"left out, as they need a GPU: {', '.join(left)}; to build one all the same give its name")
        recipes = [(path, recipe) for path, recipe in recipes if not recipe.gpu_only]
    threads = given.threads or max(1, (os.cpu_count() or 1) // given.jobs)
    options = ["--device", given.device, "--threads", str(threads), "--out", str(given.out), "--runs", str(given.runs)]
    options += ["--data", given.data] if given.data else []
    options += ["--finish"] if given.finish else []
    crowd = Crowd(given.jobs, given.runs, options, torch.cuda.device_count() if given.device != "cpu" else 0)

    def present(name: str) -> bool:
        return (given.out / name).is_dir() and not given.replace

    failed = build_all(recipes, present, crowd)
    if failed:
        print(f"error: failed: {', '.join(failed)}; the others are built", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
