"""Recipes of compression: steps with fine-tuning, the table, stopping, and the checkpoint they end in."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conversion import build, compress, pipeline
from conversion.interruption import Interrupted
from conversion.matrices import matrix_of
from conversion.recipe import parse_recipe, read_recipe
from zoo.counts import count, total
from zoo.errors import RecipeError
from zoo.loading import load
from zoo.scoring import score_stream

from .tiny import write_recipe

STAGE = """
[[compress.stage]]
optimizer = "adam"
lr = 0.005
epochs = 1
"""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A trained tiny checkpoint."""
    folder = tmp_path_factory.mktemp("parent")
    changes = (("save_every = 0", "save_every = 60"), ("epochs = 2", "epochs = 12"))
    file = write_recipe(folder / "tiny.toml", corpus, *changes)
    assert build.main([str(file), "--runs", str(folder / "runs"), "--out", str(folder), "--device", "cpu"]) == 0
    return folder / "tiny"


def text_of(parent: Path, corpus: Path, *steps: str) -> str:
    head = f'name = "small"\nparent = "{parent}"\ncorpus = "{corpus}"\n'
    training = '[training]\nbatch_size = 4\nwindow = 9\nprecision = "no"\n'
    return head + training + "".join(f"\n[[compress]]\n{step}\n" for step in steps)


def built(folder: Path, text: str) -> Path:
    """The checkpoint folder that a recipe's text makes."""
    folder.mkdir(exist_ok=True)
    file = folder / "small.toml"
    file.write_text(text)
    arguments = [str(file), "--runs", str(folder / "runs"), "--out", str(folder / "out"), "--device", "cpu"]
    assert build.main(arguments) == 0
    return folder / "out" / "small"


CLEAN = """
import sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True)
assert "zoo" not in sys.modules and "conversion" not in sys.modules
print(model.generate(torch.tensor([[3, 4]]), max_new_tokens=6, do_sample=False).tolist())
"""

LOW = 'method = "low_rank"\nroles = ["recurrent", "input"]\nrank = 4'
SHARED = 'method = "shared_projection"\nrank = 8'
TRAIN = 'method = "tensor_train"\nroles = ["head"]\norder = 2\nmax_rank = 6\nuntie = true'
PRUNE = 'method = "prune"\nroles = ["embed"]\nsparsity = 0.5'
INT8 = 'method = "quantize"\nbits = 8'
INT4 = 'method = "quantize"\nbits = 4\ngroup = 4'
MODES = 'method = "tensor_train"\nroles = ["embed"]\nrow_modes = [3, 7]\ncolumn_modes = [3, 4]\nranks = [2]'
UNITS = 'method = "prune_units"\nkeep = 9'


