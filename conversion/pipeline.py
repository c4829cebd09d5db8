"""Steps of compression one after the other, each with its fine-tuning; a stopped run goes on at its last state.

The order of Grachev et al. 2019, Fig. 2: the recurrent layers, then embedding and output layer, then pruning or
quantization. Any other is allowed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers.utils import logging

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.counts import count, total
from zoo.errors import RecipeError
from zoo.floats import float_config, in_integers
from zoo.writing import write_atomically

from .classification import train_reviews
from .constraint import Together
from .matrices import Model, score_of, spec_of
from .methods import METHODS
from .recipe import RATES, Recipe, Step
from .resume import other_texts
from .streams import Stripes
from .table import print_row
from .tasks import Data, fingerprint, model_class, narrowed, validation_quality
from .train import train

Row = dict[str, Any]
REPORT = "report.json"  # beside a step's model


def plan(recipe: Recipe, config: RnnLmConfig, score: int = 0) -> RnnLmConfig:
    """The config that a recipe's steps make of a parent's, without touching weights; sizes after `bayes` come later.

    Args:
        config: the parent's; what it has in integers is in floats where the recipe learns.
        score: labels of a text classifier; 0: a language model.

    Raises:
        RecipeError: a step that this parent cannot take, by number, with the nearest valid choice.
    """
    config = float_config(config) if recipe.learns else config
    for number, step in enumerate(recipe.compress, 1):
        try:
            if not step.stage and (why := getattr(METHODS[step.method], "NEEDS_STAGES", None)):
                raise RecipeError(why)
            if step.stage and (frozen := [name for name in config.shapes if in_integers(spec_of(config, name))]):
                raise RecipeError(
                    f"it has stages, but {frozen[0]} is stored in integers already, which do not learn; put quantize "
                    "last, with its own stages if it is to be fine-tuned; where several steps quantize, give the "
                    "stages to the first, which allow for the others"
                )
            planner = METHODS[step.method].plan
            config = planner(config, step.spec, score) if step.method == "bayes" else planner(config, step.spec)
        except RecipeError as error:
            raise RecipeError(f"recipe {recipe.name}, compress {number} ({step.method}): {error}") from error
    return config


def run_steps(
    recipe: Recipe,
    parent: Model,
    data: Data,
    run: Path,
    device: str = "auto",
    options: dict[str, Any] | None = None,
    show: Callable[[Row, Row | None], None] = print_row,
) -> tuple[Model, list[Row]]:
    """Compresses a parent by a recipe.

    Args:
        run: folder of the run; each step keeps its model and the state of its training in a folder of its own.
        options: passed on to `train`, of language models.
        show: called with each finished row and the one before it.

    Returns:
        The model, and the table: a row for the parent and one per step with `step`, `parameters`, `nonzeros`, `bytes`
        (of the weights in float16 and smaller), the quality on validation, and what the method reports.

    Raises:
        RecipeError: a step is impossible, or one that is done was changed since; nothing was done yet.
        Interrupted: the training of a step was stopped; its state is saved.
    """
    plan(recipe, parent.config, score_of(parent))
    check_texts(recipe, data)
    remember(recipe, parent, run, fingerprint(data.splits))
    logging.disable_progress_bar()
    model, rows = parent, []
    for number, step in enumerate((None, *recipe.compress)):
        folder = run / f"{number}-{'parent' if step is None else step.method}"
        if not (folder / "model").is_dir():
            if step is not None:
                model = take(step, recipe, model, data, folder, device, options or {}, joined(recipe, number))
            keep(model, folder / "model")
        model = model_class(data).from_pretrained(folder / "model")
        report = read_report(folder)
        data = narrowed(data, report["words"]) if "words" in report else data
        start = recipe.parent if recipe.parent and not recipe.stage else "at the start"
        name = start if step is None else step.describe()
        rows.append({**row_of(name, model, data, folder), **report})
        show(rows[-1], rows[-2] if len(rows) > 1 else None)
    return model, rows


def check_texts(recipe: Recipe, data: Data) -> None:
    """Refuses (CorpusError) texts too short for the batches of a fine-tuning, before any of it."""
    if isinstance(data, Corpus) and any(step.stage for step in recipe.compress):
        Stripes(data.splits["train"], data.eos_id, recipe.training.batch_size)


def remember(recipe: Recipe, parent: Model, run: Path, texts: str) -> None:
    """Notes what the steps of a run are, and refuses (RecipeError) to go on after finished ones that were others."""
    numbers = hashlib.sha256(b"".join(t.detach().cpu().numpy().tobytes() for t in parent.state_dict().values()))
    shared = {"model": recipe.model, "training": dataclasses.asdict(recipe.training), "seed": recipe.seed}
    steps: list[dict[str, Any]] = [{"parent": numbers.hexdigest(), "corpus": recipe.corpus, "texts": texts}]
    for number, step in enumerate(recipe.compress, 1):
        also = [dataclasses.asdict(other.spec) for other in joined(recipe, number)]
        trained = {**shared, **({"joined": also} if also else {})} if step.stage else {}
        steps.append({**dataclasses.asdict(step), **trained})
    steps = json.loads(json.dumps(steps))  # tuples as lists
    file = run / "steps.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    for number, (old, new) in enumerate(zip(before, steps, strict=False)):
        done = any((folder / "model").is_dir() for folder in run.glob(f"{number}-*"))
        if done and number == 0 and old.setdefault("texts", texts) != texts:
            raise RecipeError(other_texts(recipe, run))
        if done and old != new:
            what = "its parent" if number == 0 else f"step {number} ({recipe.compress[number - 1].method})"
            raise RecipeError(
                f"recipe {recipe.name}: {what} was changed since the run began; change it back, or to start anew "
                f"remove the folder {run}"
            )
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(file, lambda out: out.write(json.dumps(steps, indent=2).encode()))


def joined(recipe: Recipe, number: int) -> tuple[Step, ...]:
    """The steps of quantization that the fine-tuning of a step of quantization, by its number from 1, allows for too.

    They follow it, without stages of their own or a head to untie: matrices in 8 bits and others in 4 learn to live
    with each other.
    """
    step, *others = recipe.compress[number - 1 :]
    if step.method != "quantize" or not step.stage:
        return ()

    def joins(other: Step) -> bool:
        return other.method == "quantize" and not (other.stage or other.spec.untie)

    return tuple(itertools.takewhile(joins, others))


def take(
    step: Step,
    recipe: Recipe,
    model: Model,
    data: Data,
    folder: Path,
    device: str,
    options: dict[str, Any],
    also: tuple[Step, ...] = (),
) -> Model:
    """One step with its fine-tuning; `also`: those after it that the fine-tuning allows for."""
    method = METHODS[step.method]
    constraint = method.constraint(step.spec) if step.stage and hasattr(method, "constraint") else None
    if constraint is not None and also:
        constraint = Together(constraint, *(METHODS[other.method].constraint(other.spec) for other in also))
    model = (method.compress if constraint is None else method.prepare)(model, step.spec, data)
    if step.stage:
        for name in RATES:
            setattr(model.config, name, recipe.model.get(name, getattr(model.config, name)))
        training = dataclasses.replace(recipe, stage=step.stage, compress=(), parent="", model={})
        if isinstance(data, Corpus):
            state = train(training, model, data.splits, data.eos_id, folder, device, constraint=constraint, **options)
        else:
            state = train_reviews(training, model, data, folder, device, constraint)
        if not state["best"]:
            raise RecipeError(
                f"recipe {recipe.name}: {step.method} was ended before its weights were of the kind wanted; its stages "
                f"must run their epochs, so leave out patience, and remove the folder {folder}"
            )
        model = model.to("cpu")  # type: ignore[arg-type]
        model.load_state_dict(state["best"]["weights"])
    return model if constraint is None else method.compress(model, step.spec, data)


def keep(model: Any, folder: Path) -> None:
    """Writes a step's model, with what its method reports, whole or not at all."""
    temporary = folder.with_name(".model")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    (temporary / REPORT).write_text(json.dumps(getattr(model, "report", {})), encoding="utf-8")
    temporary.rename(folder)


def read_report(folder: Path) -> dict[str, Any]:
    """What the method of a step reported."""
    file = folder / "model" / REPORT
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def row_of(name: str, model: Any, data: Data, folder: Path) -> Row:
    """What a step made."""
    tokens = len(data.splits["valid"]) if isinstance(data, Corpus) else 0
    with tqdm(total=tokens, desc="validation", unit=" tokens", delay=2, disable=None, leave=False) as bar:
        quality = validation_quality(model, data, on_tokens=bar.update)
    counts = total(count(folder / "model"))
    return {
        "step": name,
        "parameters": counts["parameters"],
        "nonzeros": counts["nonzeros"],
        "bytes": stored_bytes(model),
        **quality,
    }


def stored_bytes(model: Any) -> int:
    """Bytes of a model's tensors in a checkpoint, tied ones once."""
    return bytes_in_file({tensor.data_ptr(): tensor for tensor in model.state_dict().values()}.values())


def bytes_in_file(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of tensors as a checkpoint stores them: floats in 16 bits, integers as they are."""
    return sum(t.numel() * (min(2, t.element_size()) if t.is_floating_point() else t.element_size()) for t in tensors)
