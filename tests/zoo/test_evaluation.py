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
        (2, ["--corpus", "movie-reviews"], "tells 2 classes apart"),
        (1, [], "predicts a number; give texts with numbers"),
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
