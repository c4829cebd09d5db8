"""Scores of labelled texts against one text at a time, and what cannot be scored."""

import math

import numpy as np
import pytest
import torch

from zoo import RnnLmForSequenceClassification
from zoo.errors import CheckpointError, CorpusError, VocabularyError, ZooError
from zoo.text_scoring import ClassScores, NumberScores, score_texts

from .models import VOCABULARY, config_of, fill

RANDOM = np.random.default_rng(0)
TEXTS = [RANDOM.integers(0, VOCABULARY, size).astype(np.int32) for size in (3, 11, 1, 7, 7, 2, 0, 20, 5, 1, 9)]
CLASSES = RANDOM.integers(0, 3, len(TEXTS))
NUMBERS = RANDOM.random(len(TEXTS)).astype(np.float32)


def classifier(labels, **options):
    return fill(RnnLmForSequenceClassification(config_of(tied=False, num_labels=labels, **options)))


def one_at_a_time(model):
    """Logits of every text, read without padding; of no text those of the state before it."""
    found = []
    with torch.no_grad():
        for text in TEXTS:
            state = torch.zeros(1, model.config.layer_output_size)
            if len(text):
                state = model.model(torch.tensor(text[None].astype(np.int64))).last_hidden_state[:, -1]
            found.append(model.score(state)[0])
    return torch.stack(found)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("options", [{}, {"cell": "gru", "projected": True, "form": "low_rank"}])
def test_classes(batch_size, options):
    model, done = classifier(3, **options).train(), []
    scores = score_texts(model, TEXTS, CLASSES, batch_size, done.append)
    assert model.training and sum(done) == len(TEXTS) and max(done) <= batch_size
    logits, right = one_at_a_time(model.eval()), 0
    right = (logits.argmax(1).numpy() == CLASSES).mean()
    assert isinstance(scores, ClassScores) and scores.texts == len(TEXTS) and scores.accuracy == pytest.approx(right)
    assert scores.standard_error == pytest.approx(math.sqrt(right * (1 - right) / len(TEXTS)))
    assert scores.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, torch.tensor(CLASSES)).item(), 1e-4)
    assert set(scores.summary()) == {"texts", "accuracy", "standard_error", "loss", "ms_per_text"}


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_numbers(batch_size):
    model = classifier(1)
    scores = score_texts(model, TEXTS, NUMBERS, batch_size)
    squares = (one_at_a_time(model)[:, 0].double().numpy() - NUMBERS) ** 2
    assert isinstance(scores, NumberScores) and scores.mse == pytest.approx(squares.mean(), rel=1e-4)
    assert scores.rmse == pytest.approx(math.sqrt(squares.mean()), rel=1e-4)
    assert scores.standard_error == pytest.approx(
        squares.std(ddof=1) / math.sqrt(len(TEXTS)) / 2 / math.sqrt(squares.mean()), rel=1e-4
    )
    assert scores.summary()["variance"] == pytest.approx(NUMBERS.var(), rel=1e-4)


def test_long_texts_are_read_in_smaller_batches(monkeypatch):
    monkeypatch.setattr("zoo.text_scoring.WORDS", 20)
    done = []
    assert score_texts(classifier(3), TEXTS, CLASSES, 64, done.append).texts == sum(done) == len(TEXTS)
    assert len(done) > 3


@pytest.mark.parametrize(
    ("labels", "texts", "truth", "error", "message"),
    [
        (3, [], CLASSES[:0], CorpusError, "give at least one text"),
        (3, TEXTS, CLASSES[1:], CorpusError, "11 texts and labels"),
        (3, TEXTS, NUMBERS, CorpusError, "tells 3 classes apart"),
        (2, TEXTS, np.full(11, 2), CorpusError, "from 2 to 2 and the model tells 2 classes apart"),
        (1, TEXTS, CLASSES, CorpusError, "predicts a number; give texts with numbers"),
        (3, [np.array([VOCABULARY])] * 11, CLASSES, VocabularyError, "has the id 31; .* ids 0 to 30"),
        (3, [np.array([-1])] * 11, CLASSES, VocabularyError, "has the id -1"),
    ],
)
def test_what_cannot_be_scored(labels, texts, truth, error, message):
    with pytest.raises(error, match=message) as caught:
        score_texts(classifier(labels), texts, truth)
    assert "\n" not in str(caught.value)


def test_damaged_weights_and_an_impossible_batch():
    model = classifier(3)
    with pytest.raises(ZooError, match="batch_size is 0"):
        score_texts(model, TEXTS, CLASSES, 0)
    with torch.no_grad():
        model.score.bias.fill_(math.nan)
    with pytest.raises(CheckpointError, match="no finite numbers"):
        score_texts(model, TEXTS, CLASSES)
