"""`zoo fine-tune`: the parent goes on learning and is stored as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conversion import build, fine_tune
from conversion.recipe import read_recipe
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.loading import load

from .tiny import WORDS, write_corpus, write_recipe

STEPS = """
[[compress]]
method = "low_rank"
roles = ["recurrent"]
rank = 4

[[compress]]
method = "quantize"
roles = ["layers"]
bits = 8

[[compress]]
method = "quantize"
roles = ["embed"]
bits = 4
group = 6
"""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A checkpoint with factors and matrices in 8 bits and word vectors in 4."""
    folder = tmp_path_factory.mktemp("parent")
    file = write_recipe(folder / "tiny.toml", corpus)
    file.write_text(file.read_text() + STEPS)
    places = ["--runs", str(folder / "runs"), "--out", str(folder), "--device", "cpu"]
    assert build.main([str(file), *places]) == 0
    return folder / "tiny"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The words of the parent's corpus with other successors, and one that it does not know."""
    folder = write_corpus(tmp_path_factory.mktemp("texts"))
    for file in folder.iterdir():
        lines = [" ".join(["neologism", *reversed(line.split())]) for line in file.read_text().splitlines()]
        file.write_text("\n".join(lines) + "\n")
    return folder


def command(parent: Path, texts: Path, folder: Path, *options: str) -> list[str]:
    places = ["--out", str(folder / "mine"), "--runs", str(folder / "runs"), "--corpus", str(texts)]
    return [str(parent), *places, "--device", "cpu", *options]


def test_child_has_learnt_and_is_stored_as_its_parent(tmp_path: Path, parent: Path, texts: Path, capsys):
    assert fine_tune.main(command(parent, texts, tmp_path, "--lr", "0.02")) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    before, unknown = float(first.split("perplexity ")[1].split(";")[0]), first.split("; ")[1]
    assert unknown == "10.0% of the words to learn from are unknown to it"
    model, tokenizer = load(tmp_path / "mine")
    assert model.config.weights == load(parent)[0].config.weights
    assert tokenizer.vocab.keys() >= set(WORDS) and "neologism" not in tokenizer.vocab
    after = json.loads((tmp_path / "mine" / "metrics.json").read_text())["valid"]["perplexity"]
    assert after < 0.8 * before
    assert last == f"valid perplexity: tiny {before:.4g}, mine {after:.4g}"
    recipe = read_recipe(tmp_path / "mine" / "recipe.toml")
    assert recipe.training.batch_size == 1  # fifty windows of a text as short as this
    assert recipe.stage[0].epochs == 5 and recipe.training.teachers == (str(parent),)


def test_options_are_taken(tmp_path: Path, parent: Path, texts: Path):
    options = "--keep 0.5 --dropout 0.2 --batch-size 3 --epochs 1"
    assert fine_tune.main(command(parent, texts, tmp_path, *options.split())) == 0
    recipe = read_recipe(tmp_path / "mine" / "recipe.toml")
    assert recipe.training.teachers == (str(parent),) and recipe.training.teacher_weight == 0.5
    assert recipe.training.batch_size == 3 and recipe.stage[0].epochs == 1
    config = RnnLmConfig.from_pretrained(tmp_path / "mine")
    assert (config.input_dropout, config.output_dropout) == (0.2, 0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--epochs 0", "epochs is 0"),
        ("--lr -1", "lr is -1.0"),
        ("--keep 2", "teacher_weight is 2.0"),
        ("--dropout 1.5", "input_dropout"),
        ("--batch-size -2", "batch_size is -2"),
    ],
)
def test_impossible_options_are_refused_before_any_work(tmp_path, parent, texts, options, message, capsys):
    assert fine_tune.main(command(parent, texts, tmp_path, *options.split())) == 2
    told = capsys.readouterr()
    assert message in told.err and told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(tmp_path: Path, parent: Path, texts: Path, capsys):
    assert fine_tune.main(command(parent, tmp_path / "nowhere", tmp_path)) == 2
    assert "nowhere" in capsys.readouterr().err
    only_train = tmp_path / "texts"
    only_train.mkdir()
    shutil.copy(texts / "train.txt", only_train)
    assert fine_tune.main(command(parent, only_train, tmp_path)) == 2
    assert "has no valid text" in capsys.readouterr().err
    assert fine_tune.main(command(tmp_path / "no-parent", texts, tmp_path)) == 2
    assert "no-parent" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_floats_stay_floats_and_a_loss_is_told(tmp_path: Path, corpus: Path, texts: Path, capsys):
    file = write_recipe(tmp_path / "tiny.toml", corpus, ("epochs = 2", "epochs = 1"))
    assert build.main([str(file), "--runs", str(tmp_path / "r"), "--out", str(tmp_path), "--device", "cpu"]) == 0
    assert fine_tune.main(command(tmp_path / "tiny", texts, tmp_path, "--epochs", "1")) == 0
    assert load(tmp_path / "mine")[0].config.weights == {}
    assert read_recipe(tmp_path / "mine" / "recipe.toml").compress == ()
    assert "worse" not in capsys.readouterr().out
    other = tmp_path / "other"  # what is learnt is none of what is measured
    shutil.copytree(corpus, other)
    shutil.copy(texts / "train.txt", other)
    assert fine_tune.main(command(tmp_path / "tiny", other, tmp_path, "--lr", "0.02", "--keep", "0", "--replace")) == 0
    assert "It is worse than before; give a smaller step, e.g. --lr 0.002, or more text." in capsys.readouterr().out
