"""The words of a review, and the tokenizer of a list of words."""

import pytest

from zoo.errors import VocabularyError
from zoo.review_tokenization import PAD, Encoder, build_review_tokenizer, review_vocabulary
from zoo.tokenization import UNK, build_tokenizer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's GOOD-ish!<br /><br/>'Quoted'", ["it's", "good", "-", "ish", "!", "'", "quoted", "'"]),
        ("8/10 caf\u00e9s\u2026 \x96 ", ["8", "/", "10", "caf\u00e9s", "\u2026", "\x96"]),
        ("a\tb\nc\u00a0d", ["a", "b", "c", "d"]),
        ("", []),
    ],
)
def test_words(text, words):
    vocabulary = [PAD, UNK, *dict.fromkeys(words)]
    ids = build_review_tokenizer(vocabulary)(text).input_ids
    assert [vocabulary[i] for i in ids] == words
    assert set(review_vocabulary([text], 100)) == set(vocabulary)


def test_kept_words_and_padding():
    tokenizer = build_review_tokenizer(["bad", UNK, "!", PAD])
    batch = tokenizer(["Bad film!!", "bad"], padding=True)
    assert batch.input_ids == [[0, 1, 2, 2], [3, 3, 3, 0]]
    assert batch.attention_mask == [[1, 1, 1, 1], [0, 0, 0, 1]]
    assert tokenizer.decode(tokenizer("a bad film").input_ids) == f"{UNK} bad {UNK}"


def test_the_encoder_ignores_padding_and_cutting():
    tokenizer = build_review_tokenizer([PAD, UNK, "a", "b"])
    tokenizer(["a", "b a b"], padding=True, truncation=True, max_length=2)
    assert Encoder(tokenizer).encode(["a", "b a b"]) == [[2], [3, 2, 3]]
    assert Encoder([PAD, UNK, "a", "b"]).encode(["a", "b c"]) == [[2], [3, 1]]


def test_a_tokenizer_without_unk_cannot_read_every_text():
    with pytest.raises(VocabularyError, match=r"cannot become ids.*give a tokenizer with <unk>"):
        Encoder(build_tokenizer(["a", "<eos>"])).encode(["b"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([UNK, "a"], "lacks <pad>; add it"),
        ([PAD, "a"], "lacks <unk>; add it"),
        ([PAD, UNK, "a", "a"], "has 'a' more than once"),
        ([PAD, UNK, "Good"], r"'Good' cannot be a word of a review: the tokenizer makes \['good'\] of it"),
        ([PAD, UNK, "a-b"], "'a-b' cannot be a word"),
    ],
)
def test_wrong_words(words, message):
    with pytest.raises(VocabularyError, match=message):
        build_review_tokenizer(words)
