"""Text drawn from teachers: whose distribution it follows, when it is made anew, and what reads it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from conversion import drawn_text
from conversion.build import build
from conversion.distillation import Teacher
from conversion.drawn_text import draw, taught, with_drawn_text
from conversion.interruption import Interrupted
from conversion.recipe import Recipe, read_recipe
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus, load_corpus
from zoo.errors import RecipeError
from zoo.loading import load
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.tokenization import build_tokenizer


@pytest.fixture(scope="module")
def text(corpus: Path) -> Corpus:
    return load_corpus(corpus)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, text: Corpus) -> Path:
    """Checkpoints `one` and `two`."""
    folder = tmp_path_factory.mktemp("out")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        config = RnnLmConfig(vocab_size=text.vocab_size, embedding_size=8, hidden_size=8, initializer_range=2.0)
        RnnLmForCausalLM(config).save_pretrained(folder / name)
        build_tokenizer(text.vocabulary).save_pretrained(folder / name)
    return folder


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return with_training(read_recipe(recipe_file), teachers=("one", "two"), teacher_text=500)


def with_training(recipe: Recipe, **fields) -> Recipe:
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **fields))


def test_words_are_drawn_from_the_mean_of_the_teachers(recipe, text, out):
    """First words of 19,200 stretches follow the distribution after `<eos>`, those of a stretch each other."""
    models = [load(out / name)[0] for name in ("one", "two")]
    teachers = [Teacher(model, recipe) for model in models]
    firsts = [draw(each_from_zero(models, recipe), 64, text.eos_id, seed) for seed in range(300)]
    with torch.no_grad():
        mean = torch.stack([m(torch.tensor([[text.eos_id]])).logits[0, 0].softmax(dim=0) for m in models]).mean(dim=0)
    counts = np.bincount(np.concatenate(firsts), minlength=text.vocab_size) / (64 * 300)
    np.testing.assert_allclose(counts, mean.numpy(), atol=5 * np.sqrt(0.25 / (64 * 300)))
    tokens = draw(teachers, 64 * 40, text.eos_id, 7).reshape(64, 40)
    inputs = torch.from_numpy(np.insert(tokens[:, :-1].astype(np.int64), 0, text.eos_id, axis=1))
    with torch.no_grad():
        shares = torch.stack([m(inputs).logits.softmax(dim=2) for m in models]).mean(dim=0)
    said = shares.gather(2, torch.from_numpy(tokens.astype(np.int64))[:, :, None]).log().mean()
    entropy = (shares * shares.log()).sum(dim=2).mean()
    assert abs(said - entropy) < 0.1, "the words of a stretch are as probable as those of the distribution"


def each_from_zero(models: list[RnnLmForCausalLM], recipe: Recipe) -> list[Teacher]:
    return [Teacher(model, recipe) for model in models]


def test_text_comes_after_that_of_the_corpus_and_is_kept(recipe, text, out, tmp_path, monkeypatch):
    more = with_drawn_text(recipe, text, out, tmp_path, "cpu")
    tokens = text.splits["train"]
    assert (more.splits["train"][: len(tokens)] == tokens).all() and len(more.splits["train"]) == len(tokens) + 500
    assert more.splits["valid"] is text.splits["valid"] and more.sha256["valid"] == text.sha256["valid"]
    assert more.sha256["train"] != text.sha256["train"]
    monkeypatch.setattr(drawn_text, "draw", lambda *arguments: pytest.fail("drawn again"))
    again = with_drawn_text(recipe, text, out, tmp_path, "cpu")
    assert (again.splits["train"] == more.splits["train"]).all() and again.sha256 == more.sha256
    monkeypatch.undo()
    other = with_drawn_text(dataclasses.replace(recipe, seed=99), text, out, tmp_path, "cpu")
    assert (other.splits["train"] != more.splits["train"]).any() and other.sha256["train"] != more.sha256["train"]
    _, targets = taught(recipe, text, out, tmp_path, "cpu")
    assert len(targets) == len(more.splits["train"])


def test_no_text_is_asked_for(recipe, text, out, tmp_path):
    assert with_drawn_text(with_training(recipe, teacher_text=0), text, out, tmp_path, "cpu") is text
    with pytest.raises(RecipeError, match="teacher_text is 500 and there are no teachers; add some or take it out"):
        with_drawn_text(with_training(recipe, teachers=()), text, out, tmp_path, "cpu")


def test_a_signal_keeps_nothing(recipe, text, out, tmp_path, monkeypatch):
    features, signals = Teacher.features, []

    def and_a_signal(self, inputs):
        if not signals:
            signals.append(os.kill(os.getpid(), signal.SIGTERM))
        return features(self, inputs)

    monkeypatch.setattr(Teacher, "features", and_a_signal)
    with pytest.raises(Interrupted):
        with_drawn_text(recipe, text, out, tmp_path, "cpu")
    assert not list((tmp_path / "_soft-targets").iterdir())


def test_a_build_reads_it_and_measures_the_corpus_alone(recipe, text, corpus, out, tmp_path):
    recipe = dataclasses.replace(recipe, corpus=str(corpus), name="student")
    folder = build(recipe, out, tmp_path, None, "cpu", False, False)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["texts"] == dict(text.sha256)
    assert metrics["training"]["tokens"] > len(text.splits["train"])
