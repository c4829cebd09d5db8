"""Every command of docs/import.md, and its line of Python, on files like those it names."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import zoo.cli
from conversion.importers import main

from .originals import WORDS, WordLanguageModel, random, vocabulary_file
from .test_importing import Plain

PAGE = Path(__file__).parents[3] / "docs" / "import.md"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the page names."""
    monkeypatch.chdir(tmp_path)
    torch.save(random(WordLanguageModel("LSTM", 4, 4, 1, True)).state_dict(), "model.state.pt")
    torch.save(random(WordLanguageModel("RNN_TANH", 4, 4, 1, True)).state_dict(), "rnn.pt")
    plain = random(Plain(D=10)).state_dict() | {"critic.weight": torch.ones(2)}
    save_file(plain, "plain.safetensors")
    vocabulary_file(tmp_path)
    names = {"<eos>": "</s>", "<unk>": "UNK"}
    (tmp_path / "words.json").write_text(json.dumps([names.get(word, word) for word in WORDS]))
    (tmp_path / "texts").mkdir()
    for split, words in (("train", WORDS[:1] + WORDS[3:]), ("valid", ["the"]), ("test", ["<unk>", "w3"])):
        (tmp_path / "texts" / f"{split}.txt").write_text(f"{' '.join(words)}\n")
    return tmp_path


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_every_command(files: Path):
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 6
    for line in lines:
        program, command, *rest = shlex.split(line)
        assert program == "zoo"
        done = main(rest, prog="zoo import") if command == "import" else zoo.cli.main([command, *rest])
        assert done == 0, line
    assert sorted(path.name for path in (files / "imported").iterdir()) == ["plain", "renamed", "rnn", "wlm"]


def test_the_function(files: Path):
    block = next(block for block in blocks("python") if "import_checkpoint" in block)
    found: dict = {}
    exec(block, found)
    assert (found["folder"] / "model.safetensors").is_file()


def test_the_options_are_those_of_the_function(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        main(["--help"], prog="zoo import")
    help = capsys.readouterr().out
    assert help.startswith("usage: zoo import")
    for option in set(re.findall(r"`?(--[a-z]+)", PAGE.read_text(encoding="utf-8"))):
        assert option in help, option
