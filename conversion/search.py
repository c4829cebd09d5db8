"""Random search over a space of recipes: short trainings, judged by the validation loss that they end with.

A study with a storage goes on when the same command is given again, and several processes with one storage share it.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from transformers.utils import logging

from zoo.catalog import CHECKPOINTS
from zoo.corpora import Corpus
from zoo.counts import parameters_of
from zoo.errors import RecipeError, ZooError
from zoo.layout import layout_of
from zoo.loading import set_threads
from zoo.writing import write_atomically

from .build import prepare
from .crew import Crew
from .drawn_text import taught
from .interruption import Interrupted, requests_to_stop
from .pipeline import run_steps
from .recipe import RECIPES, Recipe, read_recipe
from .space import Space, drawn, read_space
from .train import Trainer

STARTUP = 5  # trials before any is cut short
WARMUP = 2  # the evaluation of a trial from which on it may be
OPENINGS = 4  # tries to open a storage
DRAWS = 100  # for each trial, those of too many parameters counted
TRAINED = "seconds"  # what is known of the trials that count


def search(
    recipe: Recipe,
    space: Space,
    trials: int,
    storage: str | None,
    out: Path,
    runs: Path,
    data: str | None = None,
    device: str = "auto",
    seed: int | None = None,
) -> Any:
    """Runs trials until the study has as many, those of other processes with the same storage counted.

    Args:
        storage: an Optuna URL; None: in memory only.
        out: folder of checkpoints, for parents and teachers.
        runs: folder of the trainings; that of a trial is removed when it is over.
        device: `auto`, `cpu` or `cuda`.
        seed: of the draws; None: another one each time, as several processes need.

    Returns:
        The Optuna study.

    Raises:
        RecipeError: Optuna is not there, or the recipe is not one that can be searched. Interrupted: a signal came.
    """
    if not recipe.stage:
        raise RecipeError(f"recipe {recipe.name} has no [[stage]] to search; give one that trains")
    study = _study(recipe.name, storage, seed)

    def objective(trial: Any) -> float:
        one = drawn(recipe, space, lambda name, how: _suggest(trial, name, how), f"{recipe.name}-trial-{trial.number}")
        return _run(trial, one, space, out, runs, data, device)

    def over() -> bool:
        return sum(trial.state.is_finished() and TRAINED in trial.user_attrs for trial in study.trials) >= trials

    def stop(study: Any, trial: Any) -> None:
        if over():
            study.stop()

    if not over():
        study.optimize(objective, n_trials=DRAWS * trials, callbacks=[stop])
    return study


def _study(name: str, storage: str | None, seed: int | None) -> Any:
    """The study of a recipe, made where it is not there; RecipeError without Optuna or a storage that can be used."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise RecipeError("conversion.search needs optuna; type: pip install 'rnnlm-zoo[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options: dict[str, Any] = {"study_name": name, "storage": storage, "load_if_exists": True}
    options["sampler"] = optuna.samplers.RandomSampler(seed)
    options["pruner"] = optuna.pruners.MedianPruner(STARTUP, WARMUP)
    for left in reversed(range(OPENINGS)):
        try:
            return optuna.create_study(**options)
        except (
            Exception
        ) as error:  # of any database; two processes that make its tables at once get in each other's way
            if not left:
                reason = " ".join(str(error).split())[:200]
                raise RecipeError(
                    f"the storage {storage} cannot be opened: {reason}; give --storage sqlite:///FILE in a folder that "
                    "is there"
                ) from error
            time.sleep(0.2 + random.random())
    return None


def _suggest(trial: Any, name: str, how: dict[str, Any]) -> Any:
    """One value of a field."""
    if "choices" in how:
        return trial.suggest_categorical(name, how["choices"])
    low, high, step, log = how["low"], how["high"], how.get("step"), how.get("log", False)
    if type(low) is int and type(high) is int and type(step) in (int, type(None)):
        return trial.suggest_int(name, low, high, step=step or 1, log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)


class Watched(Trainer):
    """A training that tells its trial of every evaluation, and ends when that is hopeless."""

    trial: Any = None

    def evaluate(self) -> None:
        """As `Trainer`; raises TrialPruned where the loss is above the median of the other trials' here."""
        import optuna

        super().evaluate()
        self.trial.report(math.log(self.history[-1]["valid_perplexity"]), len(self.history))
        if self.trial.should_prune():
            self.progress.epoch_ends()
            raise optuna.TrialPruned


