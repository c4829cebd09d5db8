"""Soft targets: what is in the file, when it is made anew, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from conversion import distillation
from conversion.distillation import SoftTargets, check_targets, soft_targets
from conversion.interruption import Interrupted
from conversion.recipe import Recipe, read_recipe
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus, load_corpus
from zoo.errors import CheckpointError, RecipeError
from zoo.loading import load
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.tokenization import build_tokenizer

from .tiny import write_recipe

TOP = 5


@pytest.fixture(scope="module")
def text(corpus: Path) -> Corpus:
    return load_corpus(corpus)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, text: Corpus) -> Path:
    """Checkpoints `one` and `two`, and `foreign` with a word more."""
    folder = tmp_path_factory.mktemp("out")
    sizes = {"one": dict(hidden_size=8), "two": dict(hidden_size=12, projection_size=8), "foreign": dict(hidden_size=8)}
    for seed, (name, fields) in enumerate(sizes.items()):
        words = text.vocabulary + ["foreign"] * (name == "foreign")
        torch.manual_seed(seed)
        model = RnnLmForCausalLM(RnnLmConfig(vocab_size=len(words), embedding_size=8, initializer_range=2.0, **fields))
        model.save_pretrained(folder / name)
        build_tokenizer(words).save_pretrained(folder / name)
    return folder


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return with_training(read_recipe(recipe_file), teachers=("one", "two"), teacher_top=TOP)


def with_training(recipe: Recipe, **fields) -> Recipe:
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **fields))


@torch.no_grad()
def expected(out: Path, names: tuple[str, ...], inputs: np.ndarray, temperature: float) -> torch.Tensor:
    """The mean distribution [T, V] over what follows each of the inputs [T], from a zero state."""
    ids = torch.from_numpy(inputs.astype(np.int64))[None]
    return torch.stack([(load(out / name)[0](ids).logits[0] / temperature).softmax(dim=1) for name in names]).mean(0)


def compare(targets: SoftTargets, places: np.ndarray, mean: torch.Tensor) -> None:
    """Against the full distributions [T, V]."""
    words, shares = (found[0] for found in targets.at(places[None]))
    assert words.dtype == torch.int64 and shares.dtype == torch.float32
    top = mean.topk(TOP)
    # Two words whose probabilities differ by less than rounding may change places.
    torch.testing.assert_close(shares[:, :-1], top.values, atol=1e-4, rtol=2e-3)
    torch.testing.assert_close(mean.gather(1, words), top.values, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shares[:, -1], 1 - top.values.sum(dim=1), atol=1e-4, rtol=2e-3)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(places)))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("names", [("one",), ("one", "two")])
def test_every_token_has_the_mean_of_the_teachers(names, temperature, recipe, text, out, tmp_path: Path):
    recipe = with_training(recipe, teachers=names, teacher_temperature=temperature)
    targets = soft_targets(recipe, text, out, tmp_path, "cpu")
    tokens = text.splits["train"]
    assert len(targets) == len(tokens) < 2000  # one stripe
    compare(targets, np.arange(len(tokens)), expected(out, names, np.append(text.eos_id, tokens[:-1]), temperature))


def test_stripes_fill_the_whole_text(recipe, text, out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Seven stripes, the last one shorter, every window and block cut somewhere."""
    monkeypatch.setattr(distillation, "STRIPES", 7)
    monkeypatch.setattr(distillation, "LEAST", 1)
    monkeypatch.setattr(distillation, "LOGITS", 50 * text.vocab_size)
    tokens = text.splits["train"]
    assert len(tokens) % 7
    targets = soft_targets(recipe, text, out, tmp_path, "cpu")
    length = -(-len(tokens) // 7)
    before = np.append(text.eos_id, tokens[:-1])
    for start in range(0, len(tokens), length):
        places = np.arange(start, min(start + length, len(tokens)))
        compare(targets, places, expected(out, ("one", "two"), before[places], 1.0))


def test_made_once_for_all_that_they_depend_on(recipe, text, out, tmp_path, monkeypatch, capsys):
    made = soft_targets(recipe, text, out, tmp_path, "cpu")
    assert "soft targets of one, two, 0 MB in " in capsys.readouterr().out
    fill, calls = distillation._fill, []
    monkeypatch.setattr(distillation, "_fill", lambda *arguments: calls.append(1) or fill(*arguments))
    turned = with_training(recipe, teachers=("two", "one"), teacher_weight=0.1)
    again = soft_targets(turned, text, out, tmp_path, "cpu")
    assert not calls and (again.table == made.table).all() and isinstance(again.table, np.memmap)
    for change in ({"teachers": ("one",)}, {"teacher_top": 3}, {"teacher_temperature": 1.5}):
        soft_targets(with_training(recipe, **change), text, out, tmp_path, "cpu")
    other = dataclasses.replace(text, sha256=text.sha256 | {"train": "0" * 64})
    soft_targets(recipe, other, out, tmp_path, "cpu")
    assert len(calls) == 4
    assert len(list((tmp_path / "_soft-targets").iterdir())) == 5


def test_damaged_file_is_made_again(recipe, text, out, tmp_path: Path):
    made = np.array(soft_targets(recipe, text, out, tmp_path, "cpu").table)
    (path,) = (tmp_path / "_soft-targets").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    assert (soft_targets(recipe, text, out, tmp_path, "cpu").table == made).all()


def test_interrupted_leaves_nothing(recipe, text, out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected_of = distillation._expected

    def signalled(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return expected_of(*arguments)

    monkeypatch.setattr(distillation, "_expected", signalled)
    with pytest.raises(Interrupted):
        soft_targets(recipe, text, out, tmp_path, "cpu")
    assert list((tmp_path / "_soft-targets").iterdir()) == []


def test_more_words_than_there_are(recipe, text, out, tmp_path: Path):
    targets = soft_targets(with_training(recipe, teacher_top=999), text, out, tmp_path, "cpu")
    words, shares = targets.at(np.zeros((1, 1), int))
    assert words.shape[-1] + 1 == shares.shape[-1] == text.vocab_size


def test_none_without_teachers(recipe, text, out, tmp_path: Path):
    assert soft_targets(with_training(recipe, teachers=()), text, out, tmp_path, "cpu") is None
    assert soft_targets(with_training(recipe, teacher_weight=0.0), text, out, tmp_path, "cpu") is None
    assert list(tmp_path.glob("_*")) == []


def test_foreign_vocabulary_is_refused_before_any_work(recipe, text, out, tmp_path: Path):
    recipe = with_training(recipe, teachers=("one", "foreign"))
    with pytest.raises(RecipeError, match=r"teacher foreign has another vocabulary \(23 words\) than the model \(22 w"):
        soft_targets(recipe, text, out, tmp_path, "cpu")
    assert list(tmp_path.glob("_*")) == []


def test_unknown_teacher_is_named(recipe, text, out, tmp_path: Path):
    with pytest.raises(CheckpointError, match="no checkpoint or folder is called 'lstm-9000'"):
        soft_targets(with_training(recipe, teachers=("lstm-9000",)), text, out, tmp_path, "cpu")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("teacher_weight = 1.5", "teacher_weight is 1.5; allowed: at least 0, at most 1"),
        ("teacher_temperature = 0", "teacher_temperature is 0; allowed: at least 0.1"),
        ("teacher_top = 0", "teacher_top is 0; allowed: at least 1"),
        ("teachers = 'one'", "teachers is 'one'; it takes an array"),
        ("teacher = ['one']", "unknown key 'teacher'; did you mean teachers"),
    ],
)
def test_recipes_say_what_is_allowed(line: str, message: str, corpus: Path, tmp_path: Path):
    with pytest.raises(RecipeError, match=message):
        read_recipe(write_recipe(tmp_path / "wrong.toml", corpus, ("window = 9", f"window = 9\n{line}")))


def test_training_needs_the_targets_of_its_text(recipe, text, out, tmp_path: Path):
    targets = soft_targets(recipe, text, out, tmp_path, "cpu")
    check_targets(recipe, targets, len(targets))
    with pytest.raises(RecipeError, match="names teachers and soft targets are missing; pass what"):
        check_targets(recipe, None, len(targets))
    with pytest.raises(RecipeError, match="names no teachers and soft targets are given"):
        check_targets(with_training(recipe, teachers=()), targets, len(targets))
    with pytest.raises(RecipeError, match="soft targets for a text of 7 tokens"):
        check_targets(recipe, targets, 7)
