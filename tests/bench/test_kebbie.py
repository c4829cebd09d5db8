"""The runner of kebbie with a stand-in for the library, and what it says where something is missing."""

from __future__ import annotations

import json
import pickle
import sys
from types import ModuleType, SimpleNamespace

import pytest

from bench import kebbie_runner
from bench.kebbie_runner import Suggestions, sentences_of
from tests.zoo.keyboard.invented import write_keyboard
from zoo.errors import CorpusError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_keyboard(tmp_path_factory.mktemp("models") / "tiny")


class Corrector:
    """As kebbie has it."""


def evaluate(corrector, dataset, n_proc):
    """Asks a copy of a corrector as kebbie does, and counts."""
    corrector = pickle.loads(pickle.dumps(corrector))
    asked = right = 0
    for sentences in dataset.values():
        for sentence in sentences:
            words = sentence.split()
            for place, word in enumerate(words):
                context = "".join(f"{before} " for before in words[:place])
                assert corrector.auto_correct(context, [], word)[0] == word
                assert word[:1] not in corrector.auto_complete(context, [], word[:1])
                right += word in (corrector.predict_next_word(context) if place else ())
                asked += 1
    task = {"score": {"accuracy": 0.1, "top3_accuracy": right / asked, "n": asked}, "performances": {"mean": "1 s"}}
    return dict.fromkeys(("next_word_prediction", "auto_completion", "auto_correction"), task)


@pytest.fixture
def kebbie(monkeypatch, tmp_path):
    """A stand-in for the library, without a network."""
    library = ModuleType("kebbie")
    library.Corrector, library.evaluate = Corrector, evaluate

    def without_network(*_, **__):
        raise OSError("no network\nat all")

    library.utils = SimpleNamespace(get_soda_dataset=without_network)
    library.noise_model = SimpleNamespace(
        NoiseModel=without_network, TWEET_TYPO_CORPUS_URL="https://where.it/is", CACHE_DIR=None
    )
    for name in ("utils", "noise_model"):
        monkeypatch.setitem(sys.modules, f"kebbie.{name}", getattr(library, name))
    monkeypatch.setitem(sys.modules, "kebbie", library)
    version = kebbie_runner.importlib.metadata.version
    monkeypatch.setattr(
        kebbie_runner.importlib.metadata, "version", lambda name: "0" if name == "kebbie" else version(name)
    )
    (tmp_path / "typos.json").write_text('{"the": ["teh"]}')
    return library


def test_suggestions_are_those_of_a_keyboard_that_goes_on(folder):
    ours, anew = Suggestions(str(folder)), Suggestions(str(folder))
    for context in ("", "It ", "It is ", "It is good ", "They ", "They think "):
        assert (
            ours.next_words(context) == Suggestions(str(folder)).next_words(context)
            and len(ours.next_words(context)) == 3
        )
        assert ours.completions(context, "th") == anew.completions(context, "th")
        assert ours.corrections(context, "thr")[0] == "thr"


def test_the_command(folder, kebbie, tmp_path, capsys):
    text = tmp_path / "own.json"
    text.write_text(json.dumps({"talk": ["It is good", "they think", ""], "more": ["the thing"]}))
    arguments = [str(folder), "--text", str(text), "--typos", str(tmp_path / "typos.json"), "--out", str(tmp_path)]
    assert kebbie_runner.main([*arguments, "--sentences", "2"]) == 0
    found = json.loads((tmp_path / "tiny" / "kebbie.json").read_text())
    assert (found["text"], found["typos"], found["next_word"]["score"]["n"]) == (
        "own.json, 2 sentences",
        "typos.json",
        5,
    )
    assert "performances" not in json.dumps(found) and str(tmp_path) not in json.dumps(found)
    out = capsys.readouterr().out
    assert "tiny (ours)" in out and "Gboard" in out and "another text than ours" in out


def test_what_is_missing_is_said(folder, kebbie, tmp_path, capsys):
    (tmp_path / "bad.json").write_text("[")
    (tmp_path / "own.txt").write_text("It is good\n")
    text = ["--text", str(tmp_path / "own.txt")]
    for arguments, part in (
        ([], "kebbie's own text (allenai/soda, split test) cannot be had: no network; connect"),
        (text, "list of typing errors (https://where.it/is) cannot be had; connect, or give --typos FILE"),
        ([*text, "--typos", str(tmp_path / "bad.json")], "is no list of typing errors"),
        (["--text", str(tmp_path / "bad.json")], "is no text"),
        ([*text, "--sentences", "0"], "give at least 1 of each"),
    ):
        assert kebbie_runner.main([str(folder), *arguments]) == 2
        error = capsys.readouterr().err
        assert part in error and error.count("\n") == 1


def test_without_kebbie(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "kebbie", None)
    assert kebbie_runner.main([str(folder)]) == 2
    assert "pip install kebbie 'pyarrow<21' safetensors" in capsys.readouterr().err


def test_texts(tmp_path):
    (tmp_path / "own.txt").write_text("one\n\ntwo\nthree\n")
    assert sentences_of(tmp_path / "own.txt", 2) == {"own": ["one", "two"]}
    (tmp_path / "own.json").write_text('{"a": []}')
    with pytest.raises(CorpusError, match="has no sentences"):
        sentences_of(tmp_path / "own.json", 2)
