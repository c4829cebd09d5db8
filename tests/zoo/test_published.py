"""The file of versions: what a version means stays, and where a publication is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo import published
from zoo.errors import CheckpointError
from zoo.explaining import explained, redacted
from zoo.published import Version, record, target, versions, with_shipped

FILES = {"config.json": "a", "model.safetensors": "b", "tokenizer.json": "c"}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The package's file and the user's."""
    package, user = tmp_path / "zoo" / "published.json", tmp_path / "user" / "mine.json"
    package.parent.mkdir()
    monkeypatch.setattr(published, "PUBLISHED", package)
    monkeypatch.setenv("ZOO_PUBLISHED", str(user))
    return package, user


def test_a_version_is_recorded_once_and_keeps_its_meaning(files: tuple[Path, Path]):
    first = Version("v1", FILES, "me/x", "1" * 40)
    assert record("x", first) and not record("x", first) and versions("x") == [first]
    moved = Version("v1", FILES, "you/x", "2" * 40)
    assert record("x", moved) and versions("x") == [moved]  # the same files elsewhere
    with pytest.raises(CheckpointError, match=r"x@v1 is other files already \(you/x@2222.*a version never changes"):
        record("x", Version("v1", FILES | {"config.json": "z"}, "me/x", "3" * 40))
    second = Version("v10", FILES | {"config.json": "z"}, "me/x", "3" * 40)
    record("x", Version("v2", FILES | {"config.json": "y"}, "me/x", "4" * 40))
    assert record("x", second) and [found.name for found in versions("x")] == ["v1", "v2", "v10"]
    assert not [path for path in files[1].parent.iterdir() if path != files[1]]


def test_the_package_s_word_stands_but_for_where_it_does_not_know(files: tuple[Path, Path]):
    package, _ = files
    package.write_text(with_shipped("", {"x": FILES}))
    assert versions("x") == [Version("v1", FILES)]
    mine = Version("v1", FILES | {"README.md": "d"}, "me/x", "1" * 40)
    record("x", mine)
    assert versions("x") == [mine] and published.names() == ["x"]
    theirs = {"repo_id": "they/x", "revision": "2" * 40, "sha256": FILES}
    package.write_text(json.dumps({"checkpoints": {"x": {"v1": theirs}}}))
    assert versions("x")[0].repo_id == "they/x"
    package.write_text(with_shipped("", {"x": FILES | {"config.json": "other"}}))
    assert versions("x") == [Version("v1", FILES | {"config.json": "other"})]


def test_where_a_publication_is_written(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    package, user = files
    assert target() == user
    monkeypatch.delenv("ZOO_PUBLISHED")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    assert target() == tmp_path / "settings" / "rnnlm-zoo" / "published.json"
    (tmp_path / "hubconf.py").touch()  # a clone
    assert target() == package
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_PUBLISHED", str(tmp_path / "file" / "x.json"))
    with pytest.raises(CheckpointError, match=r"cannot write .*x\.json.*set ZOO_PUBLISHED to a file"):
        target()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"checkpoints": {"x": {"first": {}}}}', '{"checkpoints": {"x": {"v1": {"y": 1}}}}']
)
def test_a_damaged_file_is_named(files: tuple[Path, Path], text: str):
    files[1].parent.mkdir()
    files[1].write_text(text)
    with pytest.raises(CheckpointError, match=r"mine\.json"):
        versions("x")


def test_no_token_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "secret-of-mine")
    other = "hf_" + "aB3" * 12
    told = redacted(f"a secret-of-mine\n b {other} http://user:word@host/x")
    assert told == "a <token> b <token> http://host/x"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    error = explained(ConnectionError("sent secret-of-mine\nto nobody"), "me/x", "write")
    assert (
        "secret-of-mine" not in str(error)
        and "sent <token> to nobody" in str(error)
        and "cannot be written" in str(error)
    )
    assert explained(error, "me/x", "read") is error
    assert "No space" in str(explained(OSError(28, "No space left", "disk"), "me/x", "read"))
