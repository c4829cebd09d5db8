"""Input that a keyboard has to live with: emoji, other scripts, pastes, unknown and blocked words, other models."""

import pytest

from zoo.errors import CheckpointError
from zoo.keyboard import Keyboard, Transform
from zoo.keyboard.session import READ

from .invented import PENN, WORDS, scripted, texts, type_all


@pytest.fixture
def keyboard():
    return Keyboard(scripted())


def read_by(keyboard):
    """The words that the engine has read since the start."""
    words = keyboard.model.vocabulary.words
    return [words[token] for token in keyboard.model.engine.read[1:]]


def test_emoji(keyboard):
    assert type_all(keyboard, ["👍🏽", "❤️"]).startswith("👍🏽 ") and "<unk>" in read_by(keyboard)
    assert texts(keyboard.suggest("👍🏽")) == ["👍🏽"]
    assert "😀" not in texts(keyboard.suggest(k=10))


def test_right_to_left(keyboard):
    assert type_all(keyboard, ["שלום", "עולם", "!"]) == "שלום עולם! "
    keyboard.commit("עולם")
    assert texts(keyboard.suggest("שלו"))[0] == "שלום"
    assert keyboard.suggest("ש")[-1].source == "literal"


def test_a_long_paste(keyboard):
    paste = "good morning, London! " * 455
    assert len(paste) > 10_000
    change = keyboard.commit(paste)
    assert change == Transform(0, paste) and len(read_by(keyboard)) == READ
    assert keyboard.starts_sentence and len(keyboard.personal) == 0
    assert texts(keyboard.suggest(paste)) == [paste]
    assert keyboard.undo() == Transform(len(paste), "") and keyboard.digest == Keyboard(keyboard.model).digest
    assert keyboard.commit("x" * 10_000).insert == "x" * 10_000 + " "


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_nothing_to_read(keyboard, text):
    digest = keyboard.digest
    change = keyboard.commit(text)
    assert change == Transform(0, text) and keyboard.digest == digest
    assert keyboard.undo() == Transform(len(text), "")


def test_empty_lines_are_not_read(keyboard):
    type_all(keyboard, ["\n", "it", "\n", "\n", "is\n\nit"])
    assert read_by(keyboard) == ["it", "<eos>", "is", "<eos>", "it"]


def test_unknown_words_are_read_as_unk_and_learnt(keyboard):
    type_all(keyboard, ["it", "zorkian"])
    assert read_by(keyboard) == ["it", "<unk>"]
    found = keyboard.suggest("zo")
    assert (found[0].text, found[0].source) == ("zorkian", "personal")
    assert texts(keyboard.suggest("ZO"))[0] == "ZORKIAN"
    keyboard.private = True
    keyboard.commit("zonk")
    assert "zonk" not in texts(keyboard.suggest("zo")) and "zorkian" in texts(keyboard.suggest("zo"))


def test_blocked_words(keyboard):
    keyboard.commit("it")
    assert "shit" not in texts(keyboard.suggest("sh")) and "damn" not in texts(keyboard.suggest("d"))
    change = keyboard.commit("shit", "sh")
    assert change == Transform(2, "shit ") and read_by(keyboard)[-1] == "shit"
    for prefix in ("", "shi", "Shi", "shit"):
        assert "shit" not in [text.lower() for text in texts(keyboard.suggest(prefix, 10)) if text != prefix]
    assert keyboard.suggest("Shit")[-1].text == "Shit"
    keyboard.block([*keyboard.blocked, "London"])
    assert "London" not in texts(keyboard.suggest("lo"))
    keyboard.block(())
    assert {"shit", "London"} <= {*texts(keyboard.suggest("sh")), *texts(keyboard.suggest("lo"))}


def test_an_empty_folder(tmp_path):
    with pytest.raises(CheckpointError, match=r"lacks config.json, model.safetensors"):
        Keyboard(tmp_path)


def test_the_default_model_or_a_line_that_says_what_to_type(monkeypatch):
    monkeypatch.setattr("zoo.keyboard.model.DEFAULT", "no-such-model")
    with pytest.raises(CheckpointError, match="no-such-model"):
        Keyboard()


def test_a_vocabulary_without_case_and_signs():
    keyboard = Keyboard(scripted(PENN))
    assert texts(keyboard.suggest()) == ["The", "To", "A"]
    text = type_all(
        keyboard, ["The", "Company", "didn't", "said", "it's", "12.5", ",", "IT", ".", "\n", "They", "zork"]
    )
    assert text == "The Company didn't said it's 12.5, IT.\nThey zork "
    expected = "the company <unk> n't said it 's N it <eos> they <unk>"
    assert " ".join(read_by(keyboard)) == expected
    assert not {"n't", "'s", "N", "<eos>", "<unk>"} & set(texts(keyboard.suggest(k=10)))


def test_a_shipped_model_of_newspaper_text():
    keyboard = Keyboard("lr-lstm-200-66-ptb")
    assert type_all(keyboard, ["The", "company", "said", ",", "it"]) == "The company said, it "
    found = keyboard.suggest()
    assert len(found) == 3 and found[0].text == found[0].text.lower() and found[0].probability > 0.01
    assert texts(keyboard.suggest("Wi"))[0] == "Will"


def test_a_vocabulary_without_unk_skips_unknown_words():
    keyboard = Keyboard(scripted([word for word in WORDS if word != "<unk>"]))
    assert type_all(keyboard, ["zork", "it"]) == "zork it " and read_by(keyboard) == ["it"]
