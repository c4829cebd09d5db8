"""Card, catalog row and README table of a text classifier, from a project made by hand with its folder and results."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from model_cards import render
from tests.model_cards.test_render import README
from zoo.catalog import Entry

CONFIG = {
    "model_type": "rnnlm",
    "architectures": ["RnnLmForSequenceClassification"],
    "vocab_size": 270,
    "cell": "lstm",
    "num_hidden_layers": 1,
    "hidden_size": 5,
    "embedding_size": 1,
    "tie_word_embeddings": False,
    "weights": {},
}
STRUCTURE = {"words": 268, "input": 1, "hidden": 5, "gates": [8, 3], "weights": 1331}
STRUCTURE |= {"matrices": {"embed": {"rows": 270, "columns": 1, "nonzeros": 268}}}
STEPS = [
    {"step": "big", "parameters": 6_000_000, "nonzeros": 6_000_000, "bytes": 12_000_000},
    {"step": "bayes", "parameters": 1_400, "nonzeros": 1_331, "by_rows": 1_400, "bytes": 3_000, "structure": STRUCTURE},
]
STEPS[1] |= {"threshold": 3.0, "thresholds": [{"threshold": 3.0, "nonzeros": 1331, "valid_loss": 0.31234567}]}
ACCURATE = {"texts": 3736, "accuracy": 0.84321, "standard_error": 0.00596, "loss": 0.35123, "ms_per_text": 0.5}
RATED = {"texts": 1014, "mse": 0.02329, "rmse": 0.15262, "standard_error": 0.0031, "variance": 0.03177}
RATED |= {"ms_per_text": 0.7}


def project(root: Path, corpus: str, row: dict, labels: dict, qualities: list[dict], recipe: str) -> Path:
    """A project with one text classifier."""
    (root / "README.md").write_text(README)
    folder, results = root / "zoo/checkpoints/sentiment", root / "bench/results/sentiment"
    for path in (folder, results):
        path.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | labels))
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "recipe.toml").write_text(recipe)
    steps = [step | quality for step, quality in zip(STEPS, qualities, strict=True)]
    (folder / "metrics.json").write_text(json.dumps({"corpus": corpus, "steps": steps, "structure": STRUCTURE}))
    measured = {"name": "sentiment", "sha256": hashlib.sha256(b"weights").hexdigest()}
    size = {"parameters": 1_400, "nonzeros": 1_331, "by_rows": 1_400, "bytes": 4_000, "tokenizer_bytes": 9_000}
    quality = {"command": f"python -m bench.quality sentiment --corpus {corpus} --data DIR", "valid": row, "test": row}
    (results / "size.json").write_text(json.dumps(measured | size))
    (results / f"{corpus}.json").write_text(json.dumps(measured | quality))
    return root


@pytest.fixture
def imdb(tmp_path: Path) -> Path:
    recipe = 'name = "sentiment"\ncorpus = "imdb"\nparent = "big"\n\n[[compress]]\nmethod = "bayes"\n'
    return project(tmp_path, "imdb", ACCURATE, {}, [{"valid_accuracy": 0.85}, {"valid_accuracy": 0.8432}], recipe)


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    qualities = [{"valid_mse": 0.02, "valid_rmse": 0.1414}, {"valid_mse": 0.0233, "valid_rmse": 0.15264}]
    return project(tmp_path, "movie-reviews", RATED, {"id2label": {"0": "rating"}}, qualities, 'name = "sentiment"\n')


def card_of(root: Path) -> str:
    made = render.pages(root)
    text = made[root / "zoo/checkpoints/sentiment/README.md"]
    assert "$" not in text
    return text


def test_card_with_an_accuracy(imdb: Path):
    text = card_of(imdb)
    assert "# sentiment\n\n1 x LSTM 5, embedding 1, vocabulary 270, 2 classes. Test accuracy 0.8432 on IMDb" in text
    assert "| imdb | texts | accuracy | standard error | cross entropy |" in text
    assert "| test | 3,736 | 0.8432 | 0.0060 | 0.3512 |" in text
    assert 'AutoModelForSequenceClassification.from_pretrained("path/to/sentiment", trust_remote_code=True)' in text
    assert 'torch.hub.load("path/to/clone", "sentiment", source="local")' in text and "logits.softmax(1)" in text
    assert "No licence is stated" in text and "maas2011learning" in text and "chirkova2018bayesian" in text
    assert "| quality on imdb | `python -m bench.quality sentiment --corpus imdb --data DIR` |" in text
    assert "bench.latency" not in text and "perplexity" not in text


def test_steps_and_what_they_left(imdb: Path):
    text = card_of(imdb)
    assert "| step | parameters | nonzeros | bytes | accuracy | change |" in text
    assert "| bayes | 1,400 | 1,331 | 3,000 | 0.8432 | -0.80% |" in text
    assert "| threshold | nonzeros | valid loss |" in text and "| 3 | 1,331 | 0.3123 |" in text and "was 3." in text
    assert "| words | elements of word vectors | hidden units | gates that move | weights |" in text
    assert "| 268 | 1 | 5 | 8 + 3 | 1,331 |" in text and "| embed | 270 | 1 | 268 |" in text


def test_card_with_an_error(rated: Path):
    text = card_of(rated)
    assert "vocabulary 270, a number. Test rmse 0.1526 on Movie review data, scale dataset v1.0." in text
    assert "| movie-reviews | texts | rmse | standard error | mse | mse of the mean |" in text
    assert "| test | 1,014 | 0.1526 | 0.0031 | 0.0233 | 0.0318 |" in text and "logits[:, 0]" in text
    assert "| bayes | 1,400 | 1,331 | 3,000 | 0.1526 | 0.0233 | +7.95% |" in text
    assert "pang2005seeing" in text and "chirkova2018bayesian" not in text and "Trained from scratch" in text


def test_metadata_are_those_of_the_hub(imdb: Path):
    metadata = yaml.safe_load(card_of(imdb).split("---")[1])
    assert metadata["pipeline_tag"] == "text-classification" and metadata["datasets"] == ["stanfordnlp/imdb"]
    (index,) = metadata["model-index"]
    assert {result["task"]["type"] for result in index["results"]} == {"text-classification"}
    found = [(m["type"], m["value"]) for r in index["results"] for m in r["metrics"] if m["type"] != "bytes"]
    assert found == [("accuracy", 0.8432)] * 2


def test_metadata_of_ratings(rated: Path):
    metadata = yaml.safe_load(card_of(rated).split("---")[1])
    assert "datasets" not in metadata and metadata["metrics"] == ["rmse", "mse"]
    (index,) = metadata["model-index"]
    found = {(r["dataset"]["split"], m["type"]): m["value"] for r in index["results"] for m in r["metrics"]}
    assert found["test", "rmse"] == 0.1526 and found["valid", "mse"] == 0.0233


def test_catalog_and_readme(imdb: Path):
    assert render.main([], imdb) == 0 and render.main(["--check"], imdb) == 0
    entry = Entry(name="sentiment", **json.loads((imdb / "zoo/catalog.json").read_text())["sentiment"])
    assert entry.task == "text-classification" and entry.headline == "imdb test accuracy 0.8432"
    assert entry.quality == {"imdb": {"valid_accuracy": 0.84321, "test_accuracy": 0.84321}}
    text = (imdb / "README.md").read_text()
    assert (
        "| [sentiment](zoo/checkpoints/sentiment/README.md) | 1 x LSTM 5, embedding 1, vocabulary 270, 2 classes "
        "| 268 words, word vectors of 1, 5 hidden units, 8 + 3 gates that move, 1,331 weights "
        "| 1,400 | 1,331 | 0.004 | imdb | accuracy | 0.8432 | 0.8432 | 0.0060 |"
    ) in text
    assert text.index("Nothing is measured yet.") > text.index("sentiment") > text.index("None is shipped yet.")
    assert not (imdb / "docs/pareto.svg").exists()
