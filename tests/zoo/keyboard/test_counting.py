"""Weights in numpy against their plain twin, after any changes of the log."""

import numpy as np
import pytest

from zoo.keyboard.counting import Counts, plain_weights

WORDS = ["a", "b", "c", "d"]


@pytest.mark.parametrize("half_life", [1.0, 30.0, 1e9])
@pytest.mark.parametrize("seed", range(3))
def test_weights(seed, half_life):
    generator = np.random.default_rng(seed)
    log, counts = [], Counts()
    for _ in range(60):
        word, previous = generator.choice(WORDS), generator.choice([*WORDS, "", None])
        if log and generator.random() < 0.3:
            place = int(generator.integers(len(log)))
            del log[place]
            counts.remove(place)
        oldest = bool(generator.random() < 0.2)
        log.insert(0 if oldest else len(log), (word, previous))
        counts.add(word, previous, oldest)
    single, after = plain_weights(log, half_life)
    for previous in [*WORDS, "", "never", None]:
        for found, expected in zip(counts.weights(previous, half_life), (single, after.get(previous, {})), strict=True):
            assert found.tolist() == pytest.approx([expected.get(name, 0) for name in counts.names])
    again = Counts(log).weights("a", half_life)
    for found, expected in zip(counts.weights("a", half_life), again, strict=True):
        assert sorted(found[found > 0].tolist()) == sorted(expected[expected > 0].tolist())


def test_ids_of_two_vocabularies():
    counts = Counts([("a", None), ("b", "c")])
    first, second = {"a": 7, "c": 9}, {"b": 1}
    assert counts.tokens(first).tolist() == [7, -1, 9] and counts.tokens(second).tolist() == [-1, 1, -1]
    counts.add("d", None)
    assert counts.tokens(second).tolist() == [-1, 1, -1, -1]


def test_an_empty_log():
    assert [found.tolist() for found in Counts().weights("a", 10)] == [[], []]
