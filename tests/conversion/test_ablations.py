"""What the committed tables claim, and the programs that make them."""

import hashlib
import json

import pytest

from bench.report import RESULTS
from conversion import build
from conversion.ablations import one_shot, seeds
from zoo.catalog import CHECKPOINTS
from zoo.loading import load

from .tiny import write_recipe


@pytest.fixture(scope="module")
def rows():
    result = json.loads((RESULTS / "lstm-200-ptb" / "one-shot.json").read_text())
    return result["parent"], result["rows"]


def test_the_table_has_the_rows_of_the_program(rows):
    told = [{key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()} for _, fields in one_shot.ROWS]
    assert [{key: row[key] for key in fields} for row, fields in zip(rows[1], told, strict=True)] == told


def test_eight_bits_cost_less_than_the_papers(rows):
    parent, (papers, per_row, *_) = rows
    assert (papers["scheme"], per_row["scheme"]) == ("range", "row")
    for split in ("valid", "test"):
        assert papers[split] - parent[split] <= 0.57  # Grachev et al. 2019, Table 1: 118.232 - 117.659
        assert per_row[split] - parent[split] <= 0.1


def test_pruning_without_training_beats_the_papers_ratio(rows):
    best = min(row["test_ratio"] for row in rows[1] if row["method"] == "prune")
    assert best < 149.31 / 117.659


def test_the_program_on_a_tiny_checkpoint(tmp_path, corpus, monkeypatch):
    file = write_recipe(tmp_path / "tiny.toml", corpus, ("save_every = 0", "save_every = 60"))
    assert build.main([str(file), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path), "--device", "cpu"]) == 0
    few = (one_shot.ROWS[1], ("prune", {**one_shot.HEAD, "sparsity": 0.25}))
    monkeypatch.setattr(one_shot, "ROWS", few)
    out = tmp_path / "one-shot.json"
    assert one_shot.main([str(tmp_path / "tiny"), "--corpus", str(corpus), "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    eight, pruned = result["rows"]
    assert eight["valid"] == pytest.approx(result["parent"]["valid"], rel=0.01) and eight["bytes"] < pruned["bytes"]
    made = one_shot.METHODS["quantize"].compress(
        model := load(tmp_path / "tiny")[0], one_shot.METHODS["quantize"].Spec()
    )
    twin = one_shot.dense_twin(model, made)
    assert twin.config.weights == {} and not twin.training
    assert one_shot.main(["no-such", "--out", str(out)]) == 2


def test_results_belong_to_the_shipped_weights():
    weights = hashlib.sha256((CHECKPOINTS / "lstm-200-ptb" / "model.safetensors").read_bytes()).hexdigest()
    for name in ("one-shot", "low-rank"):
        assert json.loads((RESULTS / "lstm-200-ptb" / f"{name}.json").read_text())["sha256"] == weights


def perplexity(name, split="test"):
    return json.loads((RESULTS / name / "ptb.json").read_text())[split]["perplexity"]


def test_what_fine_tuned_children_of_lstm_200_keep():
    parent = perplexity("lstm-200-ptb")
    assert perplexity("lstm-200-lr-softmax-ptb") <= parent  # 0.51M in the output layer, as in the paper's Table 3
    assert perplexity("lstm-200-pruned-ptb") <= 1.03 * parent  # 121.123 / 117.659 in the paper's Table 1
    assert perplexity("lstm-200-int8-ptb") - parent <= 0.1


def test_another_seed_of_a_tiny_checkpoint(tmp_path, corpus, capsys):
    file = write_recipe(tmp_path / "tiny.toml", corpus)
    runs = tmp_path / "runs"
    assert build.main([str(file), "--runs", str(runs), "--out", str(tmp_path), "--device", "cpu"]) == 0
    out = tmp_path / "seeds.json"
    command = [str(tmp_path / "tiny"), "--runs", str(runs), "--device", "cpu", "--out", str(out), "--seeds"]
    assert seeds.main([*command, "5", "6"]) == 0
    result = json.loads(out.read_text())
    assert [row["seed"] for row in result["rows"]] == [3, 5, 6]
    assert len({row["test"]["perplexity"] for row in result["rows"]}) == 3, "chance made no difference"
    assert (
        result["rows"][0]["test"]["perplexity"]
        == json.loads((tmp_path / "tiny/metrics.json").read_text())["test"]["perplexity"]
    )
    assert result["command"] == "python -m conversion.ablations.seeds tiny --seeds 5 6 --data DIR --out FILE"
    built = out.read_text()
    assert seeds.main([*command, "5", "6"]) == 0 and out.read_text() == built, "a seed that is done was trained again"
    assert seeds.main([*command, "3"]) == 2
    assert "seeds are [3]; give different ones, without tiny's own, 3" in capsys.readouterr().err


def test_only_what_is_trained_from_scratch_has_other_seeds(tmp_path, capsys):
    assert seeds.main(["lstm-200-pruned-ptb", "--out", str(tmp_path / "seeds.json")]) == 2
    assert "lstm-200-pruned-ptb was made from lstm-200-ptb; give one trained from scratch" in capsys.readouterr().err
