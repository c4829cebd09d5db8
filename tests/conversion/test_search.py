"""Random search on an invented corpus: what is drawn, the table, going on, and what is cut short."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from conversion import search
from conversion.recipe import read_recipe
from conversion.space import drawn, read_space
from zoo.errors import RecipeError

optuna = pytest.importorskip("optuna")

SPACE = """
epochs = 1
most_parameters = 3000

[fields]
"model.hidden_size" = {low = 8, high = 12, step = 4}
"model.embedding_size" = {same_as = "model.hidden_size"}
"model.input_dropout" = {low = 0.0, high = 0.3}
"stage.lr" = {low = 0.01, high = 0.03, log = true}
"training.batch_size" = {choices = [4, 5]}
"""


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    (tmp_path / "space.toml").write_text(SPACE)
    return tmp_path / "space.toml"


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def test_three_trials_a_table_and_going_on(recipe_file: Path, space_file: Path, tmp_path: Path, capsys):
    table, runs = tmp_path / "trials.csv", tmp_path / "runs"
    command = [str(recipe_file), "--space", str(space_file), "--runs", str(runs), "--table", str(table)]
    command += ["--device", "cpu", "--seed", "1"]
    assert search.main([*command, "--trials", "3"]) == 0
    rows = rows_of(table)
    assert len(rows) == 3 and f"wrote {table}" in capsys.readouterr().out
    for row in rows:
        assert row["state"] == "complete" and row["evaluations"] == "1"
        assert 1 < float(row["valid_perplexity"]) < 30 and int(row["parameters"]) <= 3000
        assert row["model.hidden_size"] in ("8", "12") and row["training.batch_size"] in ("4", "5")
        assert 0.01 <= float(row["stage.lr"]) <= 0.03 and "model.embedding_size" not in row
    assert [float(row["valid_perplexity"]) for row in rows] == sorted(float(row["valid_perplexity"]) for row in rows)
    assert [path.name for path in runs.iterdir()] == ["tiny.study.db"]
    assert search.main([*command, "--trials", "3"]) == 0 and rows_of(table) == rows  # they are there already
    assert search.main([*command, "--trials", "4", "--storage", f"sqlite:///{runs / 'tiny.study.db'}"]) == 0
    assert len(rows_of(table)) == 4


def test_a_recipe_as_it_is_drawn(recipe_file: Path, space_file: Path):
    values = {"model.hidden_size": 8, "model.input_dropout": 0.2, "stage.lr": 0.02, "training.batch_size": 5}
    before, space = read_recipe(recipe_file), read_space(space_file)
    one = drawn(before, space, lambda name, how: values[name], "one")
    assert (one.name, one.training.batch_size, one.stage[0].lr, one.stage[0].epochs) == ("one", 5, 0.02, 1)
    assert one.model == {**before.model, "hidden_size": 8, "embedding_size": 8, "input_dropout": 0.2}
    assert (one.stage[0].betas, one.training.window, before.stage[0].epochs) == (before.stage[0].betas, 9, 2)
    with pytest.raises(RecipeError, match=r"one, \[training\]: batch_size is 0; allowed: at least 1"):
        drawn(before, space, lambda name, how: {**values, "training.batch_size": 0}[name], "one")


def study_with(losses: list[list[float]]):
    """A study in memory of finished trials with these losses."""
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(search.STARTUP, search.WARMUP))
    for values in losses:
        trial = study.ask()
        for step, value in enumerate(values, 1):
            trial.report(value, step)
        trial.set_user_attr(search.TRAINED, 7)
        study.tell(trial, values[-1])
    return study


def test_hopeless_trials_are_cut_short(recipe_file: Path, space_file: Path, tmp_path: Path, monkeypatch):
    study = study_with([[0.5, 0.4, 0.3]] * search.STARTUP)  # better than an invented text allows
    monkeypatch.setattr(optuna, "create_study", lambda **_: study)
    space_file.write_text(SPACE.replace("epochs = 1", "epochs = 3"))
    recipe, space = read_recipe(recipe_file), read_space(space_file)
    found = search.search(recipe, space, search.STARTUP + 1, None, tmp_path, tmp_path / "runs", device="cpu")
    assert found.trials[-1].state == optuna.trial.TrialState.PRUNED
    last = list(csv.DictReader(search.table(found, space).splitlines()))[-1]
    assert last["state"] == "pruned" and last["evaluations"] == "2"
    assert float(last["valid_perplexity"]) == pytest.approx(math.exp(found.trials[-1].value), rel=1e-3)
    assert not list((tmp_path / "runs").iterdir())


def test_diverging_trials_are_cut_short(recipe_file: Path, space_file: Path, tmp_path: Path):
    space_file.write_text(SPACE.replace("{low = 0.01, high = 0.03, log = true}", "{choices = [1e20]}"))
    arguments = (read_recipe(recipe_file), read_space(space_file), 1, None, tmp_path, tmp_path / "runs")
    (trial,) = [trial for trial in search.search(*arguments, device="cpu", seed=1).trials if trial.user_attrs[
        "parameters"] <= 3000]  # fmt: skip
    assert trial.state == optuna.trial.TrialState.PRUNED


def test_networks_of_too_many_parameters_are_not_trained(recipe_file: Path, space_file: Path, tmp_path: Path):
    space_file.write_text(SPACE.replace("3000", "10"))
    arguments = (read_recipe(recipe_file), read_space(space_file), 1, None, tmp_path, tmp_path / "runs")
    study = search.search(*arguments, device="cpu")
    assert len(study.trials) == search.DRAWS and search.table(study, arguments[1]).count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 1", "epochs = 0", "epochs is 0; it takes a whole number from 1"),
        ("model.hidden_size", "model.hiden_size", "unknown key 'hiden_size'; did you mean hidden_size"),
        ("stage.lr", "stages.lr", "unknown key 'stages'; did you mean stage"),
        ("stage.lr", "stage.epochs", "unknown key 'epochs'"),
        ("high = 0.3}", "high = -1}", "it takes {low, high} with low below high"),
        ("low = 0.01,", "low = 0.0,", "it takes {low, high}"),
        ("[4, 5]", "[]", "it takes {low, high}"),
        ('"model.hidden_size"}', '"model.other"}', "it takes {low, high}"),
        ("most_parameters = 3000", 'most_parameters = "few"', "most_parameters is 'few'"),
        ("[fields]", "[field]", "unknown key 'field'; did you mean fields"),
    ],
)
def test_what_is_no_space(space_file: Path, old, new, message):
    assert old in SPACE
    space_file.write_text(SPACE.replace(old, new))
    with pytest.raises(RecipeError) as error:
        read_space(space_file)
    assert message in str(error.value)


def test_errors_are_told_in_one_line(recipe_file: Path, space_file: Path, tmp_path: Path, capsys, monkeypatch):
    assert search.main([str(recipe_file), "--space", str(tmp_path / "none.toml"), "--trials", "1"]) == 2
    assert "conversion/spaces/small.toml" in capsys.readouterr().err
    monkeypatch.setattr(search, "OPENINGS", 1)
    command = [str(recipe_file), "--space", str(space_file), "--trials", "1", "--runs", str(tmp_path / "runs")]
    assert search.main([*command, "--storage", f"sqlite:///{tmp_path}/nowhere/study.db"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot be opened" in error and "give --storage sqlite:///FILE" in error
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search.main(command) == 2
    assert "type: pip install 'rnnlm-zoo[search]'" in capsys.readouterr().err


def test_the_space_of_small_shapes_fits_its_recipe():
    space = read_space(Path(search.__file__).parent / "spaces" / "small.toml")
    recipe = read_recipe("lr-lstm-200-66-ptb")
    for end in ("low", "high"):
        one = drawn(recipe, space, lambda name, how, end=end: how[end], "one")
        config = one.config(10_000, 0)
        assert config.embedding_size == config.projection_size == one.model["embedding_size"]
    assert SimpleNamespace(**one.model).hidden_size == 350