def _run(trial: Any, recipe: Recipe, space: Space, out: Path, runs: Path, data: str | None, device: str) -> float:
    """One trial; its validation loss in nats per word."""
    import optuna

    corpus, model = prepare(recipe, data, out)
    if not isinstance(corpus, Corpus):
        raise RecipeError(f"{recipe.name} is trained on labelled texts; give a recipe of a language model")
    parameters = sum(parameters_of(layout_of(model.config.to_dict())).values())
    trial.set_user_attr("parameters", parameters)
    if space.most_parameters is not None and parameters > space.most_parameters:
        raise optuna.TrialPruned
    corpus, targets = taught(recipe, corpus, out, runs, device)
    run = runs / recipe.name
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    try:
        with requests_to_stop() as requests:
            crew = Crew(device, recipe.training.batch_size)
            trainer = Watched(recipe, model, corpus.splits, corpus.eos_id, run, crew, requests, targets=targets)
            trainer.trial = trial
            try:
                trainer.run_stages()
            except RecipeError as error:  # the loss is no number any more
                raise optuna.TrialPruned(str(error)) from error
            finally:
                trial.set_user_attr(TRAINED, round(trainer.seconds))
        if not recipe.compress:
            return trainer.best["loss"]
        model = model.to("cpu")
        model.load_state_dict(trainer.best["weights"])
        _, rows = run_steps(recipe, model, corpus, run, device, options={"targets": targets})
        return math.log(rows[-1]["valid_perplexity"])
    finally:
        shutil.rmtree(run, ignore_errors=True)


def table(study: Any, space: Space) -> str:
    """The finished trials as CSV, the best first, those that were cut short last."""
    names = [name for name, how in space.fields.items() if "same_as" not in how]
    rows = []
    for trial in study.trials:
        state = trial.state.name.lower()
        if state not in ("complete", "pruned") or TRAINED not in trial.user_attrs:
            continue
        last = trial.value if state == "complete" else trial.intermediate_values.get(trial.last_step)
        perplexity = "" if last is None else f"{math.exp(last):.3f}"
        values = [_short(trial.params.get(name, "")) for name in names]
        known = [trial.user_attrs.get(key, "") for key in ("parameters", TRAINED)]
        evaluations = len(trial.intermediate_values)
        key = (state != "complete", -evaluations, float(perplexity or "inf"), trial.number)
        rows.append((key, [trial.number, state, evaluations, perplexity, *known, *values]))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", "state", "evaluations", "valid_perplexity", "parameters", "seconds", *names])
    writer.writerows(row for _, row in sorted(rows, key=lambda one: one[0]))
    return file.getvalue()


def _short(value: Any) -> Any:
    """A drawn value with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else value


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, 2 for an error, 128 + signal when stopped."""
    parser = argparse.ArgumentParser(prog="python -m conversion.search", description=__doc__)
    parser.add_argument("recipe", help="a name in conversion/recipes, or a TOML file")
    parser.add_argument("--space", type=Path, required=True, help="TOML file: what is drawn (conversion/spaces)")
    parser.add_argument("--trials", type=int, required=True, help="of the whole study, earlier ones counted")
    parser.add_argument("--storage", help="where the study is kept, e.g. sqlite:///FILE (default: in --runs)")
    parser.add_argument("--data", help="folder of the corpora (default: the environment variable ZOO_DATA)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's choice)")
    parser.add_argument("--seed", type=int, help="of the draws (default: another one each time)")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="folder of parents and teachers")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default runs)")
    parser.add_argument("--table", type=Path, help="file of the trials (default conversion/recipes/RECIPE.trials.csv)")
    given = parser.parse_args(arguments)
    if given.trials < 1:
        parser.error("--trials must be at least 1")
    logging.disable_progress_bar()
    try:
        set_threads(given.threads)
        recipe, space = read_recipe(given.recipe), read_space(given.space)
        given.runs.mkdir(parents=True, exist_ok=True)
        storage = given.storage or f"sqlite:///{given.runs / f'{recipe.name}.study.db'}"
        places = (given.checkpoints, given.runs, given.data, given.device, given.seed)
        study = search(recipe, space, given.trials, storage, *places)
        file = given.table or RECIPES / f"{recipe.name}.trials.csv"
        text = table(study, space)
        write_atomically(file, lambda out: out.write(text.encode()))
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        print(f"{stop or 'stopped'}; to go on give the same command again", file=sys.stderr)
        return 128 + (stop.number if isinstance(stop, Interrupted) else 2)
    print(text.partition("\n")[0], *text.splitlines()[1:4], sep="\n")
    print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
