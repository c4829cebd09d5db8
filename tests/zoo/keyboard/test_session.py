"""Commit, suggest, undo, reset; case, spaces; saved states."""

import json

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.keyboard import Keyboard, KeyboardModel, Personal, Transform
from zoo.keyboard.lexicon import TYPO
from zoo.keyboard.session import UNDO

from .invented import WORDS, applied, scripted, texts, type_all, write_keyboard


@pytest.fixture
def keyboard():
    return Keyboard(scripted())


def read_by(keyboard):
    """The words that the engine has read since the start."""
    words = keyboard.model.vocabulary.words
    return [words[token] for token in keyboard.model.engine.read[1:]]


def test_one_step_per_word_and_none_per_key(keyboard):
    keyboard.commit("Good")
    for prefix in ("", "t", "th", "thx"):
        keyboard.suggest(prefix)
    assert read_by(keyboard) == ["good"]


def test_next_words(keyboard):
    keyboard.commit("it")
    found = keyboard.suggest()
    assert texts(found) == ["the", "I", "to"] and {one.source for one in found} == {"model"}
    assert found[0].probability > found[1].probability > found[2].probability > 0
    assert found[0].transform == Transform(0, "the ")
    assert texts(keyboard.suggest(k=1)) == ["the"] and len(keyboard.suggest(k=10)) == 10


@pytest.mark.parametrize("k", [0, 11, True, 2.0, "3"])
def test_other_numbers_of_suggestions_are_refused(keyboard, k):
    with pytest.raises(ZooError, match="suggests 1 to 10 words"):
        keyboard.suggest(k=k)


def test_completions_and_the_literal_last(keyboard):
    keyboard.commit("it")
    found = keyboard.suggest("th")
    assert texts(found) == ["the", "they", "then", "th"]
    assert found[0].transform == Transform(2, "the ")
    assert (found[-1].source, found[-1].probability, found[-1].transform) == ("literal", 0, Transform(2, "th "))
    whole = keyboard.suggest("the")
    assert texts(whole) == ["they", "then", "there", "the"] and whole[-1].probability > whole[0].probability


def test_slips_are_mended_at_a_cost(keyboard):
    keyboard.commit("it")
    mended = keyboard.suggest("goud")
    assert (texts(mended), mended[0].source) == (["good", "goud"], "lexicon")
    assert mended[0].probability == pytest.approx(keyboard.suggest("good")[-1].probability * np.exp(-TYPO), rel=1e-3)
    assert texts(keyboard.suggest("dont")) == ["don't", "dont"]
    assert texts(keyboard.suggest("im")) == ["I'm", "im"]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["The", "I", "To"]),
        ("t", ["the", "to", "they"]),
        ("T", ["The", "To", "They"]),
        ("TH", ["THE", "THEY", "THEN"]),
        ("I'", ["I'm"]),
        ("i", ["I", "it's", "I'm"]),
        ("ma", ["May", "may"]),
        ("Ma", ["May"]),
        ("n", ["NASA"]),
    ],
)
def test_case_follows_the_person(keyboard, prefix, expected):
    assert texts(keyboard.suggest(prefix))[: len(expected)] == expected
    assert len(set(texts(keyboard.suggest(prefix)))) == len(keyboard.suggest(prefix))


def test_case_of_what_is_read(keyboard):
    type_all(keyboard, ["The", "LONDON", "May", ".", "May", "i", "\n", "It's"])
    assert read_by(keyboard) == ["the", "London", "May", ".", "May", "I", "<eos>", "it's"]


def test_sentences_start(keyboard):
    starts = [keyboard.starts_sentence]
    for word in ["good", ".", '"', "it", ",", "\n"]:
        keyboard.commit(word)
        starts.append(keyboard.starts_sentence)
    assert starts == [True, False, True, True, False, False, True]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["it", ",", "is", "good", "!", "the"], "it, is good! the "),
        (["it", "...", "is"], "it... is "),
        (["(", "it", ")", "is"], "(it) is "),
        (["good", "-", "morning"], "good-morning "),
        (["I", "think", '"', "it", "is", '"', ".", '"', "a", '"'], 'I think "it is". "a" '),
        (["good", "😀", "."], "good 😀. "),
        (["it", "\n", "is"], "it\nis "),
        (["#", "good", "$", "2"], "#good $2 "),
    ],
)
def test_spaces(keyboard, words, text):
    assert type_all(keyboard, words) == text


def test_taking_a_suggestion_replaces_what_is_typed_and_backspace_brings_it_back(keyboard):
    text = type_all(keyboard, ["it"]) + "th"
    suggestion = keyboard.suggest("th")[0]
    change = keyboard.commit(suggestion.text, "th")
    assert change == suggestion.transform and applied(text, change) == "it the "
    assert applied("it the ", keyboard.undo()) == "it th"
    text = type_all(keyboard, ["."], "it ")
    assert text == "it. " and applied(text, keyboard.undo()) == "it "


