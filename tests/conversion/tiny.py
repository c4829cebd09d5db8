"""A small corpus of invented words and a recipe for it, for the tests."""

from __future__ import annotations

import random
from pathlib import Path

import torch

from conversion.build import prepare
from conversion.recipe import Recipe, read_recipe
from conversion.train import train

WORDS = [first + second for first in ("ba", "ko", "ri", "tu", "me") for second in ("lan", "pes", "dor", "fim")]

RECIPE = """
name = "tiny"
corpus = "{corpus}"
seed = 3

[model]
cell = "lstm"
embedding_size = 12
hidden_size = 12
num_hidden_layers = 2
input_dropout = 0.1
output_dropout = 0.1
embedding_dropout = 0.05
weight_drop = 0.1

[training]
batch_size = 4
window = 9
precision = "no"
save_every = 0

[[stage]]
optimizer = "adam"
lr = 0.02
epochs = 2
average = "ema"
decay = 0.9
"""


def write_corpus(folder: Path, lines: int = 120) -> Path:
    """train, valid and test texts in which every word has a favourite successor; the folder."""
    chance = random.Random(5)
    follower = dict(zip(WORDS, chance.sample(WORDS, len(WORDS)), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", lines), ("valid", 30), ("test", 30)):
        text = []
        for _ in range(count):
            line = [chance.choice(WORDS)]
            while len(line) < 8:
                line.append(follower[line[-1]] if chance.random() < 0.9 else chance.choice(WORDS))
            text.append(" ".join(line) + "\n")
        (folder / f"{split}.txt").write_text("".join(text))
    return folder


def write_recipe(file: Path, corpus: Path, *changes: tuple[str, str]) -> Path:
    """The recipe for a corpus, with parts of its text replaced; the file."""
    text = RECIPE.format(corpus=corpus)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)
    return file


def run(recipe: Recipe | Path, folder: Path) -> dict:
    """Trains, or goes on; the final state."""
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    corpus, model = prepare(recipe, None, Path())
    return train(recipe, model, corpus.splits, corpus.eos_id, folder, "cpu")


def same_tensors(one, other) -> bool:
    """Whether two nested containers hold bit-equal tensors and equal numbers."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_tensors(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same_tensors, one, other))
    return one == other
