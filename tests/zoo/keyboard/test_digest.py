"""The digest: fixed values that every port must give, and what it depends on."""

import numpy as np

from zoo.keyboard import Keyboard
from zoo.keyboard.digest import START, absorbed
from zoo.runtime import best_ids

from .invented import scripted, type_all


def test_best_ids_by_probability_then_by_id():
    scores = np.array([-3, -1, -2, -1, -5, -1], np.float32)
    assert best_ids(scores, 3).tolist() == [1, 3, 5] and best_ids(scores, 4).tolist() == [1, 3, 5, 2]
    assert best_ids(scores[:2], 3).tolist() == [1, 0]


def test_fixed_values():
    scores = np.array([-3, -1, -2, -1, -5, -1], np.float32)
    first = absorbed(START, 0, scores)
    assert f"{first:016x}" == "cfe7950a77f25b42"
    assert f"{absorbed(first, 4_000_000_000, -scores):016x}" == "e26c1983b9bee451"


def test_what_it_depends_on():
    keyboard, other = Keyboard(scripted()), Keyboard(scripted(), private=True, blocked=())
    type_all(keyboard, ["The", "zork", "."])
    type_all(other, ["the", "Zonk"])
    assert keyboard.digest != other.digest
    other.commit(".")
    assert keyboard.digest == other.digest
    different = Keyboard(scripted(after={"the": ["it"]}))
    type_all(different, ["The", "zork", "."])
    assert keyboard.digest != different.digest