@pytest.mark.parametrize(
    "steps",
    [
        (LOW + STAGE, PRUNE + STAGE, INT8),
        (SHARED, TRAIN + STAGE, INT4),
        (UNITS + STAGE, INT8 + STAGE),
        ('method = "quantize"\nscheme = "range"',),
    ],
    ids=["low_rank-prune-int8", "shared-tensor_train-int4", "units-int8", "range"],
)
def test_compress_save_load_generate(tmp_path, corpus, parent, steps, capsys):
    folder = built(tmp_path, text_of(parent, corpus, *steps))
    model, _ = load(folder)
    table = capsys.readouterr().out
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(metrics["steps"]) == len(steps) + 1 and metrics["steps"][0]["step"] == str(parent)
    for row in metrics["steps"]:
        assert f"{row['valid_perplexity']:.2f}" in table and f"{row['parameters']:,}" in table
    last = metrics["steps"][-1]
    found = total(count(folder))
    assert (last["parameters"], last["nonzeros"]) == (found["parameters"], found["nonzeros"])
    assert last["bytes"] == found["bytes"]  # as they were foretold
    assert last["bytes"] < metrics["steps"][0]["bytes"] * 0.8
    assert last["valid_perplexity"] == pytest.approx(metrics["valid"]["perplexity"], rel=0.01)
    assert f'parent = "{parent}"' in (folder / "recipe.toml").read_text()
    ids = torch.tensor([[3, 4]])
    own = model.generate(ids, max_new_tokens=6, do_sample=False).tolist()
    clean = subprocess.run(
        [sys.executable, "-I", "-c", CLEAN, str(folder)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert clean.returncode == 0, clean.stderr
    assert json.loads(clean.stdout) == own


def test_fine_tuning_recovers_what_a_step_lost(tmp_path, corpus, parent):
    harsh = 'method = "low_rank"\nroles = ["embed"]\nrank = 2'
    lost = json.loads((built(tmp_path / "a", text_of(parent, corpus, harsh)) / "metrics.json").read_text())
    tuned = json.loads((built(tmp_path / "b", text_of(parent, corpus, harsh + STAGE)) / "metrics.json").read_text())
    assert tuned["valid"]["perplexity"] < 0.95 * lost["valid"]["perplexity"]


def test_pruned_zeros_stay_zero_in_fine_tuning(tmp_path, corpus, parent):
    step = 'method = "prune"\nroles = ["recurrent", "head"]\nsparsity = 0.75\nuntie = true'
    model, _ = load(built(tmp_path, text_of(parent, corpus, step + STAGE)))
    for name in ("recurrent.0", "recurrent.1", "head"):
        assert (matrix_of(model, name).to_dense() == 0).float().mean() >= 0.75


LAYERS = 'method = "quantize"\nroles = ["layers"]\nlimits = "coarse"'
WORDS = 'method = "quantize"\nroles = ["embed"]\nbits = 4\ngroup = 12\nlimits = "coarse"'


def test_fine_tuning_in_8_bits_allows_for_the_4_bits_that_follow(tmp_path, corpus, parent):
    """A tied embedding in 4 bits loses less where the step before, of the layers, was fine-tuned with it in sight."""

    def lost(folder: str, *steps: str) -> float:
        made = built(tmp_path / folder, text_of(parent, corpus, *steps))
        return json.loads((made / "metrics.json").read_text())["valid"]["perplexity"]

    assert lost("a", LAYERS + STAGE, WORDS) < 0.97 * lost("b", LAYERS, WORDS)


def test_what_a_fine_tuning_allowed_for_cannot_be_changed_after_it(tmp_path, corpus, parent):
    def go(*steps):
        recipe = parse_recipe(text_of(parent, corpus, *steps), "test")
        data, model = build.prepare(recipe, None, Path())
        return pipeline.run_steps(recipe, model, data, tmp_path, "cpu", show=lambda row, before: None)[1]

    assert len(go(LAYERS + STAGE, WORDS)) == 3
    with pytest.raises(RecipeError, match=r"step 1 \(quantize\) was changed since"):
        go(LAYERS + STAGE, WORDS.replace("group = 12", "group = 6"))


def test_a_stopped_run_goes_on_at_its_step(tmp_path, corpus, parent, monkeypatch):
    text = text_of(parent, corpus, LOW + STAGE, INT8)
    recipe = parse_recipe(text, "test")
    whole = built(tmp_path / "whole", text)
    calls = []

    def stopped(*arguments, **options):
        calls.append(arguments)
        raise Interrupted(15)

    data, model = build.prepare(recipe, None, Path())
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "train", stopped)
        with pytest.raises(Interrupted):
            pipeline.run_steps(recipe, model, data, run, "cpu")
    assert calls and not (run / "1-low_rank" / "model").exists() and (run / "0-parent" / "model").is_dir()
    shown = []
    made, rows = pipeline.run_steps(recipe, model, data, run, "cpu", show=lambda row, before: shown.append(row))
    assert shown == rows and len(rows) == 3
    again, rows = pipeline.run_steps(recipe, model, data, run, "cpu", show=lambda row, before: None)
    for name, tensor in load(whole)[0].state_dict().items():
        for other in (made.state_dict()[name], again.state_dict()[name]):
            torch.testing.assert_close(other.half(), tensor.half(), msg=name)


def test_finished_steps_of_another_recipe_are_not_taken(tmp_path, corpus, parent):
    def go(*steps):
        recipe = parse_recipe(text_of(parent, corpus, *steps), "test")
        data, model = build.prepare(recipe, None, Path())
        return pipeline.run_steps(recipe, model, data, tmp_path, "cpu", show=lambda row, before: None)[1]

    assert len(go(LOW)) == 2
    assert len(go(LOW, INT8)) == 3  # more to do is no change
    with pytest.raises(RecipeError, match=r"step 1 \(low_rank\) was changed since.*remove the folder"):
        go(LOW.replace("rank = 4", "rank = 5"), INT8)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (('method = "low_rank"\nroles = ["embed"]\nrank = 40',), "compress 1.*full rank of embed.*rank = 12"),
        (('method = "low_rank"\nroles = ["head"]\nrank = 4',), "tied to the embedding.*untie"),
        ((MODES,), "multiply to 21, not 22"),
        ((INT8, INT8), "compress 2"),
        (('method = "bayes"\nprior = "log_uniform"',), r"compress 1.*\[\[compress.stage\]\]"),
    ],
    ids=["rank", "tied", "modes", "int8 twice", "bayes without training"],
)
def test_impossible_steps_are_refused_before_any_work(tmp_path, corpus, parent, steps, message):
    recipe = parse_recipe(text_of(parent, corpus, *steps), "test")
    data, model = build.prepare(recipe, None, Path())
    with pytest.raises(RecipeError, match=message):
        pipeline.run_steps(recipe, model, data, tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ('method = "lowrank"', "allowed: shared_projection"),
        ('method = "low_rank"\nrnk = 3', "did you mean rank"),
        ('method = "quantize"\nbits = 3', "allowed: 8 or 4"),
        ('method = "prune"\nsparsity = 1.0', "below 1"),
        ('method = "quantize"\n[compress.stage]\nlr = 1.0', "array of tables"),
        ('method = ["quantize"]', "method is .*; allowed: shared_projection"),
        ('method = "quantize"\nstage = [3]', "stage 1 is 3; it takes a table"),
    ],
)
def test_wrong_steps_are_refused(step, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe(f'name = "a"\nparent = "b"\n[[compress]]\n{step}\n', "test")


def test_steps_need_a_parent_and_integers_do_not_learn(tmp_path, corpus, parent):
    with pytest.raises(RecipeError, match="dropout"):
        parse_recipe(f'name = "a"\nparent = "b"\n[model]\nhidden_size = 3\n[[compress]]\n{INT8}\n', "test")
    recipe = parse_recipe(text_of(parent, corpus, 'method = "quantize"\nroles = ["embed"]', LOW + STAGE), "test")
    data, model = build.prepare(recipe, None, Path())
    with pytest.raises(RecipeError, match="put quantize last"):
        pipeline.run_steps(recipe, model, data, tmp_path / "run", "cpu")


def command(parent: Path, corpus: Path, folder: Path, *options: str) -> list[str]:
    places = ["--out", str(folder / "small"), "--runs", str(folder / "runs"), "--corpus", str(corpus)]
    return [str(parent), *places, "--device", "cpu", *options]


def test_the_command_takes_steps_as_options(tmp_path, corpus, parent):
    options = "--low-rank 8 --head tensor_train:2x11/3x4/6 --untie --prune 0.5 --prune-roles embed --int8 --fine-tune 1"
    assert compress.main(command(parent, corpus, tmp_path, *options.split())) == 0
    model, _ = load(tmp_path / "small")
    assert model.config.projection_size == 8 and not model.config.tie_word_embeddings
    forms = {spec["form"] for spec in model.config.weights.values()}
    assert forms == {"tensor_train", "sparse", "int8"}
    recipe = read_recipe(tmp_path / "small" / "recipe.toml")
    assert [step.method for step in recipe.compress] == ["shared_projection", "tensor_train", "prune", "quantize"]
    again = ["--recipe", str(tmp_path / "small" / "recipe.toml")]
    other = tmp_path / "again"
    other.mkdir()
    assert compress.main(command(parent, corpus, other, *again)) == 0
    same, _ = load(other / "small")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), same.state_dict().values(), strict=True))


