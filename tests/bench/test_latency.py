"""The contenders of the latency benchmark do the same work; the protocol and its errors. No times are looked at."""

from __future__ import annotations

import json

import pytest

from bench import latency
from tests.zoo.folders import write_checkpoint
from tests.zoo.models import fill
from zoo import RnnLmConfig, RnnLmForCausalLM
from zoo.errors import ZooError


def tiny(folder, **options):
    """A checkpoint without an output projection, which the hand-written step does not know."""
    config = RnnLmConfig(vocab_size=31, embedding_size=7, hidden_size=9, tie_word_embeddings=False, **options)
    return write_checkpoint(folder, fill(RnnLmForCausalLM(config)))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(latency, "WARM_UP", 4)
    monkeypatch.setattr(latency, "TIMED", 8)
    monkeypatch.setattr(latency, "BLOCK", 4)


@pytest.mark.parametrize("projection_size", [None, 5])
def test_all_contenders_give_the_same_three_words(tmp_path, projection_size):
    folder = tiny(tmp_path / "tiny", projection_size=projection_size)
    steps = {name: contender(folder) for name, contender in latency.CONTENDERS.items()}
    latency.check(steps, [2, 5, 3, 30, 2, 2])


def test_contenders_that_differ_are_refused():
    steps = {"one": lambda token: ([1, 2, 3], [-1.0, -2.0, -3.0]), "two": lambda token: ([1, 2, 3], [-1.0, -2.0, -3.5])}
    with pytest.raises(ZooError, match="two and one disagree after the id 7"):
        latency.check(steps, [7])


def test_main_writes_a_result_per_device_with_conditions(tmp_path, quick, monkeypatch, capsys):
    folder = tiny(tmp_path / "tiny")
    monkeypatch.setattr(latency, "cpu_name", lambda: "Some CPU (2 cores)")
    assert latency.main([str(folder), "--backend", "torch", "numpy", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "tiny" / "latency-some-cpu-2-cores.json").read_text())
    assert result["device"] == "Some CPU (2 cores)"
    assert result["protocol"] == {"warm_up": 4, "timed": 8, "block": 4, "batch": 1, "top": 3, "threads": 1}
    assert result["milliseconds"].keys() == {"torch", "numpy"}
    assert all(value > 0 for row in result["milliseconds"].values() for value in row.values())
    assert "tiny on Some CPU" in capsys.readouterr().out


def test_errors_are_one_line(tmp_path, capsys):
    folder = tiny(tmp_path / "tiny", cell="gru")
    assert latency.main([str(folder), "--backend", "torhc"]) == 2
    assert latency.main([str(folder), "--backend", "plain-torch"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert lines[0] == "error: no contender torhc; there are torch, torch-step, plain-torch, numpy"
    assert lines[1].startswith("error: plain-torch is written for an LSTM without output projection")
