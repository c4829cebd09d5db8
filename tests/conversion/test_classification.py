"""Training a text classifier: it learns, goes on after a stop, and is sparsified into a smaller checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from conversion import build
from conversion.classification import ReviewTrainer, batch_of, order_of, train_reviews
from conversion.interruption import Interrupted
from conversion.recipe import parse_recipe
from conversion.tasks import narrowed, review_quality, validation_loss
from zoo.errors import RecipeError
from zoo.loading import load_classifier
from zoo.reviews import Reviews, Split

WORDS = ["<pad>", "<unk>", "good", "bad", "fine", "poor", *(f"w{i}" for i in range(20))]
RECIPE = """
name = "tiny-reviews"
corpus = "imdb"
seed = 2

[model]
embedding_size = 3
hidden_size = 3
num_hidden_layers = 1
tie_word_embeddings = false

[training]
batch_size = 16
window = 40
clip = 1.0

[[stage]]
optimizer = "adam"
lr = 0.05
epochs = 6
average = "ema"
decay = 0.9
"""
BAYES = """
[[compress]]
method = "bayes"
roles = ["all"]
groups = ["words", "inputs", "hidden", "gates"]
log_sigma = -4.0
most_log_sigma = -2.0
rate = 3.0
kl_weight = 0.3
thresholds = [3.0, 0.0]
tolerance = 0.1

[[compress.stage]]
optimizer = "adam"
lr = 0.03
epochs = 8

[[compress]]
method = "prune"
roles = ["embed", "layers"]
sparsity = 0.0

[[compress.stage]]
optimizer = "adam"
lr = 0.02
epochs = 3
"""


def invented(rated: bool = False, seed: int = 0) -> Reviews:
    """Reviews whose few words of praise and blame decide the label."""
    chance = np.random.default_rng(seed)

    def split(n: int) -> Split:
        texts, labels = [], []
        for _ in range(n):
            label = int(chance.integers(2))
            text = chance.integers(6, len(WORDS), chance.integers(3, 25))
            text[chance.integers(0, len(text), 2)] = chance.choice([2, 4] if label else [3, 5], 2)
            texts.append(text.astype(np.int32))
            labels.append(label)
        return Split(texts, np.array(labels, np.float32 if rated else np.int64))

    kind = (1, "regression") if rated else (2, "single_label_classification")
    splits = {name: split(n) for name, n in (("train", 200), ("valid", 80), ("test", 80))}
    return Reviews("movie-reviews" if rated else "imdb", WORDS, splits, dict.fromkeys(splits, "0" * 64), *kind)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models as small as these only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[False, True], ids=["classes", "ratings"])
def reviews(request) -> Reviews:
    return invented(request.param)


def model_of(recipe, reviews):
    torch.manual_seed(recipe.seed)
    return build.model_class(reviews)(build.config_of(recipe, reviews))


def test_it_learns(tmp_path: Path, reviews: Reviews):
    recipe = parse_recipe(RECIPE, "test")
    model = model_of(recipe, reviews)
    before = validation_loss(model, reviews)
    state = train_reviews(recipe, model, reviews, tmp_path, "cpu")
    model.load_state_dict(state["best"]["weights"])
    loss, quality = review_quality(model, reviews.splits["test"])
    assert loss < 0.5 * before
    assert quality["accuracy"] > 0.9 if "accuracy" in quality else quality["rmse"] == pytest.approx(loss**0.5)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1]["valid_loss"] == pytest.approx(state["history"][-1]["valid_loss"], rel=1e-5)


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path: Path, monkeypatch):
    recipe, reviews = parse_recipe(RECIPE, "test"), invented()
    whole = train_reviews(recipe, model_of(recipe, reviews), reviews, tmp_path / "a", "cpu")
    own = ReviewTrainer.epoch

    def epoch(self):
        if self.position.epoch == 3:
            self.requests.number = 15
        own(self)

    with monkeypatch.context() as patch:
        patch.setattr(ReviewTrainer, "epoch", epoch)
        with pytest.raises(Interrupted):
            train_reviews(recipe, model_of(recipe, reviews), reviews, tmp_path / "b", "cpu")
    again = train_reviews(recipe, model_of(recipe, reviews), reviews, tmp_path / "b", "cpu")
    assert len(again["history"]) == 6
    for name, weight in whole["best"]["weights"].items():
        torch.testing.assert_close(again["best"]["weights"][name], weight)


def test_batches_hold_every_text_once_and_its_last_words():
    split = invented().splits["train"]
    batches = list(order_of(split, 16, torch.Generator().manual_seed(0)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(200))
    ids, mask, labels = batch_of(split, batches[0], longest=7)
    for row, place in enumerate(batches[0]):
        text = split.texts[place][-7:]
        assert ids[row][mask[row].bool()].tolist() == text.tolist() and labels[row] == split.labels[place]


def test_words_that_go_become_unknown():
    reviews = invented()
    small = narrowed(reviews, [0, 1, 2, 5])
    assert small.vocabulary == ["<pad>", "<unk>", "good", "poor"]
    old, new = reviews.splits["test"].texts[0], small.splits["test"].texts[0]
    assert [WORDS[i] if WORDS[i] in small.vocabulary else "<unk>" for i in old] == [small.vocabulary[i] for i in new]


@pytest.mark.parametrize("rated", (False, True), ids=["classes", "ratings"])
def test_from_a_recipe_to_a_sparse_checkpoint(tmp_path: Path, monkeypatch, rated: bool):
    reviews = invented(rated)
    monkeypatch.setattr(build, "load_data", lambda *arguments: reviews)
    text = RECIPE.replace('"imdb"', '"movie-reviews"') if rated else RECIPE
    recipe = parse_recipe(text + BAYES, "test")
    folder = build.build(recipe, tmp_path / "out", tmp_path / "runs", None, "cpu", finish=False, replace=False)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["structure"]["words"] < len(WORDS) - 2 and metrics["structure"]["weights"] < 26 * 3 + 72 + 6
    assert [row["step"].split(",")[0] for row in metrics["steps"]] == ["at the start", "bayes", "prune"]
    rows = metrics["steps"][1]["thresholds"]
    assert [row["threshold"] for row in rows] == [3.0, 0.0] and rows[0]["nonzeros"] >= rows[1]["nonzeros"]
    model, tokenizer = load_classifier(folder)
    assert len(tokenizer) == model.config.vocab_size == metrics["structure"]["matrices"]["embed"]["rows"]
    small = narrowed(reviews, [WORDS.index(word) for word in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))])
    _, quality = review_quality(model, small.splits["test"])
    measure = "rmse" if rated else "accuracy"
    assert quality[measure] == pytest.approx(metrics["test"][measure], abs=1e-5)
    assert quality[measure] < 0.35 if rated else quality[measure] > 0.85
    ids = tokenizer("good w3 never-seen bad", return_tensors="pt").input_ids
    assert torch.isfinite(model(ids).logits).all()


def test_a_class_that_is_missing_makes_no_numbers_go_wrong(tmp_path: Path):
    recipe, reviews = parse_recipe(RECIPE, "test"), invented()
    reviews.splits["train"].labels[:] = 1
    state = train_reviews(recipe, model_of(recipe, reviews), reviews, tmp_path, "cpu")
    assert all(torch.isfinite(weight).all() for weight in state["best"]["weights"].values())


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path):
    recipe, reviews = parse_recipe(RECIPE.replace("lr = 0.05", "lr = 1e30"), "test"), invented()
    with pytest.raises(RecipeError, match=r"diverged.*lower lr"):
        train_reviews(recipe, model_of(recipe, reviews), reviews, tmp_path, "cpu")