def test_a_budget_fine_tunes_what_learns(tmp_path, corpus, parent):
    given = compress.parser("zoo compress").parse_args(
        command(parent, corpus, tmp_path, "--max-ppl-loss", "0.2", "--fine-tune", "1")
    )
    steps = compress.from_options(given).compress
    first = next(place for place, step in enumerate(steps) if step.method == "quantize")
    assert len(steps) > 1 and [bool(step.stage) for step in steps] == [place <= first for place in range(len(steps))]


def test_the_command_narrows_the_word_vectors_of_a_tied_model_that_it_unties(tmp_path, corpus, parent):
    options = "--embedding-size 4 --head low_rank:5 --untie --int8"
    assert compress.main(command(parent, corpus, tmp_path, *options.split())) == 0
    config = load(tmp_path / "small")[0].config
    assert (config.embedding_size, config.tie_word_embeddings) == (4, False)
    assert config.form_of("head")["form"] == "low_rank"


@pytest.mark.parametrize("options", ["--keep-units 0", "--low-rank 0 --int8", "--fine-tune -1 --int8"])
def test_zero_is_given_too(tmp_path, corpus, parent, options, capsys):
    assert compress.main(command(parent, corpus, tmp_path, *options.split())) == 2
    assert "nothing to do" not in capsys.readouterr().err and not (tmp_path / "small").exists()


