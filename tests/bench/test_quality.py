"""Quality of a small random model on an invented text, through the function and through the command."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bench import quality
from bench.report import corpus_name
from tests.zoo.folders import write_checkpoint, write_classifier
from tests.zoo.invented_reviews import write_reviews
from zoo.errors import CheckpointError, CorpusError
from zoo.loading import load, load_classifier
from zoo.reviews import load_reviews
from zoo.scoring import TEMPERATURES, score_stream
from zoo.text_scoring import score_texts

TEXTS = {"valid": "w2 w3 w4\nw5 strange w6\n", "test": "w7 w8\n\nw9 w2 w3 w30\n"}
COUNTS = {"valid": 8, "test": 9}


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_DATA", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "tiny", half=True)


@pytest.fixture
def story(tmp_path: Path) -> Path:
    folder = tmp_path / "story"
    folder.mkdir()
    for split, text in TEXTS.items():
        (folder / f"{split}.txt").write_text(text)
    return folder


def test_every_token_of_both_splits(folder: Path, story: Path):
    found = quality.measure(folder, str(story))
    assert (found["name"], found["corpus"]) == ("tiny", "story")
    assert found["sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert found["texts"] == {split: hashlib.sha256(text.encode()).hexdigest() for split, text in TEXTS.items()}
    assert {split: found[split]["targets"] for split in TEXTS} == COUNTS
    assert set(found["versions"]) == {"zoo", "python", "torch", "transformers", "numpy"}
    assert found["device"] and found["threads"] >= 1
    model, tokenizer = load(folder)
    for split, text in TEXTS.items():
        scores = score_stream(model, np.array(tokenizer(text)["input_ids"]), eos_id=1)
        assert found[split]["perplexity"] == pytest.approx(scores.perplexity)
        assert (found[split]["top1"], found[split]["top3"]) == (scores.top1, scores.top3)


def test_temperature_is_fitted_on_validation_and_kept_apart(folder: Path, story: Path):
    found = quality.measure(folder, str(story))
    model, tokenizer = load(folder)
    scores = {
        split: score_stream(model, np.array(tokenizer(text)["input_ids"]), eos_id=1, temperatures=TEMPERATURES)
        for split, text in TEXTS.items()
    }
    best = min(TEMPERATURES, key=scores["valid"].perplexity_at)
    assert found["temperature"] == best != 1
    for split in TEXTS:
        assert found[split]["perplexity_at_temperature"] == pytest.approx(scores[split].perplexity_at(best))
        assert found[split]["perplexity"] == pytest.approx(scores[split].perplexity)


def test_no_temperature_without_validation(folder: Path, story: Path):
    found = quality.measure(folder, str(story), splits=("test",))
    assert found["temperature"] is None and found["test"]["perplexity_at_temperature"] is None
    assert "valid" not in found


def test_what_cannot_be_measured(folder: Path, tmp_path: Path):
    with pytest.raises(CorpusError):
        quality.measure(folder, str(tmp_path / "nowhere"))
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError):
        quality.measure(folder, str(tmp_path))


def test_the_command_writes_what_it_measured(folder: Path, story: Path, tmp_path: Path, capsys):
    assert quality.main([str(folder), "--corpus", str(story), "--out", str(tmp_path / "results")]) == 0
    path = tmp_path / "results" / "tiny" / "story.json"
    found = json.loads(path.read_text())
    assert found["command"] == "python -m bench.quality tiny --corpus story --data DIR"
    assert {split: found[split]["targets"] for split in TEXTS} == COUNTS
    assert str(tmp_path) not in path.read_text()
    assert list(path.parent.iterdir()) == [path]
    assert f"test: perplexity {found['test']['perplexity']:.2f}" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_in_one_line(folder: Path, tmp_path: Path, capsys):
    assert quality.main([str(folder), "--corpus", "nowhere", "--out", str(tmp_path / "results")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("corpus", "short"),
    [
        ("ptb", "ptb"),
        ("hub:owner/words:plain@main", "words"),
        ("hub:owner/words", "words"),
        ("some/folder/", "folder"),
        ("some/story.v2.txt.gz", "story.v2"),
    ],
)
def test_corpora_are_named_without_their_path(corpus: str, short: str):
    assert corpus_name(corpus) == short


@pytest.mark.parametrize(("labels", "corpus", "metric"), [(2, "imdb", "accuracy"), (1, "movie-reviews", "rmse")])
def test_a_text_classifier_on_what_it_was_trained_on(labels, corpus, metric, tmp_path: Path, monkeypatch, capsys):
    data, folder = write_reviews(tmp_path, monkeypatch), write_classifier(tmp_path / "sentiment", labels, corpus)
    assert quality.main([str(folder), "--data", str(data), "--out", str(tmp_path / "results")]) == 0
    found = json.loads((tmp_path / "results" / "sentiment" / f"{corpus}.json").read_text())
    model, tokenizer = load_classifier(folder)
    reviews = load_reviews(corpus, data, tokenizer=tokenizer)
    for split in ("valid", "test"):
        part = reviews.splits[split]
        scores = score_texts(model, part.texts, part.labels)
        assert found[split]["texts"] == len(part)
        assert found[split][metric] == pytest.approx(getattr(scores, metric))
    assert found["texts"] == {split: reviews.sha256[split] for split in ("valid", "test")}
    assert found["command"] == f"python -m bench.quality sentiment --corpus {corpus} --data DIR"
    assert found["sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert "temperature" not in found and found["device"] and found["versions"]["torch"]
    assert f"sentiment {corpus} test: {metric} {found['test'][metric]:.4f} +- " in capsys.readouterr().out
    assert quality.main([str(folder), "--corpus", "ptb", "--data", str(data)]) == 2
    assert "is a text classifier, which needs labelled texts" in capsys.readouterr().err
