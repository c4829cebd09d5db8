"""Cards, catalog and table from a project made by hand; and that those of this project are up to date."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import yaml

from model_cards import render
from model_cards.facts import gather
from zoo.catalog import Entry
from zoo.errors import CheckpointError

README = (
    f"# Title\n\n{render.BEGIN}\n{render.END}\n\n{render.BEGIN_TEXTS}\n{render.END_TEXTS}\n\n"
    f"{render.BEGIN_LATENCY}\n{render.END_LATENCY}\n\nafter\n"
)
CONFIG = {
    "model_type": "rnnlm",
    "vocab_size": 10_000,
    "cell": "lstm",
    "num_hidden_layers": 2,
    "hidden_size": 650,
    "projection_size": 128,
    "embedding_size": 128,
    "tie_word_embeddings": True,
    "weights": {"input": {"form": "low_rank", "rank": 8}},
}
RECIPE = 'name = "tiny"\ncorpus = "ptb"\nparent = "big"\n'


def split(targets: int, perplexity: float) -> dict:
    row = {"targets": targets, "perplexity": perplexity, "standard_error": 0.51, "top1": 0.2512, "top3": 0.4012}
    return row | {"reciprocal_perplexity": 1 / perplexity, "perplexity_at_temperature": perplexity - 0.5}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with one checkpoint."""
    (tmp_path / "README.md").write_text(README)
    folder = tmp_path / "zoo" / "checkpoints" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "recipe.toml").write_text(RECIPE)
    measured = {"name": "tiny", "sha256": hashlib.sha256(b"weights").hexdigest()}
    size = {
        "parameters": 2_653_200,
        "nonzeros": 2_653_000,
        "by_rows": 2_653_200,
        "bytes": 5_309_000,
        "tokenizer_bytes": 240_000,
    }
    quality = {"command": "python -m bench.quality tiny --corpus ptb --data DIR", "temperature": 0.98}
    quality |= {"valid": split(73_760, 91.256), "test": split(82_430, 87.123_456)}
    results = tmp_path / "bench" / "results" / "tiny"
    results.mkdir(parents=True)
    (results / "size.json").write_text(json.dumps(measured | size))
    (results / "ptb.json").write_text(json.dumps(measured | quality))
    latency = {
        "device": "Some phone",
        "protocol": {"threads": 1},
        "milliseconds": {"torch": {"mean": 2.5, "median": 2.25, "p95": 3.125, "p99": 4}},
    }
    (results / "latency-some-phone.json").write_text(json.dumps(measured | latency))
    return tmp_path


def test_everything_is_rendered_and_then_up_to_date(root: Path, capsys: pytest.CaptureFixture[str]):
    assert render.main(["--check"], root) == 1
    assert (
        "not up to date: zoo/checkpoints/tiny/README.md; type: python -m model_cards.render" in capsys.readouterr().err
    )
    assert render.main([], root) == 0
    assert render.main(["--check"], root) == 0
    assert (root / "zoo/checkpoints/tiny/README.md").is_file()


def test_catalog_rows_are_entries(root: Path):
    render.main([], root)
    (row,) = json.loads((root / "zoo/catalog.json").read_text()).values()
    entry = Entry(name="tiny", **row)
    assert entry.description.startswith("2 x LSTM 650, projection 128, embedding 128, tied")
    assert entry.description.endswith(", input low_rank 8")
    assert (entry.parameters, entry.nonzeros, entry.bytes, entry.parent) == (2_653_200, 2_653_000, 5_309_000, "big")
    assert entry.quality["ptb"]["test_perplexity"] == 87.123456
    assert set(entry.sha256) == {"config.json", "model.safetensors", "recipe.toml"}


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ('name = "a"\n[[stage]]\n', "Trained from scratch."),
        ('name = "a"\nparent = "b"\n[[compress]]\n', "Compressed from `b`."),
        ('name = "a"\nparent = "b"\n[[stage]]\n', "Trained on from the weights of `b`."),
        ('name = "a"\nparent = "b"\n[[stage]]\n[[compress]]\n', "Trained on from the weights of `b`, then compressed."),
    ],
)
def test_what_the_weights_began_as(root: Path, recipe: str, told: str):
    assert dataclasses.replace(gather(root, "tiny"), recipe=recipe).parentage == told