def test_other_peoples_files_are_not_replaced(tmp_path, corpus, parent, capsys):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "thesis.tex").write_text("years of work")
    assert compress.main(command(parent, corpus, tmp_path, "--int8", "--replace")) == 2
    assert "holds thesis.tex; to replace it would delete that" in capsys.readouterr().err
    assert (tmp_path / "small" / "thesis.tex").read_text() == "years of work"


def test_the_corpus_is_that_of_the_parent(tmp_path, corpus, parent):
    options = [str(parent), "--out", str(tmp_path / "small"), "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    assert compress.main([*options, "--int8"]) == 0
    assert json.loads((tmp_path / "small" / "metrics.json").read_text())["corpus"] == str(corpus)
    assert compress.main([*options, "--int4", "--replace"]) == 0  # a run that is over is in nobody's way
    assert load(tmp_path / "small")[0].config.form_of("embed")["form"] == "int4"


@pytest.mark.parametrize(
    "top", ["", 'parent = "other"\n', '  parent = "other"\n', '"parent" = "other"\ncorpus = "other"\n'], ids=repr
)
def test_a_recipe_is_taken_for_the_parent_that_is_given(tmp_path, corpus, parent, top):
    file = tmp_path / "recipe.toml"
    file.write_text(f'name = "x"\n{top}\n[training]\nbatch_size = 4\n\n[[compress]]\n{INT8}\n')
    given = compress.parser("zoo compress").parse_args(
        [str(parent), "--out", str(tmp_path / "small"), "--recipe", str(file)]
    )
    recipe = compress.from_file(given)
    assert (recipe.name, recipe.parent) == ("small", str(parent))
    assert recipe.corpus == ("other" if "corpus" in top else str(corpus))
    given.corpus = "mine"
    assert compress.from_file(given).corpus == "mine"


@pytest.mark.parametrize(
    ("options", "untied"),
    [
        ("--untie --int8", 0), ("--untie --prune .5 --prune-roles head --int8", 0),
        ("--untie --prune .5 --prune-roles recurrent,input --int8", 1), ("--untie --embed low_rank:4 --int8", 0),
        ("--untie --layers low_rank:4 --head low_rank:4 --int8", 1),
    ],
)  # fmt: skip
def test_the_first_step_that_can_gives_the_head_a_matrix_of_its_own(tmp_path, corpus, parent, options, untied):
    given = compress.parser("zoo compress").parse_args([*command(parent, corpus, tmp_path), *options.split()])
    steps = compress.from_options(given).compress
    assert [step.spec.untie for step in steps if hasattr(step.spec, "untie")] == [
        place == untied for place in range(len(steps))
    ]


@pytest.mark.parametrize("stage", ["stage", "step"])
def test_other_texts_than_a_run_began_with_are_refused(tmp_path, corpus, parent, stage):
    texts = tmp_path / "texts"
    shutil.copytree(corpus, texts)
    kept = INT8 + (STAGE if stage == "stage" else "")

    def go():
        recipe = parse_recipe(text_of(parent, texts, kept), "test")
        data, model = build.prepare(recipe, None, Path())
        return pipeline.run_steps(recipe, model, data, tmp_path / "run", "cpu", show=lambda row, before: None)[1]

    assert len(go()) == 2
    lines = (texts / "train.txt").read_text().splitlines()
    (texts / "train.txt").write_text("\n".join(reversed(lines)) + "\n")
    with pytest.raises(RecipeError, match=r"are not those that the run of small began with.*remove the folder"):
        go()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--untie", "--low-rank", "8"], "--untie is of a step"),
        (["--prune-roles", "head"], "give both"),
        (["--recipe", "lstm-200-pruned-ptb", "--fine-tune", "2"], "leave out --fine-tune"),
        ([], "nothing to do"),
        (["--int8", "--int4"], "give one of them"),
        (["--head", "low_rank"], "it takes low_rank:RANK"),
        (["--head", "low_rank:3"], "--untie"),
        (["--embed", "low_rank:30"], "rank = 12"),
        (["--prune", "1.0"], "below 1"),
        (["--max-mb", "0"], "above 0"),
        (["--max-mb", "1", "--int8"], "leave out the other steps"),
        (["--max-mb", "0.000001"], "no choice meets the budget; the smallest one"),
        (["--threads", "0"], "--threads is 0; allowed: 1 to"),
        (["--recipe", "lstm-200-ptb"], "no \\[\\[compress\\]\\]"),
    ],
    ids=str,
)
def test_the_command_refuses_what_cannot_be(tmp_path, corpus, parent, options, message, capsys):
    assert compress.main(command(parent, corpus, tmp_path, *options)) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "small").exists()


