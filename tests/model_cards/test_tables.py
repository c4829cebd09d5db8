"""The papers' tables with made-up results beside them, and the figures transcribed from the thesis."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from conversion.recipe import read_recipe
from model_cards import tables, thesis
from model_cards.facts import Facts, derived, gather_derived
from model_cards.frontier import frontier
from model_cards.matching import differs, method, numbers_in, of_method, rows
from zoo.counts import parameters_of
from zoo.errors import CheckpointError
from zoo.layout import layout_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LSTM = {"cell": "lstm", "vocab_size": 10_000, "num_hidden_layers": 2, "tie_word_embeddings": False}
INT8 = {"form": "int8", "scheme": "row"}
THESIS = tomllib.loads(thesis.PRINTED.read_text(encoding="utf-8"))["table"]


def config(hidden: int, embedding: int | None = None, **more: Any) -> dict[str, Any]:
    return {**LSTM, "hidden_size": hidden, "embedding_size": embedding or hidden, **more}


def facts(name: str, fields: dict, perplexity: float, recipe: str = "", **more: Any) -> Facts:
    layout = layout_of(fields)
    parameters = sum(parameters_of(layout).values())
    size = {"parameters": parameters, "nonzeros": parameters, "bytes": 2 * parameters, "tokenizer_bytes": 150_000}
    rest: Any = {"sha256": {}, "agreement": [], "onnx": {}, "steps": [], "latency": [], "predicted": [], **more}
    quality = {"ptb": {"test": {"perplexity": perplexity}}}
    return Facts(name, layout, recipe, size=size, quality=quality, **rest)


def row(name: str, table: int = 1):
    return next(row for row in rows() if row.table == table and row.name == name)


def cells(text: str, first: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("| ").split("|")]


PRUNED = {"head": {"form": "sparse", "nonzeros": 200_000}}
LR_HEAD = {"head": {"form": "low_rank", "rank": 50, "values": INT8}}


@pytest.mark.parametrize(
    ("fields", "recipe", "name"),
    [
        (config(200), "", "LSTM 200-200"),
        (config(30, cell="gru"), "", "GRU 650-650"),
        (
            config(30, cell="rnn", weights=dict.fromkeys(("embed", "input", "recurrent", "head"), INT8)),
            "",
            "RNN 650-650",
        ),
        (config(20, 9, projection_size=9, tie_word_embeddings=True), "", "LR LSTM 650-650"),
        (config(20, 9, projection_size=9, cell="rnn", weights={"input": INT8}), "", "LR RNN 650-650"),
        (
            config(200, weights=dict.fromkeys(("embed", "input", "recurrent", "head"), INT8)),
            "",
            "LSTM 200-200 quantization (1 byte per number)",
        ),
        (
            config(200, weights=PRUNED),
            '[[compress]]\nmethod = "prune"\n',
            "LSTM 200-200 pruning output layer 90% w/o additional training",
        ),
        (
            config(200, weights=PRUNED),
            '[[compress]]\nmethod = "prune"\n[[compress.stage]]\nlr = 1\n',
            "LSTM 200-200 pruning output layer 90% with additional training",
        ),
    ],
)
def test_a_method_is_known_whatever_the_sizes(fields, recipe, name):
    assert method(layout_of(fields), tomllib.loads(recipe)) == row(name).method


def test_methods_of_the_output_layer_and_of_the_layers_are_told_apart():
    assert method(layout_of(config(200, weights=LR_HEAD)), {}) == "LSTM, LR softmax"
    tied = config(200, tie_word_embeddings=True, weights={"embed": {"form": "low_rank", "rank": 50}})
    assert method(layout_of(tied), {}) == "LSTM, LR softmax"
    assert row("TT LSTM 600-600").method == "TT LSTM"
    assert row("TT for Softmax layer, LSTM 600-600", 3).method == "LSTM, TT softmax"
    assert method(layout_of(config(200, 90, projection_size=90, weights=PRUNED)), {}).startswith("LR LSTM, pruned")
    assert len({row.method for row in rows()}) == 12


def test_best_of_a_method_with_no_more_parameters():
    small = facts("small", config(100), 95)
    large = facts("large", config(300), 80)
    other = facts("other", config(100, 50, projection_size=50), 70)
    assert [one.name for one in of_method("LSTM", [small, large, other])] == ["large", "small"]
    assert of_method("LSTM", [small, large, other], row("LSTM 200-200").numbers) == [small]
    assert of_method("LSTM", [large], numbers_in(large.layout) - 1) == []


def test_pruned_networks_are_counted_by_what_is_stored():
    assert row("LSTM 200-200 pruning output layer 90% with additional training").numbers == 2_851_600
    found = facts("pruned", config(200, weights=PRUNED), 90)
    found.size["nonzeros"] = 7  # of matrices that are not sparse zeros count
    assert numbers_in(found.layout) == 2_851_600


def test_a_row_with_ours_and_one_without():
    predicted = {"device": "Mali-T880", "predictions": [{"milliseconds": 9.339}, {"low": 1, "high": 2}]}
    timed = {"device": "Phone", "protocol": {"threads": 1}, "milliseconds": {"opencl": {"median": 0.1234}}}
    recipe = 'parent = "big"\n[training]\nteachers = ["wise"]\n'
    ours = facts("ours", config(200), 99.123, recipe, predicted=[predicted], latency=[timed])
    text = tables.table(1, [ours])
    assert "ms measured on Phone, 1 thread" in text
    found = cells(text, "LSTM 200-200")
    assert found[:6] == ["LSTM 200-200", "18.6", "4.64", "117.659", "9.63", "[ours]"]
    assert found[6:] == ["9.30", "4,651,600", "99.12", "yes", "9.34", "0.12", "from big, taught by wise"]
    differences = "width 200 (there 300), embedding 200 (there 300), from big, taught by wise"
    assert cells(text, "LSTM 300-300")[9:] == ["no", "9.34", "0.12", differences]
    others = [facts(name, config(10), 200, latency=[timed | {"device": "Watch"}] * 2) for name in ("one", "other")]
    assert cells(tables.table(1, [ours, *others]), "LSTM 200-200")[11] == "0.12 (Phone, 1 thread)"
    assert cells(text, "GRU 650-650")[5] == "recipe only, not trained: `paper-gru-650`"
    assert cells(text, "RNN 650-650")[2] == "16.9 (14.70 as described)"
    assert "Mali ms |" in tables.table(3, []) and "0.51" not in tables.table(3, [])


def test_teachers_of_the_parent_are_told():
    parent = facts("big", config(200), 90, '[training]\nteachers = ["wise"]\n')
    child = facts("ours", config(200, weights={"head": INT8}), 91, 'parent = "big"\n')
    assert differs(child, row("LSTM 200-200"), [parent, child]) == "int8, from big, taught by wise"


def test_by_method_shows_the_best_row_that_is_beaten():
    text = tables.by_method([facts("ours", config(200), 80), facts("lr", config(200, 90, projection_size=90), 200)])
    assert cells(text, "LSTM")[1:] == ["LSTM 1500-1500 (78.29)", "LSTM 650-650", "19.7", "82.07", "[ours]",
                                       "4,651,600", "80.00"]  # fmt: skip
    assert cells(text, "LR LSTM")[2:5] == ["none yet", "–", "–"] and cells(text, "LR LSTM")[5] == "[lr]"
    assert cells(text, "GRU")[5] == "recipe only, not trained"


def test_the_score_counts_rows_and_names_those_that_are_left():
    plain = "LSTM 200-200"
    text = tables.score([facts("ours", config(200), float(row(plain).printed["test_perplexity"]) - 1)])
    # The same network stands in both tables, and those of more numbers are below it.
    assert "Of the 29 rows" in text and " lower perplexity in 2; not yet in: LSTM 300-300; " in text
    left = text.split("not yet in: ")[1].rstrip(".").split("; ")
    assert left.count("LSTM 1500-1500") == 1 and plain not in left
    assert "in 0;" in tables.score([])


def test_no_row_is_left(monkeypatch: pytest.MonkeyPatch):
    only = row("LSTM 200-200")
    monkeypatch.setattr(tables, "rows", lambda: (only,))
    assert tables.score([facts("ours", config(200), 99)]).endswith("ours has the lower perplexity in all.")


def test_frontier_takes_the_best_inside_of_each_budget():
    text = frontier([facts("tiny", config(40), 99), facts("mid", config(100), 61), facts("large", config(400), 54)])
    assert cells(text, "1.0M parameters")[1:5] == ["[tiny]", "835,920", "1,821,840", "99.00"]
    assert cells(text, "1.0M parameters")[7] == "must" and cells(text, "2.7M parameters")[7] == "wanted"
    assert cells(text, "10.0M parameters")[1] == "[mid]" and cells(text, "10.0M parameters")[7] == "must"
    assert cells(text, "2.0 MB on disk")[1] == "[tiny]" and cells(text, "2.0 MB on disk")[7] == "no"
    assert cells(frontier([]), "4.0 MB on disk")[1] == "none yet"


def classifier(name: str, corpus: str, metric: str, value: float, recipe: str, **structure: int) -> Facts:
    layout = layout_of({**config(4), "num_hidden_layers": 1, "num_labels": 2, "architectures": [
        "RnnLmForSequenceClassification"]})  # fmt: skip
    rest: Any = {"sha256": {}, "agreement": [], "onnx": {}, "steps": [], "latency": [], "predicted": []}
    text = f'corpus = "{corpus}"\n[model]\nembedding_size = 2\nhidden_size = 4\n{recipe}'
    quality = {corpus: {"test": {metric: value}}}
    return Facts(name, layout, text, size={}, quality=quality, structure=structure, **rest)


GROUPED = '[[compress]]\nmethod = "bayes"\nroles = ["all"]\nprior = "log_uniform"\ngroups = ["words"]\n'


def test_rows_of_the_thesis():
    few = classifier("few", "imdb", "accuracy", 0.86, GROUPED, words=199, input=2, hidden=4, gates=15)
    many = classifier("many", "imdb", "accuracy", 0.88, GROUPED, words=2_569, input=4, hidden=4, gates=16)
    text = thesis.table(2, [few, many])
    assert cells(text, "group SparseVD, all layers")[5:10] == ["[few]", "0.8600", "199", "2", "4"]
    found = cells(text, "group SparseVD, recurrent layer")
    assert found[:7] == ["group SparseVD, recurrent layer", "0.822", "20,000", "1", "18", "[many]", "0.8800"]
    assert found[-1].startswith("vocabulary and last layer sparsified too, word vectors of 2 at the start (there 300)")
    assert "recipe only, not trained: `thesis-imdb-sparsevd`" in thesis.table(4, [few, many])
    rated = classifier("rated", "movie-reviews", "mse", 0.02, GROUPED, words=9, input=1, hidden=2, gates=3)
    assert cells(thesis.table(3, [rated]), "group SparseVD")[5] == "[rated]"
    assert "0.1526 | 99.91 | 99.90" in thesis.table(1, [])


def test_every_thesis_recipe_is_a_row_of_the_tables_that_it_names():
    found = {(row["recipe"], table["number"]) for table in THESIS for row in table["rows"]}
    expected = set()
    for path in thesis.RECIPES.glob("thesis-*.toml"):
        named = re.search(r"thesis, Tables? (\d)(?: and (\d))?", read_recipe(path).description)
        assert named, path
        expected |= {(path.stem, int(number)) for number in named.groups() if number}
    # Table 3 has the LSTM of Table 1 once more.
    assert found - expected == {("thesis-movies-lstm", 3)} and expected <= found
    for table in THESIS:
        assert all(len(row["left"]) in (0, len(table["columns"])) for row in table["rows"])
        assert all(0 < row["quality"] < 1 for row in table["rows"])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert tables.main(["--check"], tmp_path) == 1
    assert "not up to date: docs/paper-tables.md; type: python -m model_cards.tables" in capsys.readouterr().err
    assert tables.main([], tmp_path) == 0 and tables.main(["--check"], tmp_path) == 0
    text = (tmp_path / "docs/paper-tables.md").read_text()
    assert text.count("recipe only, not trained") > 30 and "None" not in text
    folder = tmp_path / "zoo" / "checkpoints" / "bad"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({}))
    assert tables.main([], tmp_path) == 2 and "lacks model.safetensors" in capsys.readouterr().err


def test_another_seed_stands_below_the_published_one():
    def trained(seed: int, test: float) -> dict[str, Any]:
        return {"seed": seed, "epochs": 3.0} | {
            split: {"perplexity": value, "standard_error": 0.5} for split, value in (("valid", 104.0), ("test", test))
        }

    again = facts("again", config(200), 99.25, seeds=[trained(1, 99.25), trained(7, 98.5)])
    told = tables.by_seed([facts("once", config(300), 90.0), again]).splitlines()[-2:]
    assert told == [
        "| [again] | 1 | 3 | 104.00 ± 0.50 | 99.25 ± 0.50 | – |",
        "| [again] | 7 | 3 | 104.00 ± 0.50 | 98.50 ± 0.50 | -0.75 |",
    ]


def test_a_checkpoint_that_its_recipe_makes_needs_no_files(tmp_path):
    """One made without training from one that is here has a row, and its name links to the recipe."""
    (tmp_path / "zoo" / "checkpoints" / "dense").mkdir(parents=True)
    recipes, results = tmp_path / "conversion" / "recipes", tmp_path / "bench" / "results"
    recipes.mkdir(parents=True)
    learning = '[[stage]]\noptimizer = "sgd"\nlr = 1.0\nepochs = 1\n'
    stage = '\n[[compress.stage]]\noptimizer = "sgd"\nlr = 1.0\nepochs = 1\n'
    texts = {
        "small": 'name = "small"\nparent = "dense"\n[[compress]]\nmethod = "quantize"\n',
        "tuned": f'name = "tuned"\nparent = "dense"\n[[compress]]\nmethod = "quantize"\n{stage}',
        "learnt-on": f'name = "learnt-on"\nparent = "dense"\n{learning}[[compress]]\nmethod = "quantize"\n',
        "orphan": 'name = "orphan"\nparent = "gone"\n[[compress]]\nmethod = "quantize"\n',
        "dense": 'name = "dense"\n[[stage]]\n',
    }
    fields = config(200, weights=dict.fromkeys(("embed", "input", "recurrent", "head"), INT8))
    for name, text in texts.items():
        (recipes / f"{name}.toml").write_text(text)
        (results / name).mkdir(parents=True)
        size = {"parameters": 4_651_600, "nonzeros": 4_651_600, "by_rows": 4_651_600, "bytes": 1, "tokenizer_bytes": 1}
        (results / name / "size.json").write_text(json.dumps({"sha256": "ab", "config": fields, **size}))
        quality = {"sha256": "ab", "valid": {"perplexity": 95.0}, "test": {"perplexity": 91.0}}
        (results / name / "ptb.json").write_text(json.dumps(quality))
    assert derived(tmp_path) == ["small"]
    found = gather_derived(tmp_path, "small")
    assert found.parent == "dense" and found.sha256 == {"model.safetensors": "ab"}
    text = tables.page([found])
    assert cells(text, "LSTM 200-200 quantization (1 byte per number)")[5] == "[small]"
    assert "[small]: ../conversion/recipes/small.toml" in text
    (results / "small" / "ptb.json").write_text(json.dumps({**quality, "sha256": "cd"}))
    with pytest.raises(CheckpointError, match="was measured on other weights"):
        gather_derived(tmp_path, "small")
