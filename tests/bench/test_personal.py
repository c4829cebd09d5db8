"""What own messages are worth: against `Personal.mixed`, on invented people."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from bench import people, personal
from bench.personal import Measured, curve, learn, measured, ranks
from bench.personal_plot import plot
from bench.personal_tuning import tuned
from bench.typed import Sequence
from tests.zoo.keyboard.invented import scripted, type_all, write_keyboard
from zoo.errors import CorpusError
from zoo.keyboard import Keyboard, Personal
from zoo.keyboard.personal import MIXTURE
from zoo.loading import load
from zoo.typed_corpora import DIALOGUE
from zoo.typed_text import split_words

PAST = ["It is zork, they think.", "good morning London 12345 it", "the THING is zork"]
TALK = ["They think zork is good", "the morning thing, it is shit"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_keyboard(tmp_path_factory.mktemp("models") / "tiny")


def test_what_is_learnt_is_what_a_keyboard_learns():
    keyboard, other = Keyboard(scripted()), Personal()
    for message in PAST:
        type_all(keyboard, [*split_words(message), "\n"])
    learn(other, PAST, keyboard.model.vocabulary)
    assert other == keyboard.personal and len(other) == 13


@pytest.mark.parametrize("past", [PAST, []])
def test_ranks_are_those_of_the_mixture(folder, past):
    keyboard = Keyboard(folder)
    vocabulary, allowed = keyboard.model.vocabulary, keyboard.allowed
    network, _ = load(folder)
    person = Personal()
    learn(person, past, vocabulary)
    given = measured(network, people.Person("x", [TALK], [past]), vocabulary)
    found = ranks(given, person, vocabulary, allowed)
    for word, probabilities, rank in zip(given.words, given.probabilities, found, strict=True):
        mixed = person.mixed(np.log(probabilities), word.previous, vocabulary.ids)
        own = dict(mixed.own)
        scores = [*mixed.log_probs[allowed].tolist(), *own.values()]
        if word.token >= 0 and allowed[word.token]:
            score = float(mixed.log_probs[word.token])
        elif word.form in own:
            score = own[word.form]
        else:
            assert rank >= len(vocabulary.words)
            continue
        assert sum(other > score + 1e-5 for other in scores) <= rank <= sum(other > score - 1e-5 for other in scores)
    assert {word.form for word in given.words if word.token < 0} == {"zork"}


def test_only_what_follows_the_past_is_measured(folder):
    network, _ = load(folder)
    vocabulary = Keyboard(folder).model.vocabulary
    given = measured(network, people.Person("x", [TALK], [TALK[:1]], 1), vocabulary)
    assert [word.form for word in given.words] == ["the", "morning", "thing", "it", "is", "shit"]
    whole = measured(network, people.Person("x", [TALK], [[]]), vocabulary)
    assert np.allclose(given.probabilities, whole.probabilities[-6:])


def repeated(vocabulary, words: str, pasts) -> Measured:
    """A person whose words the model gives no heed to."""
    sequence = Sequence()
    sequence.add(words, vocabulary)
    V = len(vocabulary.words)
    probabilities = np.tile(np.arange(V, 0, -1, dtype=np.float32), (len(sequence.words), 1))
    probabilities /= probabilities.sum(1, keepdims=True)
    return Measured(
        people.Person("x", [[words]], pasts), sequence.words, probabilities, np.zeros(len(sequence.words), int)
    )


def test_own_words_help_and_those_of_others_do_not():
    model = scripted()
    vocabulary, allowed = model.vocabulary, Keyboard(model).allowed
    group = [
        repeated(vocabulary, "everything NASA zork", [["everything NASA zork"] * 40]),
        repeated(vocabulary, "morning thing", [["morning thing"] * 40]),
    ]
    found = curve(group, (10, 40), MIXTURE, vocabulary, allowed)
    assert (found["words"], found["conversations"], found["people"]) == (5, 2, 2)
    fresh, *rows = found["curve"]
    assert fresh["own"]["gain_top3"] == fresh["own"]["standard_error"] == 0
    assert rows[-1]["own"]["top3"] == 1 and rows[-1]["others"]["top3"] == fresh["own"]["top3"]
    best = list(tuned([(group, (10,))], vocabulary, allowed))
    assert best[0][0] == MIXTURE and [gain for _, gain in best] == sorted(gain for _, gain in best)


def test_the_command(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(personal, "SIZES", (2, 3))
    monkeypatch.setattr(people, "TESTED", 1)
    monkeypatch.setattr(people, "FIRST", 2)
    rows = [
        {"author": author, "text": "it is good . they think ! zork is the thing ."}
        for author in ("A", "B")
        for _ in range(9)
    ]
    (tmp_path / "scale.jsonl.gz").write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode()))
    for source in DIALOGUE:
        for split in ("train", "valid", "test"):
            lines = "\n".join([*PAST, *TALK, "", *TALK, *PAST, ""])
            (tmp_path / f"{source}.{split}.txt.gz").write_bytes(gzip.compress(lines.encode()))
    arguments = [str(folder), "--data", str(tmp_path), "--out", str(tmp_path / "results"), "--plot", str(tmp_path)]
    assert personal.main(arguments) == 0
    found = json.loads((tmp_path / "results" / "tiny" / "personal.json").read_text())
    assert [row["messages"] for row in found["critics"]["curve"]] == [0, 2, 3]
    assert found["mixture"] == MIXTURE._asdict() and str(tmp_path) not in json.dumps(found)
    assert "<svg" in (tmp_path / "personal-tiny.svg").read_text() and "own messages" in capsys.readouterr().out
    plot(found, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "personal-tiny.svg").read_bytes()


def test_missing_data_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"has no scale.jsonl.gz"):
        people.critics(tmp_path, 5)