def test_an_existing_folder_is_kept(tmp_path, corpus, parent, capsys):
    (tmp_path / "small").mkdir()
    assert compress.main(command(parent, corpus, tmp_path, "--int8")) == 2
    assert "--replace" in capsys.readouterr().err


def test_a_budget_of_bytes_and_one_of_perplexity_are_met(tmp_path, corpus, parent, capsys):
    size = total(count(parent))["bytes"]
    data, _ = build.prepare(read_recipe(parent / "recipe.toml"), None, Path())
    tokens, eos = data.splits["valid"], data.eos_id
    base = score_stream(load(parent)[0], tokens, eos).perplexity
    for option, value in (("--max-mb", (0.45 * size + 8000) / 1e6), ("--max-ppl-loss", 0.05)):
        folder = tmp_path / option
        assert compress.main(command(parent, corpus, folder, option, str(value))) == 0
        told = capsys.readouterr().out
        assert "next larger, next smaller" in told and "together" in told
        made = folder / "small"
        if option == "--max-mb":
            assert (made / "model.safetensors").stat().st_size <= value * 1e6
        else:
            perplexity = score_stream(load(made)[0], tokens, eos).perplexity
            assert math.log(perplexity / base) <= math.log1p(value) + 0.01
        assert total(count(made))["bytes"] < 0.7 * size
