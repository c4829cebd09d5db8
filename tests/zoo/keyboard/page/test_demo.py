"""`zoo demo`: the folder that it makes, what it says, what it refuses, how it is served."""

import json
import sys
import urllib.error
import urllib.request

import pytest

from zoo import cli
from zoo.keyboard import demo
from zoo.keyboard.demo_models import script_of

from ..invented import write_keyboard


def test_the_first_load_is_told_by_file(page_folder):
    content = json.loads((page_folder / "models.json").read_text())
    first = content["first_load"]
    assert first["bytes"] == sum(first["files"].values())
    assert all((page_folder / path).stat().st_size == size for path, size in first["files"].items())
    assert {"rnnlm.wasm", "models/tiny/model.rnnlm.gz"} <= set(first["files"])
    assert not any("models/other" in path for path in first["files"])
    assert [entry["name"] for entry in content["models"]] == ["tiny", "other"] and content["default"] == "tiny"
    assert (page_folder / "README.md").read_text().startswith("---\n")
    assert "sdk: static" in (page_folder / "README.md").read_text()


def test_nothing_is_loaded_from_elsewhere(page_folder):
    texts = {path.name: path.read_text() for path in page_folder.iterdir() if path.suffix in (".js", ".html", ".css")}
    assert [name for name, text in texts.items() if "https://" in text] == []
    assert "connect-src 'self'" in texts["index.html"]


def test_a_changed_page_is_another_version(page_folder, tmp_path):
    model = write_keyboard(tmp_path / "tiny")
    demo.assemble(tmp_path / "page", [model])
    first = (tmp_path / "page" / "files.js").read_text()
    demo.assemble(tmp_path / "page", [model])
    words = (tmp_path / "page" / "first_words.json").read_text()
    assert json.loads(words)["words"] and json.loads(words)["start"]
    assert "first_words.json" in first
    assert (page_folder / "files.js").read_text().split('"')[3] != first.split('"')[3]


def test_script_of_the_words():
    assert script_of(["<unk>", "<eos>", ".", "и", "в", "не", "который", "NASA"]) == "Cyrl"
    assert script_of(["<unk>", "<eos>", "the", "of", "и"]) == "Latn" == script_of([])


def test_types_that_browsers_need(served):
    types = {
        "": "text/html; charset=utf-8",
        "app.js": "text/javascript; charset=utf-8",
        "rnnlm.wasm": "application/wasm",
        "models/tiny/model.rnnlm.gz": "application/gzip",
        "models.json": "application/json",
        "app.webmanifest": "application/manifest+json",
    }
    for path, wanted in types.items():
        with urllib.request.urlopen(served.url + path) as answer:
            assert answer.headers["Content-Type"] == wanted, path
            assert answer.headers["Content-Encoding"] is None
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(served.url + "models/")


def test_what_is_refused(tmp_path, capsys):
    assert cli.main(["demo", "--no-serve"]) == 2
    assert "type: zoo demo --no-serve --out DIR" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    model = str(write_keyboard(tmp_path / "tiny"))
    for options, reason in (
        (["--out", str(tmp_path / "full"), "--model", model], "holds something that is no page"),
        (["--out", str(tmp_path / "new"), "--model", str(tmp_path / "empty")], "config.json"),
        (["--out", str(tmp_path / "new"), "--model", "no-such-model"], "no-such-model"),
        (["--out", str(tmp_path / "new"), "--model", model, "--model", model], "called the same"),
    ):
        assert cli.main(["demo", "--no-serve", *options]) == 2
        assert reason in capsys.readouterr().err
    assert (tmp_path / "full" / "letter.txt").read_text() == "mine"


def test_without_the_package_conversion(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "conversion.exporters.c_file", None)
    model = str(write_keyboard(tmp_path / "tiny"))
    assert cli.main(["demo", "--no-serve", "--out", str(tmp_path / "new"), "--model", model]) == 2
    assert "needs the package conversion.exporters.c_file; type: pip install rnnlm-zoo" in capsys.readouterr().err