def test_undo_is_exact_and_takes_no_step():
    keyboard = Keyboard(scripted())
    words = ["the", "zork", ".", "\n", "12345", "😀", "good morning, London", "it"]
    places, text = [], ""
    for word in words:
        places.append((keyboard.save(), keyboard.personal.export(), keyboard.suggest(), text))
        text = applied(text, keyboard.commit(word))
    steps = len(keyboard.model.engine.read)
    for place in reversed(places):
        text = applied(text, keyboard.undo())
        assert (keyboard.save(), keyboard.personal.export(), keyboard.suggest(), text) == place
    assert len(keyboard.model.engine.read) == steps
    assert keyboard.undo() == Transform(0, "")


def test_undo_ends_after_64(keyboard):
    for _ in range(UNDO + 1):
        keyboard.commit("it")
    undone = [keyboard.undo() for _ in range(UNDO + 1)]
    assert undone[-2:] == [Transform(3, ""), Transform(0, "")]


def test_reset(keyboard):
    fresh = Keyboard(keyboard.model).save()
    type_all(keyboard, ["(", "it"])
    keyboard.reset()
    assert keyboard.save() == fresh and keyboard.undo() == Transform(0, "")


def test_a_copy_goes_its_own_way(keyboard):
    keyboard.commit("it")
    other, before = keyboard.copy(), keyboard.save()
    other.commit("is")
    assert keyboard.save() == before and other.digest != keyboard.digest
    other.undo()
    assert other.save() == before and other.undo() == keyboard.undo()


def test_a_saved_state_goes_on(tmp_path):
    model = KeyboardModel(write_keyboard(tmp_path / "tiny"))
    keyboard = Keyboard(model)
    other = Keyboard(model, personal=keyboard.personal)
    type_all(keyboard, ["it", "is", "(", "good"])
    saved = json.dumps(keyboard.save())
    other.restore(json.loads(saved))
    assert other.suggest("t") == keyboard.suggest("t") and len(saved) < 2000
    assert type_all(other, [")", "!"], "(good ") == type_all(keyboard, [")", "!"], "(good ")
    assert other.save() == keyboard.save()


def test_states_of_others_are_refused(keyboard):
    keyboard.commit("it")
    saved = keyboard.save()
    with pytest.raises(ZooError, match="another vocabulary"):
        Keyboard(scripted(WORDS[:-1])).restore(saved)
    layers = saved["before"]
    with pytest.raises(ZooError, match="another model than invented"):
        keyboard.restore(saved | {"before": layers * 2})
    for broken in ({}, saved | {"format": 2}, saved | {"digest": "x"}, saved | {"before": [["?", "?"]]}):
        with pytest.raises(ZooError, match="no saved state"):
            keyboard.restore(broken)


def test_texts_share_a_model_and_a_person():
    model, person = scripted(), Personal()
    first, second = Keyboard(model, personal=person), Keyboard(model, personal=person)
    first.commit("zork")
    assert texts(second.suggest("zo")) == ["zork", "zo"]


def test_a_word_in_a_far_less_likely_case_takes_no_place():
    words = [*WORDS, "if", "If", "IF"]
    keyboard = Keyboard(scripted(words, {"it": ["may", "May", "if", "London", "If", "IF"], "is": ["If", "the", "if"]}))
    keyboard.commit("it")
    assert texts(keyboard.suggest(k=4)) == ["may", "May", "if", "London"]
    assert texts(keyboard.suggest("if")) == ["if"]
    assert texts(keyboard.suggest("ma"))[:2] == ["may", "May"]
    keyboard.commit("is")
    assert texts(keyboard.suggest("if")) == ["If", "if"]  # likelier than what is typed


def test_apostrophes_and_accents_of_any_kind_are_the_same(keyboard):
    keyboard.block(["don\u2019t"])
    assert "don't" not in texts(keyboard.suggest("don"))
    keyboard.block([])
    assert texts(keyboard.suggest("don\u2019"))[0] == "don't"
    assert texts(keyboard.suggest("don\u2019t")) == ["don\u2019t"]  # no suggestion of what is typed already


@pytest.mark.parametrize(
    ("committed", "text"),
    [
        (["hello", "\u2026"], "hello\u2026 "),
        (["hello", "\u201c", "so", "\u201d", "."], "hello \u201cso\u201d. "),
        (["hello", "\u2019", "s"], "hello\u2019s "),
        (["hello", "\n "], "hello \n "),
        (["hello", "\r\n"], "hello \r\n"),
        (["hello", "\n"], "hello\n"),
    ],
)
def test_curly_signs_and_white_space(keyboard, committed, text):
    shown = ""
    for one in committed:
        shown = applied(shown, keyboard.commit(one))
    assert shown == text


def test_undo_takes_back_the_word_of_this_keyboard():
    model, person = scripted(), Personal()
    one, other = Keyboard(model, personal=person), Keyboard(model, personal=person)
    one.commit("foo")
    person.forget("foo")
    other.commit("foo")
    one.undo()
    assert person.words() == {"foo": 1}
    again = other.copy()
    other.commit("bar"), again.commit("bar")
    other.undo(), other.undo()
    assert person.words() == {"bar": 1}
    again.undo(), again.undo()
    assert person.words() == {}