def test_card_holds_the_numbers(root: Path):
    text = render.pages(root)[root / "zoo/checkpoints/tiny/README.md"]
    assert "$" not in text
    assert "82,430 | 87.12 | 0.51 | 86.62 | 0.2512 | 0.4012 | 0.0115" in text
    assert "Measured on Some phone, 1 thread:" in text and "| torch | 2.500 | 2.250 | 3.125 | 4.000 |" in text
    assert "2,653,200 | 2,653,000 | 2,653,200 | 5,309,000" in text and "adds 240,000" in text
    assert "Compressed from `big`" in text and RECIPE.strip() in text
    assert "not be redistributed" in text


def test_card_metadata_is_that_of_the_hub(root: Path):
    text = render.pages(root)[root / "zoo/checkpoints/tiny/README.md"]
    metadata = yaml.safe_load(text.split("---")[1])
    assert metadata["library_name"] == "transformers" and metadata["pipeline_tag"] == "text-generation"
    (index,) = metadata["model-index"]
    found = {(r["dataset"]["split"], m["name"]): m["value"] for r in index["results"] for m in r["metrics"]}
    assert found["valid", "word perplexity"] == 91.256 and found["test", "word perplexity"] == 87.1235
    assert found["test", "top-1"] == 0.2512 and found["test", "top-3"] == 0.4012 and found["test", "bytes"] == 5_309_000
    assert metadata["base_model"] == "big"


def test_readme_keeps_what_is_around_the_table(root: Path):
    render.main([], root)
    text = (root / "README.md").read_text()
    assert text.startswith("# Title\n") and text.endswith("\n\nafter\n")
    assert "| [tiny](zoo/checkpoints/tiny/README.md) | 2 x LSTM 650, projection 128" in text
    assert "| 2,653,200 | 5.31 | ptb | 91.26 | 87.12 | 0.251 | 0.401 |" in text


def test_no_checkpoints(tmp_path: Path):
    (tmp_path / "zoo").mkdir()
    (tmp_path / "README.md").write_text(README)
    assert render.main([], tmp_path) == 0
    assert json.loads((tmp_path / "zoo/catalog.json").read_text()) == {}
    assert "None is shipped yet." in (tmp_path / "README.md").read_text()


def test_picture_is_written_where_something_is_measured(root: Path):
    made = render.pages(root)
    assert made[root / "docs/pareto.svg"].startswith("<svg ")
    assert "![Size against test perplexity](docs/pareto.svg)" in made[root / "README.md"]


@pytest.mark.parametrize(
    ("removed", "command"),
    [
        ("bench/results/tiny/size.json", "python -m bench.size tiny"),
        ("bench/results/tiny/ptb.json", "python -m bench.quality tiny"),
        ("zoo/checkpoints/tiny/recipe.toml", "python -m conversion.build"),
    ],
)
def test_card_without_its_numbers_is_refused(root: Path, removed: str, command: str):
    (root / removed).unlink()
    with pytest.raises(CheckpointError, match=command):
        render.pages(root)
    assert render.main([], root) == 2


@pytest.mark.parametrize(
    ("result", "command"),
    [("size", "bench.size"), ("ptb", "bench.quality"), ("latency-some-phone", "bench.latency")],
)
def test_result_of_other_weights_is_refused(root: Path, result: str, command: str):
    path = root / f"bench/results/tiny/{result}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": "0"}))
    with pytest.raises(CheckpointError, match=f"measured on other weights; measure again: python -m {command} tiny"):
        render.pages(root)


def test_results_of_others_that_are_not_whole_are_refused(root: Path):
    path = root / "bench/results/tiny/latency-some-phone.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in whole.items() if key != "protocol"}))
    with pytest.raises(CheckpointError, match=r"has no protocol\.threads; make it with: python -m bench\.latency tiny"):
        render.pages(root)
    path.write_text("{")
    with pytest.raises(CheckpointError, match="is no JSON; measure again"):
        render.pages(root)
    path.write_text(json.dumps(whole | {"kind": "prediction"}))
    with pytest.raises(CheckpointError, match=r"is a prediction; predictions are predicted-\*\.json"):
        render.pages(root)


