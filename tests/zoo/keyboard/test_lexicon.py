"""Completions against a plain search over every word."""

import itertools

import numpy as np
import pytest

from zoo.keyboard.lexicon import APOSTROPHE, TYPO, Lexicon, folded, is_partial

WORDS = [
    "the", "The", "they", "there", "then", "three", "thing", "I'm", "I'll", "don't", "done", "a", "an",
    "ate", "eat", "tea",
    "london", "aaa", "aab", "aba",
    "abab", "x" * 45, "שלום", "élan", "élève", "10", "t",
]  # fmt: skip


def costs_of(word: str, prefix: str) -> float | None:
    """The cost by definition: some beginning of the word is the prefix, or one edit from it; None: neither."""
    word, prefix = folded(word), folded(prefix)
    if word.startswith(prefix):
        return 0.0
    found = []
    for place in range(len(prefix) + 1):
        rest = prefix[place:]
        tries = []
        if place < len(word):
            cost = APOSTROPHE if word[place] == "'" else TYPO
            tries.append((prefix[:place] + word[place] + rest, cost))  # one too few
        if rest:
            tries.append((prefix[:place] + rest[1:], TYPO))  # one too many
            if place < len(word):
                tries.append((prefix[:place] + word[place] + rest[1:], TYPO))  # a wrong one
        if len(rest) > 1:
            tries.append((prefix[:place] + rest[1] + rest[0] + rest[2:], TYPO))  # two swapped
        found += [cost for mended, cost in tries if word.startswith(mended)]
    cost = min(found, default=None)
    if cost is None or len(prefix) > 20 or len(prefix) < (2 if cost == APOSTROPHE else 3):
        return None
    return cost


PREFIXES = [
    "t", "th", "the", "thr", "teh", "hte", "thee", "thhe", "tthe", "tre", "im", "i", "ill", "dont", "don",
    "donut",
    "tea", "eat", "lnodon", "londonx", "xlondon", "aaa", "aaaa", "aba", "bab", "abb", "x" * 20, "x" * 21, "x" * 40,
    "שלו", "elan", "ÉL", "10", "TH", "I’m", "e\u0301l",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_matches(prefix):
    ids, costs = Lexicon(WORDS, range(len(WORDS))).matches(prefix)
    expected = {place: cost for place, word in enumerate(WORDS) if (cost := costs_of(word, prefix)) is not None}
    assert dict(zip(ids.tolist(), costs.tolist(), strict=True)) == expected and len(ids) == len(expected)


def test_many_random_words():
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("ab'"), size)) for size in generator.integers(1, 7, 300)]
    lexicon = Lexicon(words, range(len(words)))
    for prefix in ("".join(letters) for n in range(1, 5) for letters in itertools.product("ab", repeat=n)):
        ids, costs = lexicon.matches(prefix)
        expected = {place: cost for place, word in enumerate(words) if (cost := costs_of(word, prefix)) is not None}
        assert dict(zip(ids.tolist(), costs.tolist(), strict=True)) == expected, prefix


@pytest.mark.parametrize("prefix", ["", "'a", "a b", "a.", "😀", "x" * 41, "\n"])
def test_what_begins_no_word(prefix):
    assert not is_partial(prefix) and len(Lexicon(WORDS, range(len(WORDS))).matches(prefix)[0]) == 0


def test_no_words():
    assert len(Lexicon([], []).matches("the")[0]) == 0
