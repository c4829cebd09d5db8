"""Makes a smaller checkpoint of a parent, step by step, with a table after each step: the `zoo compress` command."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.hub import folder_of

from .budget import choose
from .build import prepare
from .child import add_source, add_work, corpus_of, make, run_command
from .pipeline import plan
from .recipe import Recipe, parse_recipe, read_recipe
from .recipe_text import has_key, with_key
from .step_options import FORMS, STEP_OPTIONS, steps_of, table

TUNING = """
[[compress.stage]]
optimizer = "adam"
betas = [0.0, 0.999]
lr = 0.001
weight_decay = 1e-6
warmup = 200
epochs = {epochs}
schedule = "linear"
average = "ema"
decay = 0.999
"""
HEADER = """name = {name}
description = {description}
parent = {parent}
corpus = {corpus}

[training]
batch_size = 20
window = 35
clip = 1.0
"""
EXAMPLE = "zoo compress lstm-200-ptb --out small --head low_rank:50 --untie --int8"


def parser(prog: str) -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog=prog, description=__doc__, allow_abbrev=False, epilog=f"e.g. {EXAMPLE}")
    add_source(made)
    made.add_argument("--recipe", metavar="FILE", help="take the steps from a recipe, instead of the options below")
    steps = made.add_argument_group("steps, taken in this order")
    steps.add_argument("--keep-units", type=int, metavar="N", help="keep N hidden units per layer")
    steps.add_argument("--low-rank", type=int, metavar="R", help="recurrent layers with a shared projection to R")
    steps.add_argument(
        "--embedding-size", type=int, metavar="N", help="N numbers a word at the input of an untied model"
    )
    steps.add_argument("--layers", metavar="FORM", help="a form for the recurrent layers' matrices")
    steps.add_argument("--embed", metavar="FORM", help=f"a form for the embedding: {FORMS}")
    steps.add_argument("--head", metavar="FORM", help="a form for the output layer")
    steps.add_argument(
        "--untie", action="store_true", help="give a tied output layer a matrix of its own, in the first step that can"
    )
    steps.add_argument("--prune", type=float, metavar="SHARE", help="zero this share of the smallest numbers")
    steps.add_argument("--prune-roles", metavar="ROLES", help="of these, with commas (default: all)")
    steps.add_argument("--int8", action="store_true", help="8 bits a number")
    steps.add_argument("--int4", action="store_true", help="4 bits a number")
    budget = made.add_argument_group("a budget: the steps are chosen by a sensitivity sweep on the validation text")
    budget.add_argument("--max-mb", type=float, metavar="MB", help="size of the weights, 10⁶ bytes")
    budget.add_argument("--max-ppl-loss", type=float, metavar="SHARE", help="e.g. 0.03: at most 3 %% more perplexity")
    made.add_argument("--fine-tune", type=int, metavar="EPOCHS", help="epochs after (or in) each step")
    add_work(made)
    return made


def main(arguments: list[str] | None = None, prog: str = "python -m conversion.compress") -> int:
    """The command; returns 0, 2 for an error, 128 + signal when stopped."""
    return run_command(parser(prog), lambda given: make(recipe_of(given), given), arguments)


def recipe_of(given: argparse.Namespace) -> Recipe:
    """The recipe that the command asks for, checked against the parent."""
    if given.recipe is None:
        return from_options(given)
    others = ("max_mb", "max_ppl_loss", *STEP_OPTIONS, "prune_roles", "fine_tune")
    if options := [option for option in others if getattr(given, option) not in (None, False)]:
        raise RecipeError(f"--recipe has the steps already; leave out --{options[0].replace('_', '-')}")
    return from_file(given)


def from_file(given: argparse.Namespace) -> Recipe:
    """The steps of a recipe, for this parent and folder, and another corpus if one is given.

    Raises:
        RecipeError: no steps, or ones of another kind of parent.
    """
    read = read_recipe(given.recipe)
    if not read.compress:
        raise RecipeError(f"{given.recipe} has no [[compress]]; to train it: python -m conversion.build {read.name}")
    wanted = {"name": given.out.name, "parent": given.parent}
    if given.corpus is not None or not has_key(read.text, "corpus"):
        wanted["corpus"] = corpus_of(given)
    text = read.text
    for key, value in wanted.items():
        text = with_key(text, key, value)
    recipe = parse_recipe(text, given.recipe)
    for key, value in wanted.items():
        if getattr(recipe, key) != value:
            raise RecipeError(f"{given.recipe}: {key} is {getattr(recipe, key)!r}; write it on a line of its own")
    return recipe


def from_options(given: argparse.Namespace) -> Recipe:
    """The recipe that the options describe, planned against the parent."""
    folder = folder_of(given.parent)
    steps = steps_of(given)
    if given.untie and given.max_mb is None and given.max_ppl_loss is None and "untie = true" not in "".join(steps):
        raise RecipeError(
            "--untie is of a step that changes the output layer or the embedding; give --head, e.g. low_rank:50"
        )
    told = f"{Path(given.parent).name}, compressed"
    values = {"name": given.out.name, "description": told, "parent": given.parent, "corpus": corpus_of(given)}
    head = HEADER.format(**{key: json.dumps(value) for key, value in values.items()})
    if given.max_mb is not None or given.max_ppl_loss is not None:
        if steps:
            raise RecipeError("a budget chooses the steps itself; leave out the other steps, or the budget")
        for option in ("max_mb", "max_ppl_loss"):
            if (value := getattr(given, option)) is not None and not value > 0:
                raise RecipeError(f"--{option.replace('_', '-')} is {value}; it must be above 0")

        parent = parse_recipe(head + table("quantize", bits=8), "the options")
        corpus, model = prepare(parent, given.data, given.out.parent)
        if not isinstance(corpus, Corpus):
            raise RecipeError("a budget is of perplexity, so of language models; give a text classifier's steps")
        chosen = choose(model, corpus, given.max_mb, given.max_ppl_loss, given.untie)
        steps += [table(method, **fields) for method, fields in chosen]
    if not steps:
        raise RecipeError(f"nothing to do; give --recipe, a budget, or steps, e.g. {EXAMPLE}")
    recipe = parse_recipe(head + "".join(tuned(steps, given.fine_tune or 0)), "the options")
    plan(recipe, RnnLmConfig.from_pretrained(folder))
    return recipe


def tuned(steps: list[str], epochs: int) -> list[str]:
    """The steps with a fine-tuning each, but for those after the first that makes integers, which do not learn."""
    made, floats = [], True
    for step in steps:
        made.append(step + (TUNING.format(epochs=epochs) if epochs and floats else ""))
        floats = floats and 'method = "quantize"' not in step and 'values = "int8"' not in step
    return made


if __name__ == "__main__":
    sys.exit(main())
