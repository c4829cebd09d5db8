"""`zoo evaluate` of text classifiers, and that classifiers and language models do not take each other's corpora."""

import json
import re

import pytest

from zoo.cli import main
from zoo.evaluation import language_corpus
from zoo.loading import load_classifier
from zoo.reviews import load_reviews
from zoo.text_scoring import score_texts

from .folders import write_checkpoint, write_classifier
from .invented_reviews import write_reviews


@pytest.fixture
def data(tmp_path, monkeypatch):
    return write_reviews(tmp_path, monkeypatch)


@pytest.fixture
def run(capsys):
    """Runs the command in this process -> (exit code, standard output, standard error)."""

    def run(*arguments):
        return (main([str(argument) for argument in arguments]), *capsys.readouterr())

    return run


def test_accuracy(run, tmp_path, data):
    folder = write_classifier(tmp_path / "tiny")
    code, out, err = run("evaluate", folder, "--data", data, "--threads", 1)
    model, tokenizer = load_classifier(folder)
    split = load_reviews("imdb", data, tokenizer=tokenizer).splits["test"]
    scores = score_texts(model, split.texts, split.labels)
    assert (code, err) == (0, "") and out.splitlines()[0] == f"{folder} on imdb test: 20 texts"
    assert f"accuracy  {scores.accuracy:.4f} +- {scores.standard_error:.4f}" in out and "ms per text" in out
    found = json.loads(run("evaluate", folder, "--data", data, "--split", "valid", "--batch-size", 3, "--json")[1])
    assert found["corpus"] == "imdb" and found["split"] == "valid" and 20 <= found["texts"] <= 30


def test_error_of_ratings(run, tmp_path, data, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(data / "ptb"))
    folder = write_classifier(tmp_path / "tiny", 1, "movie-reviews")
    code, out, _ = run("evaluate", folder)
    found = json.loads(run("evaluate", folder, "--corpus", "movie-reviews", "--json")[1])
    assert code == 0 and found["rmse"] == pytest.approx(found["mse"] ** 0.5)
    assert f"rmse      {found['rmse']:.4f} +-" in out and f"mse       {found['mse']:.4f}; " in out


@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        (2, ["--corpus", "ptb"], "is a text classifier, which needs labelled texts.*--corpus imdb or movie-reviews"),
        (
            2,
            ["--corpus", "movie-reviews"],
            "trained for classes, and movie-reviews has ratings; allowed: --corpus imdb",
        ),
        (1, [], "trained for ratings, and imdb has classes; allowed: --corpus movie-reviews"),
        (2, ["--split", "dev"], "allowed: some of train, valid, test"),
        (2, ["--batch-size", "0"], "batch_size is 0"),
        (None, ["--corpus", "imdb"], "is a language model and imdb are labelled texts"),
    ],
)
def test_what_does_not_fit_together(run, tmp_path, data, labels, arguments, message):
    folder = write_checkpoint(tmp_path / "tiny") if labels is None else write_classifier(tmp_path / "tiny", labels)
    code, _, err = run("evaluate", folder, "--data", data, *arguments)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert re.search(message, err), err


def test_without_metrics_the_corpus_has_to_be_named(run, tmp_path, data):
    folder = write_classifier(tmp_path / "tiny")
    for content in (None, "{}", "["):
        (folder / "metrics.json").unlink() if content is None else (folder / "metrics.json").write_text(content)
        code, _, err = run("evaluate", folder, "--data", data)
        assert code == 2 and "does not say on which corpus tiny was trained; give --corpus NAME" in err
    assert run("evaluate", folder, "--data", data, "--corpus", "imdb")[0] == 0


def test_info_and_suggest(run, tmp_path):
    folder = write_classifier(tmp_path / "tiny")
    code, out, _ = run("info", folder)
    assert code == 0 and "1 x LSTM 9, embedding 7, vocabulary 31, 2 classes" in out
    assert "score" in out and "bias.score" in out and "corpus: imdb" in out
    code, _, err = run("suggest", "good", "--model", folder)
    assert code == 2 and "is a text classifier, and next words are suggested by language models only" in err


@pytest.mark.parametrize(
    ("metrics", "corpus"),
    [('{"corpus": "dialogue"}', "dialogue"), ('{"corpus": "/home/me/texts"}', "ptb"), ("{}", "ptb"), (None, "ptb")],
)
def test_a_language_model_is_measured_on_the_public_corpus_of_its_training(tmp_path, metrics, corpus):
    if metrics is not None:
        (tmp_path / "metrics.json").write_text(metrics)
    assert language_corpus(tmp_path) == corpus


def test_unknown_words_are_counted(run, tmp_path):
    folder, text = write_checkpoint(tmp_path / "tiny"), tmp_path / "story.txt"
    text.write_text("w3 strange w4 <unk>\nodd", encoding="utf-8")  # <unk> is a word
    code, out, _ = run("evaluate", folder, "--corpus", text)
    assert code == 0 and "6 targets, 2 of them (33.3%) not in the vocabulary and read as <unk>" in out
    found = json.loads(run("evaluate", folder, "--corpus", text, "--json")[1])
    assert (found["targets"], found["unknown_words"]) == (6, 2)
    text.write_text("w3 w4\n", encoding="utf-8")
    assert "not in the vocabulary" not in run("evaluate", folder, "--corpus", text, "--cache")[1]


def test_a_text_of_ones_own_takes_the_training_text_of_the_checkpoint(run, tmp_path, monkeypatch):
    folder, text = write_checkpoint(tmp_path / "tiny"), tmp_path / "story.txt"
    text.write_text("w3 w4 w5\n" * 5, encoding="utf-8")
    monkeypatch.delenv("ZOO_DATA", raising=False)
    code, _, err = run("evaluate", folder, "--corpus", text, "--dynamic")
    assert code == 2 and "scales its steps by the gradients on training text, and" in err and "--cache" in err
    monkeypatch.setattr("zoo.evaluation.language_corpus", lambda _: str(tmp_path / "corpus"))
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.txt").write_text("w6 w7 w8 w3\n" * 30, encoding="utf-8")
    code, out, err = run("evaluate", folder, "--corpus", text, "--dynamic")
    assert (code, err) == (0, "") and "dynamic evaluation: 20 targets" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dynamic", "lr=inf"], "allowed: any finite lr"),
        (["--dynamic", "floor=inf"], "allowed: any finite lr"),
        (["--cache", "size=10", "size=20"], "was given size twice"),
        (["--threads", "100000"], "--threads is 100000; allowed: 1 to"),
        (["--split", "dev"], r"split 'dev' \(--split\); allowed: train, valid, test"),
    ],
)
def test_settings_that_cannot_be(run, tmp_path, options, message):
    folder, text = write_checkpoint(tmp_path / "tiny"), tmp_path / "story.txt"
    text.write_text("w3 w4 w5\n", encoding="utf-8")
    code, _, err = run("evaluate", folder, "--corpus", text, *options)
    assert code == 2 and err.count("\n") == 1 and re.search(message, err), err


def test_a_cache_larger_than_the_text(run, tmp_path):
    folder, text = write_checkpoint(tmp_path / "tiny"), tmp_path / "story.txt"
    text.write_text("w3 w4 w5\n" * 9, encoding="utf-8")
    told = [run("evaluate", folder, "--corpus", text, "--cache", f"size={size}", "--json")[1] for size in (99, 10**24)]
    assert json.loads(told[0])["cache"]["perplexity"] == json.loads(told[1])["cache"]["perplexity"]
