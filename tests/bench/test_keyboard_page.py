"""The page's numbers: from a browser where there is one, of a small random model."""

from __future__ import annotations

import gzip
import json

import pytest

from bench import keyboard_page
from bench.chromium import program
from conversion.exporters.c_library import compiler
from tests.zoo.keyboard.invented import write_keyboard
from zoo.errors import ZooError
from zoo.typed_corpora import DIALOGUE

TEXT = "I think it's good. May they then?\nthe thing is there\n\nzork is it\n"


@pytest.fixture
def data(tmp_path):
    """The folder of a small corpus."""
    for source in DIALOGUE:
        for split in ("train", "valid", "test"):
            (tmp_path / f"{source}.{split}.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    return str(tmp_path)


def test_the_command(data, tmp_path, capsys):
    if program() is None:
        pytest.skip("there is no chromium here; install the package chromium")
    try:
        compiler()
    except ZooError as error:
        pytest.skip(str(error))
    folder = write_keyboard(tmp_path / "tiny")
    arguments = [str(folder), "--data", data, "--keys", "20", "--messages", "6", "--out", str(tmp_path / "results")]
    assert keyboard_page.main(arguments) == 0
    page, same = (
        json.loads((tmp_path / "results" / "tiny" / f"keyboard-page{end}.json").read_text()) for end in ("", "-parity")
    )
    assert page["sha256"] == same["sha256"] and page["browser"] == same["browser"]
    assert page["command"] == "python -m bench.keyboard_page tiny --data DIR --only times --keys 20"
    assert page["keys"]["pressed"] == 20 and 0 < page["keys"]["to_bar"]["n"] <= 20 and page["step"]["timed"] > 0
    assert sum(page["first_load"]["files"].values()) == page["first_load"]["bytes"]
    assert same["messages"] == 6 and list(same["engines"]) == ["numpy", "c", "page"] and page["wasm"] == same["wasm"]
    assert same["engines"]["page"] == {"same_digest": 1.0, "same_suggestions": 1.0, "same_keys": 1.0}
    assert str(tmp_path) not in json.dumps([page, same]) and "bars are torch's" in capsys.readouterr().out


def test_a_text_is_begun_anew_where_it_ends():
    assert keyboard_page.text_of(["it is", "so"], 12) == "it is so it "


def test_mistakes_end_in_one_line(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_DATA", raising=False)
    for arguments, part in (
        (["tiny"], "dialogue needs its files"),
        (["tiny", "--data", data, "--keys", "0"], "--keys is 0; give at least 1"),
        (["tiny", "--data", data, "--messages", "0"], "--messages is 0; give at least 1"),
        (["no-such-model", "--data", data], "no checkpoint or folder"),
    ):
        assert keyboard_page.main(arguments) == 2
        error = capsys.readouterr().err
        assert part in error and error.count("\n") == 1


def test_without_a_browser(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ZooError, match="apt install chromium"):
        keyboard_page.Chromium()
