"""What `bench.quality --adapt` writes, and that it stays apart from the static numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import quality
from tests.zoo.folders import WORDS, write_checkpoint
from tests.zoo.models import model_of


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    folder, draw = tmp_path / "story", np.random.default_rng(3)
    folder.mkdir()
    for split in ("train", "valid", "test"):
        text = "".join(" ".join(draw.choice(WORDS[2:9], 6)) + "\n" for _ in range(9))
        (folder / f"{split}.txt").write_text(text)
    return folder


def test_entries_beside_the_static_ones(tmp_path: Path, story: Path, capsys):
    folder, out = write_checkpoint(tmp_path / "tiny"), tmp_path / "results"
    arguments = [str(folder), "--corpus", str(story), "--out", str(out)]
    assert quality.main([*arguments, "--adapt", "cache"]) == 2
    assert "measure them first: python -m bench.quality tiny" in capsys.readouterr().err
    assert quality.main(arguments) == 0
    path = out / "tiny" / "story.json"
    static = json.loads(path.read_text())
    assert quality.main([*arguments, "--adapt", "cache", "--adapt", "dynamic"]) == 0
    found = json.loads(path.read_text())
    assert {key: found[key] for key in static} == static and set(found) - set(static) == {"cache", "dynamic"}
    for kind in ("cache", "dynamic"):
        entry = found[kind]
        assert entry["command"] == f"python -m bench.quality tiny --corpus story --data DIR --adapt {kind}"
        assert entry["test"]["targets"] == 63 and entry["test"]["perplexity"] != static["test"]["perplexity"]
        assert entry["settings"] and entry["trials"] and entry["device"] and entry["threads"] >= 1
    assert f"test: perplexity {found['dynamic']['test']['perplexity']:.2f} with dynamic" in capsys.readouterr().out
    assert quality.main([*arguments, "--split", "valid"]) == 0  # static numbers anew: the others stay
    assert json.loads(path.read_text())["cache"] == found["cache"]


def test_other_weights_lose_them_and_integers_follow_too(tmp_path: Path, story: Path):
    out = tmp_path / "results"
    arguments = [str(tmp_path / "tiny"), "--corpus", str(story), "--out", str(out)]
    write_checkpoint(tmp_path / "tiny")
    assert quality.main(arguments) == 0 and quality.main([*arguments, "--adapt", "cache"]) == 0
    write_checkpoint(tmp_path / "tiny", model_of(form="int8"))
    assert quality.main(arguments) == 0
    assert "cache" not in json.loads((out / "tiny" / "story.json").read_text())
    assert quality.main([*arguments, "--adapt", "dynamic"]) == 0
    found = json.loads((out / "tiny" / "story.json").read_text())
    assert found["dynamic"]["valid"]["perplexity"] < found["valid"]["perplexity"]
