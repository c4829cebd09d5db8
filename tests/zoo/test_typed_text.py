import pytest

from zoo.typed_text import Casing, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t stop… it's 10:30, ok?!", ["Don't", "stop", "...", "it's", "10:30", ",", "ok", "?", "!"]),
        ("well-known “film” (3.5)", ["well", "-", "known", '"', "film", '"', "(", "3.5", ")"]),
        ("the boys' game 😀👍", ["the", "boys", "'", "game", "😀", "👍"]),
        ("cafe\u0301 \u05e9\u05dc\u05d5\u05dd\u200f", ["café", "שלום", "\u200f"]),
        ("  \n\t ", []),
        ("3.", ["3", "."]),
    ],
)
def test_words_and_signs(text, words):
    assert split_words(text) == words


CASING = Casing.of_vocabulary(["<eos>", "the", "I", "may", "London", "it", "May", "NASA", "iPhone", "."])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The london", ["the", "London"]),
        ("i think THE may be in May", ["I", "think", "the", "may", "be", "in", "May"]),
        ("it. May it", ["it", ".", "may", "it"]),
        ("nasa IPHONE iphone", ["NASA", "iPhone", "iPhone"]),
        ("Zork said Zork", ["zork", "said", "Zork"]),
        ('"The', ['"', "the"]),
    ],
)
def test_case(text, words):
    assert list(CASING.words(text)) == words


def test_a_text_that_goes_on_starts_no_sentence():
    assert list(CASING.words("May", starts=False)) == ["May"]


def test_casing_is_learnt_inside_sentences():
    lines = [
        "I saw Anna. The end",
        "The sea and the Sun",
        "we know Anna, she knows the sun",
        "so the sun, the Bill",
        "a bill",
    ]
    casing = Casing.of_text(lines)
    assert [casing.usual[word] for word in ("anna", "the", "sun", "bill")] == ["Anna", "the", "sun", "Bill"]
    assert list(casing.words("ANNA sees The Sun")) == ["Anna", "sees", "the", "sun"]
    assert "the" in casing.known and "Bill" not in casing.known