def test_a_result_that_is_half_filled_is_named(root: Path):
    path = next(path for path in root.glob("bench/results/tiny/*.json") if "test" in json.loads(path.read_text()))
    found = json.loads(path.read_text())
    del found["test"]["top1"]
    path.write_text(json.dumps(found))
    with pytest.raises(CheckpointError, match=r"bench/results/tiny is not whole \(KeyError: 'top1'\)"):
        render.pages(root)


def test_tables_of_the_keyboards_page(root: Path):
    sha256 = json.loads((root / "bench/results/tiny/ptb.json").read_text())["sha256"]
    parity = {"sha256": sha256, "messages": 9, "keys": 40, "engines": {}}
    (root / "bench/results/tiny/keyboard-page-parity.json").write_text(json.dumps(parity))
    (root / "docs").mkdir()
    guide = root / "docs/keyboard-page.md"
    guide.write_text("before\n")
    with pytest.raises(CheckpointError, match="has no table of parity; put the lines <!-- parity: made by"):
        render.pages(root)
    guide.write_text("before\n<!-- parity: made by model_cards.render -->\n<!-- end of parity -->\nafter\n")
    text = render.pages(root)[guide]
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "tiny: 9 messages, 40 bars" in text


def test_unknown_corpus_is_refused(root: Path):
    (root / "zoo/checkpoints/tiny/recipe.toml").write_text('corpus = "mine"\n')
    with pytest.raises(CheckpointError, match=r"corpora\.toml has no section 'mine'"):
        render.pages(root)


def test_readme_without_markers_is_refused(root: Path):
    (root / "README.md").write_text("# Title\n")
    with pytest.raises(CheckpointError, match="no table of checkpoints"):
        render.pages(root)
    (root / "README.md").write_text(f"{render.BEGIN}\n{render.END}\n")
    with pytest.raises(CheckpointError, match="no table of text classifiers; put the lines <!-- text classifiers"):
        render.pages(root)
    (root / "README.md").write_text(README.partition(render.BEGIN_LATENCY)[0])
    with pytest.raises(CheckpointError, match="no table of latency; put the lines <!-- latency"):
        render.pages(root)


@pytest.mark.parametrize(
    ("path", "number", "other"),
    [
        ("zoo/checkpoints/tiny/README.md", "value: 87.1235", "value: 67.1235"),
        ("zoo/checkpoints/tiny/README.md", "| 87.12 |", "| 67.12 |"),
        ("zoo/checkpoints/tiny/README.md", "| torch | 2.500 |", "| torch | 1.500 |"),
        ("zoo/catalog.json", "87.123456", "67.123456"),
        ("README.md", "| 87.12 |", "| 67.12 |"),
    ],
)
def test_a_number_edited_by_hand_is_found(root: Path, path: str, number: str, other: str, capsys):
    render.main([], root)
    text = (root / path).read_text()
    assert number in text
    (root / path).write_text(text.replace(number, other))
    capsys.readouterr()
    assert render.main(["--check"], root) == 1
    assert f"not up to date: {path}; type: python -m model_cards.render" in capsys.readouterr().err
    assert render.main([], root) == 0 and (root / path).read_text() == text


def test_versions_are_added_and_never_changed(root: Path):
    kept = root / "zoo/published.json"
    render.main([], root)
    first = json.loads(kept.read_text())["checkpoints"]["tiny"]
    assert set(first) == {"v1"} and set(first["v1"]["sha256"]) == {"config.json", "model.safetensors"}
    (root / "zoo/checkpoints/tiny/recipe.toml").write_text(RECIPE + "\n")
    render.main([], root)
    assert json.loads(kept.read_text())["checkpoints"]["tiny"] == first
    (root / "zoo/checkpoints/tiny/config.json").write_text(json.dumps(CONFIG | {"eos_token_id": 0}))
    assert render.main(["--check"], root) == 1
    render.main([], root)
    both = json.loads(kept.read_text())["checkpoints"]["tiny"]
    assert set(both) == {"v1", "v2"} and both["v1"] == first["v1"] != both["v2"]


def test_this_project_is_up_to_date():
    assert render.main(["--check"]) == 0
