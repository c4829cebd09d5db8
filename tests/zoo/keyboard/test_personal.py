"""A person's words: learnt, mixed in, bounded, exported, and forgotten as if they had never been."""

import json

import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.keyboard import Keyboard, Personal, personal

from .invented import scripted, texts, type_all

DAYS = ["2026-11-26", "2026-11-27", "2026-11-28"]
PEOPLE = ["Ann", "ann", "Bob", "the", "it", "zork", ",", "\n"]


class Calendar:
    """A day that a test sets."""

    def __init__(self):
        self.day = DAYS[0]

    def __call__(self):
        return self.day


def random_days(seed: int, size: int = 60) -> list[tuple[str, list[str]]]:
    """Days with the words typed on them."""
    generator = np.random.default_rng(seed)
    return [(day, generator.choice(PEOPLE, size).tolist()) for day in DAYS]


def learnt(days, skip=lambda word, day: False, most=None) -> Personal:
    """What a person is after typing these words; those to skip are never learnt, as in private mode."""
    calendar = Calendar()
    person = Personal(calendar)
    keyboard = Keyboard(scripted(), personal=person)
    for day, words in days:
        calendar.day = day
        keyboard.reset()
        for word in words:
            keyboard.private = skip(word, day)
            keyboard.commit(word)
    return person


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("word", ["Ann", "zork", "the"])
def test_a_forgotten_word_was_never_there(seed, word):
    days = random_days(seed)
    person = learnt(days)
    count = sum(event.lower() == word.lower() for _, words in days for event in words)
    assert person.forget(word.upper()) == count
    never = learnt(days, lambda other, _: other.lower() == word.lower())
    assert (
        person == never
        and person.export() == never.export()
        and word.lower() not in json.dumps(person.export()).lower()
    )
    log_probs = np.log(np.full(40, 1 / 40, np.float32))
    for previous in ("", "it", "ann", None):
        ours, theirs = (one.mixed(log_probs, previous, {"it": 3, "Ann": 5}) for one in (person, never))
        assert np.array_equal(ours.log_probs, theirs.log_probs) and ours[1:] == theirs[1:]


@pytest.mark.parametrize("seed", range(5))
def test_a_forgotten_day_was_never_there(seed):
    days = random_days(seed)
    person = learnt(days)
    assert person.forget_day(DAYS[1]) == sum(personal.learnable(word) for word in days[1][1])
    assert person == learnt([days[0], days[2]])


def test_everything_forgotten_is_a_fresh_person():
    person = learnt(random_days(0))
    assert person.forget_all() > 0 and person == Personal() and person.export() == Personal().export()


def test_a_fresh_person_changes_nothing():
    log_probs = np.log(np.full(7, 1 / 7, np.float32))
    mixed = Personal().mixed(log_probs, "", {})
    assert mixed.log_probs is log_probs and not mixed.personal and not mixed.own


def test_the_mixture_is_a_distribution():
    person = learnt(random_days(1))
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(40))).astype(np.float32)
    mixed = person.mixed(log_probs, "the", {"the": 4, "it": 9, "Ann": 17})
    total = np.exp(mixed.log_probs.astype(np.float64)).sum() + sum(np.exp(score) for _, score in mixed.own)
    assert total == pytest.approx(1, abs=1e-5)
    assert {"zork", "ann", "Bob"} - {"ann"} <= {word for word, _ in mixed.own} and 17 in mixed.personal


def test_words_and_pairs_come_up():
    keyboard = Keyboard(scripted())
    for _ in range(20):
        type_all(keyboard, ["good", "zork", "\n"])
    keyboard.commit("good")
    assert (keyboard.suggest()[0].text, keyboard.suggest()[0].source) == ("zork", "personal")
    keyboard.personal.forget("zork")
    assert "zork" not in texts(keyboard.suggest("zo"))


def test_what_was_typed_in_private_is_nowhere():
    keyboard = Keyboard(scripted())
    type_all(keyboard, ["it", "is"])
    keyboard.private = True
    type_all(keyboard, ["secret"])
    keyboard.private = False
    type_all(keyboard, ["good", "123456", "a"])
    assert keyboard.personal.export()["words"] == [
        ["it", "", keyboard.personal._today()],
        ["is", "it", keyboard.personal._today()],
        ["good", None, keyboard.personal._today()],
        ["a", None, keyboard.personal._today()],
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("it", True), ("a1", True), ("123", True), ("1234", False), ("x1y2z3w4", False), ("x" * 41, False), (".", False)],
)
def test_what_is_learnt(word, expected):
    assert personal.learnable(word) is expected


def test_bounded(monkeypatch):
    monkeypatch.setattr(personal, "MOST", 10)
    keyboard = Keyboard(scripted())
    type_all(keyboard, ["w" + "x" * number for number in range(12)])
    assert len(keyboard.personal) == 10 and "w" not in keyboard.personal.words()
    before = keyboard.personal.export()
    keyboard.commit("more")
    keyboard.undo()
    assert keyboard.personal.export() == before
    keyboard.personal.forget("wxx")
    assert len(keyboard.personal) == 9


def test_undo_does_not_bring_back_what_was_forgotten(monkeypatch):
    monkeypatch.setattr(personal, "MOST", 2)
    keyboard = Keyboard(scripted())
    type_all(keyboard, ["secret", "b", "c"])
    keyboard.personal.forget("b")
    keyboard.undo()
    assert keyboard.personal.words() == {}


@pytest.mark.parametrize("told", ["y'all", "Y\u2019ALL", "y\u2018all"])
def test_a_word_is_forgotten_with_any_apostrophe(told):
    keyboard = Keyboard(scripted())
    type_all(keyboard, ["I", "y\u2019all", "I"])
    assert keyboard.personal.forget(told) == 1
    assert keyboard.personal.export()["words"][1][1] is None


def test_a_word_is_forgotten_in_any_form_of_unicode():
    keyboard = Keyboard(scripted())
    keyboard.commit("cafe\u0301zz")
    assert keyboard.personal.forget("cafe\u0301zz") == 1


def test_export_and_load():
    person, other = learnt(random_days(2)), Personal()
    other.learn("old", "")
    other.load(json.loads(json.dumps(person.export())))
    assert other == person and other.words() == person.words()


@pytest.mark.parametrize(
    "exported",
    [
        {}, [], {"format": 2, "words": []}, {"format": 1, "words": [["a"]]}, {"format": 1, "words": [["a", 1, "d"]]},
        {"format": 1, "words": [["hi\nthere", "", "d"]]}, {"format": 1, "words": [["hi there", "", "d"]]},
        {"format": 1, "words": [[".", "", "2026-11-28"]]}, {"format": 1, "words": [["a", "", "d"]] * 10_001},
    ],
)  # fmt: skip
def test_other_exports_are_refused(exported):
    person = Personal()
    person.learn("a", "")
    with pytest.raises(ZooError, match="no export of personal words"):
        person.load(exported)
    assert len(person) == 1
