"""Words typed with a slip: the slips themselves, and what a keyboard makes of them."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from bench import slips
from tests.zoo.keyboard.invented import WORDS, write_keyboard
from zoo.keyboard.lexicon import TYPO
from zoo.typed_corpora import DIALOGUE

MORE = ["letter", "later", "latter", "ladder", "houses", "horses"]


@pytest.mark.parametrize(("letter", "around"), [("q", "wa"), ("g", "fhtyvb"), ("m", "njk"), ("p", "ol"), ("a", "sqwz")])
def test_neighbours_of_a_key(letter, around):
    assert set(slips.neighbours(letter)) == set(around)


def test_a_slip_is_one_edit():
    chance = random.Random(0)
    made = {slips.slipped("house", chance) for _ in range(2000)}
    assert "house" not in made
    assert {"huse", "ohuse", "hiuse", "housed"} <= made, "missing, swapped, wrong, one too many"
    assert {len(word) for word in made} == {4, 5, 6}
    for word in made:
        edits = sum(a != b for a, b in zip(word, "house", strict=False)) if len(word) == 5 else 1
        assert edits <= 2, "a swap changes two letters, all else one"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "dialogue"
    folder.mkdir()
    for source in DIALOGUE:
        for split in ("train", "valid", "test"):
            with gzip.open(folder / f"{source}.{split}.txt.gz", "wt") as file:
                file.write("a letter later\n\nthe houses and horses\n")
    return tmp_path


def test_the_command(tmp_path, data, capsys):
    folder = write_keyboard(tmp_path / "tiny", [*WORDS, *MORE])
    out = tmp_path / "out"
    assert slips.main([str(folder), "--data", str(data), "--words", "40", "--out", str(out)]) == 0
    found = json.loads((out / "tiny" / "keyboard-slips.json").read_text())
    assert found["cost"] == TYPO and found["best"] in slips.COSTS
    for typed in ("3", "4", "5", "whole"):
        right, wrong = found["weighed"][typed]["right"], found["weighed"][typed]["slipped"]
        assert right == sorted(right), "a dearer slip never hides a word that is typed right"
        assert wrong == sorted(wrong, reverse=True), "nor does it bring back one that is not"
    assert found["test"]["whole"]["right"] == 1, "a whole word brings itself up"
    assert 0 < found["test"]["whole"]["slipped"] <= 1
    assert "the word typed: 100.0% right" in capsys.readouterr().out
    assert slips.main([str(folder), "--data", str(data), "--rate", "2", "--out", str(out)]) == 2
    assert "--words is 4000 and --rate 2.0; give at least 1, and a share" in capsys.readouterr().err


def test_what_is_expected_at_a_rate():
    told = {str(typed or "whole"): {"right": [0.9], "slipped": [0.5]} for typed in slips.TYPED}
    shares = [1 - (1 - 0.1) ** letters for letters in (3, 4, 5, 7)]
    assert slips.expected(told, 0.1) == pytest.approx([0.9 - 0.4 * sum(shares) / 4])
