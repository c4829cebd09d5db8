"""Publishing what the catalog has, all of it, and static pages; which of it a list calls local."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo import catalog, hub_commands, published
from zoo.catalog import entries
from zoo.cli import main
from zoo.errors import CheckpointError
from zoo.hub import folder_of
from zoo.publishing import publish
from zoo.pulling import pull
from zoo.spaces import publish_space

from .conftest import Hub, use_cache

pytestmark = pytest.mark.usefixtures("quick")
SMALL = "group-sparsevd-imdb"


def test_a_shipped_checkpoint_is_the_version_that_the_catalog_has(hub: Hub, tmp_path: Path, monkeypatch):
    *older, known = published.versions(SMALL)
    done = publish(SMALL, f"org/{SMALL}-{tmp_path.name}")
    assert done.version.name == known.name and known.is_identity_of(done.version.sha256)
    assert published.versions(SMALL) == [*older, done.version] and not publish(SMALL, done.plan.repo_id).changed
    assert folder_of(f"{SMALL}@{known.name}") == entries()[SMALL].folder
    use_cache(monkeypatch, tmp_path / "empty")
    pulled = pull(SMALL, tmp_path / "got")
    assert (
        pulled.source == f"{done.plan.repo_id}@{done.version.revision}" and (tmp_path / "got" / "digest.json").is_file()
    )


def test_the_card_goes_up_with_a_picture_that_marks_the_checkpoint(hub: Hub, tmp_path: Path):
    name = "lr-lstm-200-66-ptb"
    done = publish(name, f"org/{tmp_path.name}", dry_run=True, with_onnx=False)
    assert {"README.md", "size-against-perplexity.svg"} <= set(done.plan.additions)


def test_where_the_files_of_a_name_are(hub: Hub, make, name: str, tmp_path: Path, monkeypatch, capsys):
    publish(make(name), "org", with_onnx=False)
    row = entries()[SMALL]
    monkeypatch.setattr("zoo.commands.entries", lambda: {name: type(row)(name, "", None, 1, 1, 1, {}, {}), SMALL: row})
    use_cache(monkeypatch, tmp_path / "empty")
    places = []
    for _ in range(2):
        assert main(["list", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        places.append((rows[name]["where"], rows[SMALL]["where"]))
        folder_of(name)
    assert places == [("on the Hub", "here"), ("cache", "here")]
    assert rows[name]["versions"]["v1"]["repo_id"] == f"org/{name}"


def test_all_of_them_parents_first_and_one_that_fails_alone(hub: Hub, make, name: str, monkeypatch, capsys):
    child, parent, broken = make(f"{name}-child"), make(f"{name}-parent"), make(f"{name}-broken")
    (broken / "tokenizer.json").unlink()
    rows = {
        path.name: catalog.Entry(path.name, "", parent.name if path == child else None, 1, 1, 1, {}, {})
        for path in (broken, child, parent)
    }
    monkeypatch.setattr(catalog.Entry, "folder", property(lambda entry: child.parent / entry.name))
    monkeypatch.setattr("zoo.catalog.entries", lambda: rows)
    monkeypatch.setattr("zoo.hub.CHECKPOINTS", child.parent)
    assert hub_commands._parents_first() == [broken.name, parent.name, child.name]
    assert main(["publish", "--all", "--to", "org", "--no-onnx"]) == 2
    out, err = capsys.readouterr()
    assert f"{parent.name}: published as org/{parent.name}, v1 at" in out and f"{child.name}: published" in out
    assert f"error: {broken.name}: " in err and "lacks tokenizer.json" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "takes one of: NAME, --all, --space FOLDER"),
        (["x", "--all"], "takes one of"),
        (["--all", "--to", "a/b"], "--all publishes to an owner"),
        (["no-such-name"], "no checkpoint or folder is called 'no-such-name'"),
        (
            ["paper-lstm-200"],
            "a recipe and no files; to make them, type: python -m conversion.build paper-lstm-200 --data",
        ),
        (["org/other"], "zoo pull org/other --to DIR"),
        (["--space", "nowhere"], "there is no folder 'nowhere'"),
    ],
)
def test_wrong_arguments(hub: Hub, arguments: list[str], told: str, capsys):
    extra = [] if "--to" in arguments else ["--to", "org"]
    assert main(["publish", *arguments, *extra]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


@pytest.fixture
def page(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    (folder / "models").mkdir(parents=True)
    (folder / "index.html").write_text('<script src="app.js"></script><a href="https://example.org">x</a>')
    (folder / "app.js").write_text("let x = 1;\n")
    (folder / "models" / "weights.bin").write_bytes(bytes(1000))
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    return folder


def test_a_space(hub: Hub, page: Path, name: str):
    done = publish_space(page, "org")
    there = hub.repository(f"org/{name}", "spaces")
    assert there["sdk"] == "static" and there["tags"] == {"v1": there["head"]} and len(there["commits"]) == 2
    files = set(there["commits"][there["head"]]) - {".gitattributes"}
    assert files == {"README.md", "index.html", "app.js", "models/weights.bin"} == set(done.version.sha256)
    assert published.versions(f"org/{name}", published.SPACES) == [done.version]
    assert not publish_space(page, "org").changed
    (page / "app.js").write_text("let x = 2;\n")
    hub.faults({"method": "POST", "path": "/commit/", "kind": "status", "status": 500})
    with pytest.raises(CheckpointError, match="error of its own"):
        publish_space(page, "org")
    assert hub.repository(f"org/{name}", "spaces") == there
    hub.faults()
    again = publish_space(page, "org")
    assert again.version.name == "v2" and again.plan.additions == ["app.js"]


def test_a_space_is_refused(hub: Hub, page: Path, capsys):
    (page / "README.md").write_text("---\nsdk: gradio\n---\n")
    with pytest.raises(CheckpointError, match="does not say `sdk: static`"):
        publish_space(page, "org")
    (page / "README.md").write_text("---\ntitle: x\nsdk: static\n---\n")
    (page / "model.pkl").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.pkl, which can run code"):
        publish_space(page, "org")
    (page / "model.pkl").unlink()
    (page / "app.js").unlink()
    with pytest.raises(CheckpointError, match=r"loads app\.js, which is not in the folder"):
        publish_space(page, "org")
    (page / "index.html").unlink()
    assert main(["publish", "--space", str(page), "--to", "org"]) == 2
    assert "has no index.html, so it is no static page" in capsys.readouterr().err


def test_the_page_of_the_keyboard_can_be_a_space(hub: Hub, tmp_path: Path):
    page = Path(catalog.__file__).with_name("keyboard") / "page"
    done = publish_space(page, f"org/{tmp_path.name}", dry_run=True)
    assert {"index.html", "app.js", "README.md"} <= set(done.plan.additions) and done.version.name == "v1"
