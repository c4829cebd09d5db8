"""`zoo evaluate --dynamic` and `--cache`: settings, tuning on validation text only, and what cannot be."""

import json
import math
import re

import numpy as np
import pytest

from zoo import adapting
from zoo.cli import main
from zoo.corpora import load_corpus
from zoo.dynamic import Dynamic, score_dynamic, usual_gradients
from zoo.loading import load
from zoo.neural_cache import NeuralCache, score_cached
from zoo.scoring import score_stream

from .folders import WORDS, write_checkpoint, write_classifier
from .models import model_of


@pytest.fixture
def story(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    folder, draw = tmp_path / "story", np.random.default_rng(3)
    folder.mkdir()
    for split, lines in (("train", 20), ("valid", 12), ("test", 9)):
        text = "".join(" ".join(draw.choice(WORDS[2:9], 6)) + "\n" for _ in range(lines))
        (folder / f"{split}.txt").write_text(text)
    return folder


@pytest.fixture
def run(capsys):
    def run(*arguments):
        return (main([str(argument) for argument in arguments]), *capsys.readouterr())

    return run


def test_settings_of_a_command_line():
    assert adapting.settings_of("cache", ["size=7", "theta=0.5"]) == NeuralCache(7, 0.5)
    assert adapting.settings_of("dynamic", []) == Dynamic()


def test_cache_as_given_and_tuned(run, tmp_path, story):
    folder = write_checkpoint(tmp_path / "tiny", model_of(form="int8"))
    code, out, err = run("evaluate", folder, "--corpus", story, "--cache", "size=9", "theta=0.4", "weight=0.2")
    model, tokenizer = load(folder)
    corpus = load_corpus(str(story), tokenizer=tokenizer)
    scores = score_cached(model, corpus.splits["test"], 1, NeuralCache(9, 0.4, 0.2))
    assert code == 0, err
    assert out.splitlines()[0] == f"{folder} on {story} test, neural cache: 63 targets"
    assert f"perplexity    {scores.perplexity:.2f} +-" in out and "size 9, theta 0.4, weight 0.2\n" in out
    found = json.loads(run("evaluate", folder, "--corpus", story, "--cache", "--tune", "--json")[1])["cache"]
    best = min(row["perplexity"] for row in found["trials"])
    again = score_cached(model, corpus.splits["valid"], 1, NeuralCache(**found["settings"]))
    assert again.perplexity == pytest.approx(best, rel=1e-4) and found["targets"] == 63
    (story / "test.txt").write_text("w3 w4\n")  # the choice does not depend on it
    changed = json.loads(run("evaluate", folder, "--corpus", story, "--cache", "--tune", "--json")[1])["cache"]
    assert changed["settings"] == found["settings"] and changed["targets"] == 3


def test_dynamic_as_given_and_tuned(run, tmp_path, story):
    folder = write_checkpoint(tmp_path / "tiny")
    how = Dynamic(lr=0.003, decay=0.01, window=5)
    given = ["lr=0.003", "decay=0.01", "window=5"]
    found = json.loads(run("evaluate", folder, "--corpus", story, "--dynamic", *given, "--json")[1])
    model, tokenizer = load(folder)
    corpus = load_corpus(str(story), tokenizer=tokenizer)
    usual = usual_gradients(model, corpus.splits["train"], 1, 5)
    scores = score_dynamic(model, corpus.splits["test"], 1, usual, how)
    assert found["dynamic"]["perplexity"] == pytest.approx(scores.perplexity, rel=1e-5)
    assert "perplexity" not in found and "trials" not in found["dynamic"]
    arguments = ["evaluate", folder, "--corpus", story, "--split", "valid", "--dynamic", *given, "--tune"]
    code, out, _ = run(*arguments)
    assert code == 0 and "floor 0.5, window 5, tuned on valid" in out
    tuned = json.loads(run(*arguments, "--json")[1])["dynamic"]
    start = next(row for row in tuned["trials"] if (row["lr"], row["decay"]) == (0.003, 0.01))
    best = min(tuned["trials"], key=lambda row: row["perplexity"])
    assert best["perplexity"] < start["perplexity"]
    assert (tuned["settings"]["lr"], tuned["settings"]["decay"]) == (best["lr"], best["decay"])
    assert tuned["perplexity"] == pytest.approx(best["perplexity"])  # the whole text is shorter than what is tuned on


@pytest.mark.parametrize("form", ["int4", "low_rank-int8", "sparse-int8"])
def test_integers_follow_as_floats(run, tmp_path, story, form):
    folder = write_checkpoint(tmp_path / "tiny", model_of(form=form))
    given = ["--dynamic", "lr=0.003", "decay=0.01", "window=5", "--json"]
    found = json.loads(run("evaluate", folder, "--corpus", story, *given)[1])["dynamic"]
    model, tokenizer = load(folder)
    static = score_stream(model, load_corpus(str(story), tokenizer=tokenizer).splits["test"], 1)
    assert found["perplexity"] < static.perplexity
    still = json.loads(run("evaluate", folder, "--corpus", story, "--dynamic", "lr=0", "decay=0", "--json")[1])
    assert still["dynamic"]["perplexity"] == pytest.approx(static.perplexity, rel=1e-3)


def test_steps_stop_at_a_least_perplexity_and_survive_steps_that_leave_all_bounds():
    def perplexity(how):
        if how.lr > 1e-3:
            raise adapting.CheckpointError("no finite probabilities")
        return 50 + abs(math.log2(how.lr / 1e-3)) + abs(math.log2(how.decay / 0.05))

    best, trials = adapting._steps(Dynamic(lr=1.25e-4, decay=0.008), perplexity)
    assert best.lr == pytest.approx(1e-3) and best.decay == pytest.approx(0.05)
    assert len(trials) < 16 and all(math.isfinite(row["perplexity"]) for row in trials)


@pytest.mark.parametrize(
    ("form", "arguments", "message"),
    [
        ("dense", ["--cache", "size=many"], "--cache was given 'size=many'; it takes size=NUMBER, theta=NUMBER"),
        ("dense", ["--dynamic", "speed=1"], "takes lr=NUMBER, decay=NUMBER, floor=NUMBER, window=NUMBER, after the"),
        ("dense", ["--cache", "weight=1"], "weight=1; allowed: size from 1"),
        ("dense", ["--cache", "--batch-size", "2"], "--batch-size is 2; with --cache a text is one stream"),
        ("dense", ["--tune"], "give one of them too"),
        ("classifier", ["--cache"], "is a text classifier, and --cache is of language models"),
    ],
)
def test_what_cannot_be(run, tmp_path, story, form, arguments, message):
    folder = tmp_path / "tiny"
    write_classifier(folder) if form == "classifier" else write_checkpoint(folder, model_of(form=form))
    code, _, err = run("evaluate", folder, "--corpus", story, *arguments)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert re.search(message, err), err


def test_dynamic_needs_training_text(run, tmp_path, story, monkeypatch):
    monkeypatch.delenv("ZOO_DATA", raising=False)  # where it would find the texts that the checkpoint says
    (story / "train.txt").unlink()
    code, _, err = run("evaluate", write_checkpoint(tmp_path / "tiny"), "--corpus", story, "--dynamic")
    assert code == 2 and "scales its steps by the gradients on training text, and" in err
