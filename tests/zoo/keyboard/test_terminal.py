"""`zoo keyboard` by keys from a pipe, and from a terminal where there are such."""

import io
import json
import os
import subprocess
import sys
import time

import pytest

from zoo.cli import main
from zoo.keyboard import Keyboard
from zoo.keyboard.terminal import Typing

from .invented import scripted, write_keyboard


@pytest.fixture
def typing():
    return Typing(Keyboard(scripted()))


def pressed(typing, keys):
    for key in keys:
        typing.press(key)
    return typing.shown


def test_the_best_word_is_in_the_middle(typing):
    assert typing.slots == ["I", "The", "To"]
    pressed(typing, "q")
    assert typing.slots == ["", "", ""]


@pytest.mark.parametrize(
    ("keys", "text", "count"),
    [
        ("it is, ok.", "it is, ok. ", 10),
        ("th\t1", "the I ", 4),
        ("it t23", "it the to ", 6),
        ("it th\t\x7f", "it th", 7),
        ("it \x7f\x7f", "i", 5),
        ("it.\x7f\x7f\x7f\x7f\x7f", "", 8),
        ("it\nis", "it\nis", 5),
        ("it  ", "it ", 4),
        ("😀it\x0f", "😀 it", 3),
        ("don't ", "don't ", 6),
        ("don\u2019t ", "don\u2019t ", 6),
        ("it\x15is", "is", 2),
    ],
)
def test_keys(typing, keys, text, count):
    assert (pressed(typing, keys), typing.keys) == (text, count)


def test_private(typing):
    pressed(typing, "zork \x10zonk \x10")
    assert list(typing.keyboard.personal.words()) == ["zork"]


def test_back_further_than_the_keyboard_remembers(typing):
    pressed(typing, "it " * 70)
    text = pressed(typing, "\x7f" * 300)
    assert text == "" and typing.keyboard.digest == Keyboard(typing.keyboard.model).digest


def test_piped(monkeypatch, capsys, tmp_path):
    folder, words = write_keyboard(tmp_path / "tiny"), tmp_path / "words.json"
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.StringIO("zork \nzo\t"))
        assert main(["keyboard", "--model", str(folder), "--personal", str(words)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "zork" and lines[1].startswith("  1 ") and lines[1].endswith("  (5 keys, 5 characters)")
    assert lines[2].lower() == "zork"
    assert [row[0] for row in json.loads(words.read_text())["words"]] == ["zork"] * 4


def test_mistakes_end_in_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["keyboard", "--model", "no-such-model"]) == 2
    (tmp_path / "words.json").write_text("{")
    folder = write_keyboard(tmp_path / "tiny")
    assert main(["keyboard", "--model", str(folder), "--personal", str(tmp_path / "words.json")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and "no checkpoint or folder" in errors[0] and "is no JSON of personal words" in errors[1]


@pytest.mark.parametrize("place", ["missing/words.json", "."])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_typed(capsys, tmp_path, monkeypatch, place):
    monkeypatch.setattr(sys, "stdin", io.StringIO("zork "))
    folder = write_keyboard(tmp_path / "tiny")
    assert main(["keyboard", "--model", str(folder), "--personal", str(tmp_path / place)]) == 2
    out, error = capsys.readouterr()
    assert "zork" not in out and "cannot be written; give a file" in error


def test_words_are_kept_however_the_typing_ends(tmp_path, monkeypatch):
    def stopped():
        yield "zork \n"
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", type("Stopped", (io.StringIO,), {"__iter__": lambda _: stopped()})())
    folder, words = write_keyboard(tmp_path / "tiny"), tmp_path / "words.json"
    assert main(["keyboard", "--model", str(folder), "--personal", str(words)]) == 130
    assert [row[0] for row in json.loads(words.read_text())["words"]] == ["zork"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny", "words.json"]


def test_in_a_terminal(tmp_path):
    pty = pytest.importorskip("pty")
    folder = write_keyboard(tmp_path / "tiny")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zoo", "keyboard", "--model", str(folder)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    shown = b""
    try:
        while b"characters" not in shown:
            shown += os.read(ours, 4096)
        os.write(ours, b"go\t\x04")
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            try:
                shown += os.read(ours, 4096)
            except OSError:
                break
        assert process.wait(30) == 0 and b"good " in shown
    finally:
        process.kill()
        os.close(ours)
