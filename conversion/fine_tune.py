"""Trains a checkpoint on with texts of one's own and stores it as it was stored: the `zoo fine-tune` command.

What the parent stores as integers learns as floats and is rounded again at the end, so that the child is as small.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.floats import in_integers
from zoo.hub import folder_of

from .build import prepare
from .child import add_source, add_work, corpus_of, make, run_command
from .matrices import score_of, select, spec_of
from .recipe import parse_recipe
from .step_options import table
from .tasks import Data, measure_in, validation_quality

TEXT = """name = {name}
description = {description}
parent = {parent}
corpus = {corpus}
{rates}
[training]
batch_size = {batch}
window = 35
clip = 1.0
{teachers}
[[stage]]
optimizer = "adam"
betas = [0.0, 0.999]
lr = {lr}
warmup = 20
epochs = {epochs}
schedule = "linear"
average = "ema"
decay = 0.999
"""
KEEP = 0.3
MOST, LEAST = 20, 1750  # stripes; tokens of one, fifty windows, where the text is short


def parser(prog: str) -> argparse.ArgumentParser:
    """The options."""
    example = "zoo fine-tune keyboard-medium --corpus my-texts --out my-keyboard"
    made = argparse.ArgumentParser(prog=prog, description=__doc__, allow_abbrev=False, epilog=f"e.g. {example}")
    add_source(made)
    made.add_argument("--epochs", type=int, default=5, help="passes over the training text (default 5)")
    made.add_argument(
        "--lr", type=float, default=0.001, help="learning rate at the start, falling to 0 (default 0.001)"
    )
    made.add_argument(
        "--keep",
        type=float,
        metavar="SHARE",
        help=f"of the loss: what the parent expects of the texts, so that it forgets less (default {KEEP}; 0: none)",
    )
    made.add_argument(
        "--dropout", type=float, metavar="RATE", help="of word vectors and features (default: the parent's)"
    )
    made.add_argument("--batch-size", type=int, metavar="N", help=f"stripes (default: {MOST}, fewer for a short text)")
    add_work(made)
    return made


def main(arguments: list[str] | None = None, prog: str = "python -m conversion.fine_tune") -> int:
    """The command; returns 0, 2 for an error, 128 + signal when stopped."""
    return run_command(parser(prog), fine_tune, arguments)


def fine_tune(given: argparse.Namespace) -> None:
    """Makes the child; says what the parent is worth on the texts before, and both after."""
    draft = parse_recipe(text_of(given, keep=given.keep or 0.0), "the options")
    data, model = prepare(draft, given.data, given.out.parent)
    if given.keep and not isinstance(data, Corpus):
        raise RecipeError(f"--keep is of language models, and {given.parent} is a text classifier; leave it out")
    before, name = validation_quality(model, data), Path(given.parent).name
    print(f"{name} on these texts: {told(data, before)}", flush=True)
    steps = stored_as(RnnLmConfig.from_pretrained(folder_of(given.parent)), score_of(model))
    batch, keep = (batch_of(data), KEEP) if isinstance(data, Corpus) else (MOST, 0.0)
    text = text_of(given, batch, keep if given.keep is None else given.keep)
    recipe = parse_recipe(text + "".join(steps), "the options")
    after = json.loads((make(recipe, given) / "metrics.json").read_text(encoding="utf-8"))["valid"]
    measure = measure_in(after)
    old, new = before[f"valid_{measure}"], after[measure]
    print(f"valid {measure}: {name} {old:.4g}, {given.out.name} {new:.4g}")
    if new > old if measure != "accuracy" else new < old:
        print(f"It is worse than before; give a smaller step, e.g. --lr {given.lr / 10:g}, or more text.")


def text_of(given: argparse.Namespace, batch: int = MOST, keep: float = 0.0) -> str:
    """The recipe's text but for its steps."""
    name = Path(given.parent).name
    words = {
        "name": given.out.name,
        "description": f"{name}, fine-tuned",
        "parent": given.parent,
        "corpus": corpus_of(given),
        "lr": given.lr,
        "epochs": given.epochs,
    }
    rates, teachers = "", ""
    if given.dropout is not None:
        rates = f"\n[model]\ninput_dropout = {given.dropout}\noutput_dropout = {given.dropout}\n"
    if keep:
        teachers = f"teachers = [{json.dumps(given.parent)}]\nteacher_weight = {keep}\n"
    fields = {key: json.dumps(value) for key, value in words.items()}
    return TEXT.format(**fields, rates=rates, teachers=teachers, batch=given.batch_size or batch)


def batch_of(data: Corpus) -> int:
    """Stripes that leave each of them some length."""
    return max(1, min(MOST, len(data.splits["train"]) // LEAST))


def told(data: Data, quality: dict[str, float]) -> str:
    """Validation quality in words, and how many words are none of the parent's."""
    numbers = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in quality.items())
    if not isinstance(data, Corpus):
        return numbers
    unknown = data.unknown.get("train", 0) / len(data.splits["train"])
    return f"{numbers}; {unknown:.1%} of the words to learn from are unknown to it"


def stored_as(config: RnnLmConfig, score: int) -> list[str]:
    """The steps that store floats in the integers of a config."""
    alike: dict[str, list[str]] = {}
    for name in select(config, ["all"]):
        if in_integers(spec := spec_of(config, name)):
            leaf = spec.get("values", spec)
            alike.setdefault(json.dumps(leaf, sort_keys=True), []).append(name)
    steps = []
    for text, names in alike.items():
        leaf = json.loads(text)
        if leaf["form"] == "int8":
            steps.append(table("quantize", roles=names, bits=8, scheme=leaf.get("scheme", "row")))
            continue
        rounding = "nearest" if score or config.num_softmaxes > 1 else "compensated"
        steps.append(table("quantize", roles=names, bits=4, group=leaf["group"], limits="error", rounding=rounding))
    return steps


if __name__ == "__main__":
    sys.exit(main())
