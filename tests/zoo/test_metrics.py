"""The `evaluate` module, loaded from its folder without a network."""

import math
from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo.errors import CheckpointError, CorpusError, VocabularyError, ZooError
from zoo.loading import load
from zoo.scoring import score_stream

from .folders import WORDS, write_checkpoint

evaluate = pytest.importorskip("evaluate", reason="needs the extra eval: pip install 'rnnlm-zoo[eval]'")

FOLDER = Path(zoo.__file__).parent / "metrics" / "word_perplexity"
LINES = ["w2 w3 w4", " w5 w6 strange ", "", "w7 w8"]


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Nothing is written outside the test's folder."""
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "metrics"))


@pytest.fixture
def folder(tmp_path):
    return write_checkpoint(tmp_path / "tiny")


@pytest.fixture
def metric(tmp_path):
    return evaluate.load(str(FOLDER), cache_dir=str(tmp_path / "metrics"))


def test_it_scores_the_lines_as_one_stream(metric, folder):
    model, tokenizer = load(folder)
    ids = tokenizer("\n".join(LINES) + "\n")["input_ids"]
    expected = score_stream(model, np.array(ids), eos_id=1)
    found = metric.compute(predictions=LINES, model_id=str(folder))
    assert found["targets"] == len(ids) == 12 and found["unknown_words"] == 1
    assert found["word_perplexity"] == pytest.approx(expected.perplexity)
    assert found["standard_error"] == pytest.approx(expected.standard_error)
    assert (found["top1"], found["top3"]) == (expected.top1, expected.top3)
    assert found["reciprocal_perplexity"] == pytest.approx(1 / found["word_perplexity"])
    assert found["ms_per_token"] > 0


def test_lines_may_end_with_a_newline(metric, folder):
    plain = metric.compute(predictions=LINES, model_id=str(folder))
    read = metric.compute(predictions=[f"{line}\n" for line in LINES], model_id=str(folder))
    assert read["word_perplexity"] == plain["word_perplexity"]


def test_stripes(metric, folder):
    found = metric.compute(predictions=LINES, model_id=str(folder), batch_size=3)
    assert found["targets"] == 12 and math.isfinite(found["word_perplexity"])


def test_it_works_without_load(tmp_path, folder):
    from zoo.metrics.word_perplexity.word_perplexity import WordPerplexity

    metric = WordPerplexity(cache_dir=str(tmp_path / "metrics"))
    assert metric.compute(predictions=["w2"], model_id=str(folder))["targets"] == 2


def test_nothing_to_score(metric, folder):
    with pytest.raises(CorpusError, match="predictions is empty"):
        metric.compute(predictions=[], model_id=str(folder))


def test_an_unknown_model(metric):
    with pytest.raises(CheckpointError, match="no checkpoint or folder"):
        metric.compute(predictions=LINES, model_id="nothing-of-this-name")


def test_a_word_that_the_vocabulary_does_not_have(metric, tmp_path):
    folder = write_checkpoint(tmp_path / "other", words=["a", *WORDS[1:]])
    with pytest.raises(VocabularyError, match="neither the word 'strange' nor <unk>"):
        metric.compute(predictions=LINES, model_id=str(folder))


@pytest.mark.parametrize(
    ("given", "message"),
    [({"predictions": "w2 w3"}, "give a list"), ({"predictions": ["w2", None]}, "a line is a str")],
)
def test_what_is_no_list_of_lines(metric, folder, given, message):
    with pytest.raises(CorpusError, match=message):
        metric.compute(model_id=str(folder), **given)


def test_no_model_is_named(metric):
    with pytest.raises(ZooError, match="model_id is missing"):
        metric.compute(predictions=["w2"])
