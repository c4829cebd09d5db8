"""The numbers of a keyboard: against `Keyboard` typed a key at a time, and by hand on a scripted model."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from bench import keyboard, keyboard_agreement
from bench.keyboard_latency import latency
from bench.keystrokes import SLOTS, Found, Slots
from bench.typed import Sequence, conversations, dialogue_of, read, text_of
from tests.zoo.keyboard.invented import PENN, scripted, write_keyboard
from zoo.errors import CorpusError
from zoo.keyboard import Keyboard
from zoo.typed_corpora import DIALOGUE
from zoo.typed_text import split_words

TEXT = """Good morning, I think it's London. May I?
they don't think THE thing is there

zork said "it is everything" ... the shit is 2 good (a thing)
May they then

I'm in
"""


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_DATA", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_keyboard(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(TEXT)
    return path


def typed_by_a_person(folder, talks, fresh):
    """(slots after 0, 1, ... letters) of every word, from a real keyboard."""
    board, found = Keyboard(folder, private=True), []
    for talk in talks:
        board.reset()
        for line in talk:
            if fresh:
                board.reset()
            for word in split_words(line):
                if word[0].isalnum():
                    form = board.model.vocabulary.form(word, board.starts_sentence)
                    found.append([_slot(board, word[:n], form) for n in range(len(word))])
                board.commit(word)
            board.commit("\n")
    return found


def _slot(board, prefix, form):
    from zoo.keyboard.ranking import shown

    texts = [one.text for one in board.suggest(prefix, SLOTS) if one.source != "literal"]
    wanted = shown(form, prefix, board.starts_sentence)
    return texts.index(wanted) if wanted in texts else SLOTS


@pytest.mark.parametrize("fresh", [False, True])
def test_slots_are_those_of_a_keyboard(folder, story, fresh):
    from zoo.loading import load

    board = Keyboard(folder)
    talks = text_of(story)["story"]
    given = [sequence for _, sequence in read({"story": talks}, board.model.vocabulary, fresh)]
    network, _ = load(folder)
    slots = Slots(board.model, board.allowed)
    scored = sorted(keyboard.scored(network, given, slots, None, board.model.vocabulary.eos), key=lambda one: one[0])
    expected = iter(typed_by_a_person(folder, talks, fresh))
    some = set()
    for place, _, found in scored:
        for word, one in zip(given[place].words, found, strict=True):
            theirs = next(expected)
            assert list(one.slots) == theirs[: len(one.slots)], word
            for k in (1, SLOTS):
                keys = next((n + 1 for n, slot in enumerate(theirs) if slot < k), len(word.typed) + 1)
                assert one.keys(k, len(word.typed)) == keys
            some |= {*one.slots}
    assert some == {0, 1, 2, SLOTS}


def test_by_hand(monkeypatch):
    model = scripted(after={"<eos>": ["I"], "I": ["think", "then", "the"], "think": ["it's"]})
    slots = Slots(model, Keyboard(model).allowed)
    sequence = Sequence()
    sequence.add("I think zork.", model.vocabulary)
    assert [model.vocabulary.words[token] for token in sequence.ids] == ["I", "think", "<unk>", ".", "<eos>"]
    after = {word: model.step(model.vocabulary.ids[word], None)[0] for word in ("<eos>", "I", "think")}
    rows = [after["<eos>"], after["I"], after["think"]]
    found = [slots.of(word, row) for word, row in zip(sequence.words, rows, strict=True)]
    assert [one.slots for one in found] == [(0,), (0, 0, 0, 0), (3, 3, 3, 3)]
    from bench.keyboard_tally import Tally

    tally = Tally()
    tally.add(sequence, np.array([1.0, 2, 3, 4, 5]), found, model.vocabulary.unk)
    row = tally.summary(True)
    assert (row["words"], row["unknown_words"], row["top1"]["recall"], row["top3"]["recall"]) == (
        3,
        1 / 3,
        2 / 3,
        2 / 3,
    )
    assert row["perplexity"] == pytest.approx(math.exp(3)) and row["perplexity_without_unk"] == pytest.approx(
        math.exp(3)
    )
    assert row["completion"]["2"] == {"words": 2, "top1": 0.5, "top3": 0.5}
    # I: 1 of 2 keys; think: 1 of 6; zork: 5 of 5; the point: 1 of 1
    assert row["keystrokes"] == {"without": 14, "saved_1": 1 - 8 / 14, "saved_3": 1 - 8 / 14, "limit": 1 - 8 / 14}


def test_a_person_takes_a_word_as_soon_as_it_is_there():
    found = Found((3, 2, 0))
    assert (found.keys(1, 5), found.keys(3, 5), found.keys(3, 1), Found((3, 3, 3)).keys(3, 3)) == (3, 2, 2, 4)


def test_other_vocabularies_are_read_as_the_keyboard_reads_them():
    vocabulary, sequence = scripted(PENN).vocabulary, Sequence()
    sequence.add("The company didn't, said 3.5 shares.", vocabulary)
    words = [vocabulary.words[token] for token in sequence.ids]
    assert words == ["the", "company", "<unk>", "n't", "said", "N", "shares", "<eos>"]
    assert [(word.place, word.token >= 0) for word in sequence.words] == [
        (0, True), (1, True), (2, False), (4, True), (5, False), (6, True)
    ]  # fmt: skip


def test_conversations():
    assert list(conversations(["a", "b", "", " ", "c"])) == [["a", "b"], ["c"]]
    assert list(conversations(["a", "b", "", "c"], single=True)) == [["a"], ["b"], ["c"]]


def test_the_dialogue_corpus(tmp_path):
    for source in DIALOGUE:
        for split in ("train", "valid", "test"):
            (tmp_path / f"{source}.{split}.txt.gz").write_bytes(gzip.compress(b"good\nmorning\n\nI think\n"))
    found = dialogue_of(tmp_path, "test")
    assert list(found) == list(DIALOGUE)
    assert found["selfdialogue"] == [["good", "morning"], ["I think"]]
    assert found["tatoeba"] == [["good"], ["morning"], ["I think"]]
    assert all(len(talks) == 1 for talks in dialogue_of(tmp_path, "test", 1).values())


def test_the_command(folder, story, tmp_path, capsys):
    out = tmp_path / "results"
    assert keyboard.main([str(folder), "--text", str(story), "--only", "quality", "--out", str(out)]) == 0
    found = json.loads((out / "tiny" / "keyboard-story.json").read_text())
    assert found["command"] == "python -m bench.keyboard tiny --text story.txt --only quality"
    carried, fresh = found["carried"]["overall"], found["fresh"]["overall"]
    assert (carried["sequences"], fresh["sequences"]) == (3, 5)
    assert carried["words"] == fresh["words"] == found["carried"]["sources"]["story"]["words"]
    assert 0 <= carried["top1"]["recall"] <= carried["top3"]["recall"] <= 1
    assert carried["keystrokes"]["saved_1"] <= carried["keystrokes"]["saved_3"] <= carried["keystrokes"]["limit"]
    assert str(tmp_path) not in json.dumps(found) and "keystrokes saved" in capsys.readouterr().out


def test_latency(folder, story):
    times = latency(Keyboard(folder).model, text_of(story), timed=3)
    assert times["step"]["n"] == 3 and times["word"]["n"] == 6 and times["words_learnt"] > 0
    assert all(0 < times[kind]["p50"] <= times[kind]["p95"] <= times[kind]["worst"] for kind in ("word", "key", "undo"))


def test_latency_is_kept_apart(folder, story, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.keyboard_latency.TIMED", 2)
    monkeypatch.setattr("bench.keyboard_latency.WARM_UP", 1)
    assert keyboard.main([str(folder), "--text", str(story), "--only", "latency", "--out", str(tmp_path)]) == 0
    (path,) = (tmp_path / "tiny").iterdir()
    assert path.name.startswith("keyboard-latency-") and "numpy" in json.loads(path.read_text())["engines"]


def test_mistakes_end_in_one_line(folder, tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("\n")
    for arguments, part in (
        ([str(folder)], "dialogue needs its files"),
        ([str(folder), "--text", str(tmp_path / "empty.txt")], "has no messages"),
        ([str(folder), "--text", str(tmp_path / "none.txt")], "cannot read"),
        ([str(folder), "--conversations", "0"], "give at least 1"),
    ):
        assert keyboard.main(arguments) == 2
        error = capsys.readouterr().err
        assert part in error and error.count("\n") == 1


def test_no_messages(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(CorpusError, match="a message a line"):
        text_of(tmp_path / "empty.txt")


def test_engines_agree(folder, tmp_path, capsys):
    for source in DIALOGUE:
        for split in ("train", "valid", "test"):
            (tmp_path / f"{source}.{split}.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    arguments = [str(folder), "--data", str(tmp_path), "--messages", "8", "--engine", "numpy", "onnx", "--out"]
    assert keyboard_agreement.main([*arguments, str(tmp_path)]) == 0
    found = json.loads((tmp_path / "tiny" / "keyboard-agreement.json").read_text())
    assert found["engines"] == {"numpy": {"same_digest": 1.0, "same_suggestions": 1.0, "same_keys": 1.0}}
    assert (found["messages"], list(found["skipped"])) == (8, ["onnx"]) and str(tmp_path) not in json.dumps(found)
    assert "skipped" in capsys.readouterr().out
    assert keyboard_agreement.main([str(folder), "--data", str(tmp_path), "--messages", "0"]) == 2
