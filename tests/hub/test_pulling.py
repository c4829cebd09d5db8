"""Pulling: what is had by name, version, repository and revision; and everything that is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationDelete, HfApi, constants

from zoo import hub as zoo_hub
from zoo import published
from zoo.catalog import Entry
from zoo.errors import CheckpointError
from zoo.fetching import sha256_of
from zoo.hub import folder_of
from zoo.publishing import publish
from zoo.pulling import pull

from .conftest import TOKEN, Hub, use_cache
from .test_publishing import change

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def there(hub: Hub, make, name: str) -> Path:
    """The folder of a checkpoint that is published as v1."""
    folder = make(name)
    publish(folder, "org", with_onnx=False)
    return folder


def same(folder: Path, original: Path) -> bool:
    names = ("model.safetensors", "tokenizer.json", "tokenizer_config.json")
    return all((folder / name).read_bytes() == (original / name).read_bytes() for name in names)


def test_by_name_version_repository_and_revision(there: Path, name: str, tmp_path: Path, monkeypatch):
    (version,) = published.versions(name)
    for number, asked in enumerate(
        (name, f"{name}@v1", f"org/{name}", f"org/{name}@v1", f"org/{name}@{version.revision}", f"org/{name}@main")
    ):
        use_cache(monkeypatch, tmp_path / f"empty-{number}")
        found = pull(asked, tmp_path / f"got-{number}" / name)
        assert not found.was_there and found.source == f"org/{name}@{version.revision}"
        assert {path.name: sha256_of(path) for path in found.folder.iterdir()} == dict(version.sha256)
        assert same(folder_of(asked), there)


def test_a_version_keeps_its_meaning(there: Path, name: str, tmp_path: Path, monkeypatch):
    old = (there / "model.safetensors").read_bytes()
    change(there)
    publish(there, "org", with_onnx=False)
    use_cache(monkeypatch, tmp_path / "empty")
    assert (folder_of(f"{name}@v1") / "model.safetensors").read_bytes() == old
    assert same(folder_of(f"{name}@v2"), there) and same(folder_of(name), there)
    assert same(folder_of(name, "v2"), there)
    with pytest.raises(CheckpointError, match=r"has no version 'v3'; it has v1, v2"):
        folder_of(f"{name}@v3")


def test_a_moved_tag_changes_nothing(there: Path, name: str, tmp_path: Path, monkeypatch, hub: Hub):
    api, repo_id = HfApi(), f"org/{name}"
    moved = api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=repo_id)
    hub.faults({"method": "GET", "path": "/revision/v1", "kind": "status", "status": 500})  # nobody asks for it
    use_cache(monkeypatch, tmp_path / "empty")
    assert same(folder_of(f"{repo_id}@v1"), there) and same(folder_of(name), there)
    assert folder_of(f"{repo_id}@{moved.oid}").name == moved.oid


def test_the_cache_is_used_and_is_enough_offline(there: Path, name: str, hub: Hub, monkeypatch):
    pull(f"org/{name}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.forget()
    for asked in (name, f"{name}@v1", f"org/{name}", f"org/{name}@v1"):
        assert same(folder_of(asked), there)
    assert not hub.requests
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set and the cache does not have all of it; unset"):
        folder_of("org/another")


def test_offline_with_a_part_in_the_cache(there: Path, name: str, monkeypatch):
    place = folder_of(f"org/{name}") / "tokenizer.json"
    place.unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for asked in (name, f"org/{name}"):
        with pytest.raises(CheckpointError, match=r"the cache lacks tokenizer\.json"):
            folder_of(asked)


def test_a_server_that_is_away_is_told_or_made_up_for(there: Path, name: str, monkeypatch):
    folder_of(f"org/{name}")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://user:secret@127.0.0.1:9")
    assert same(folder_of(f"org/{name}"), there)
    with pytest.raises(CheckpointError, match=r"http://127\.0\.0\.1:9 cannot be reached.*HF_ENDPOINT") as caught:
        folder_of("org/another")
    assert "secret" not in str(caught.value)


def test_private_repositories_need_the_token(hub: Hub, make, name: str, tmp_path: Path, monkeypatch):
    folder = make(name)
    publish(folder, "org", private=True, with_onnx=False)
    use_cache(monkeypatch, tmp_path / "empty")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CheckpointError, match=r"or it is private.*hf auth login"):
        folder_of(name)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(CheckpointError, match="does not accept the token") as caught:
        folder_of(name)
    assert "hf_wrong" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_reader_may_not")
    assert same(folder_of(name), folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_wrong_content_from_the_server_is_not_kept(there: Path, name: str, hub: Hub, file: str, tmp_path: Path):
    path = "/_cdn/" if file == "model.safetensors" else f"/{file}$"
    hub.faults({"method": "GET", "path": path, "kind": "content"})
    for asked in (f"org/{name}", name):
        with pytest.raises(CheckpointError, match=rf"{file} of org/.* is not what the Hub says.*removed"):
            pull(asked, tmp_path / "got")
        assert not (tmp_path / "got").exists()
    hub.faults()
    assert same(pull(name, tmp_path / "got").folder, there)


def test_a_swapped_revision(there: Path, name: str, hub: Hub, tmp_path: Path):
    revision = published.versions(name)[0].revision
    for path in ("/revision/", "/resolve/"):
        hub.faults({"method": "ANY", "path": path, "kind": "commit"})
        with pytest.raises(CheckpointError, match="swapped revision"):
            pull(f"org/{name}@{revision}", tmp_path / "got")
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize(
    "path", ["../../evil.json", "/tmp/evil.json", "a/../../evil.json", "..\\evil.json", "C:evil.json"]
)
def test_a_file_that_would_leave_the_folder(there: Path, name: str, hub: Hub, path: str, tmp_path: Path):
    hub.faults({"method": "GET", "path": "/api/models/", "kind": "files", "files": [path]})
    with pytest.raises(CheckpointError, match=r"would be written outside of the folder; nothing was taken"):
        pull(f"org/{name}", tmp_path / "got")
    assert not list(tmp_path.rglob("evil*")) and not (tmp_path / "got").exists()


def test_a_catalog_with_a_wrong_hash(there: Path, name: str, tmp_path: Path):
    path = published.user_file()
    right = path.read_text()
    for file in ("model.safetensors", "digest.json"):
        content = json.loads(right)
        content["checkpoints"][name]["v1"]["sha256"][file] = "0" * 64
        path.write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=rf"{file}.* is not the file of the catalog: sha256 .*000000000000"):
            pull(name, tmp_path / "got")
    content["checkpoints"][name]["v1"]["sha256"] = {"absent.json": "0" * 64, "model.safetensors": "0" * 64}
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"lacks absent\.json, which the catalog lists"):
        pull(name, tmp_path / "got")
    content["checkpoints"][name]["v1"]["sha256"] = {"../evil.json": "0" * 64}
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="outside of the folder"):
        pull(name, tmp_path / "got")
    path.write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read as JSON"):
        pull(name, tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_a_catalog_that_measured_other_weights(there: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    entry = Entry(name, "", None, 1, 1, 1, {}, {"model.safetensors": "1" * 64})
    monkeypatch.setattr(zoo_hub, "entries", lambda: {name: entry})
    with pytest.raises(CheckpointError, match=rf"config\.json of {name} has sha256 .* in the catalog"):
        folder_of(name)


def test_a_file_changed_in_the_cache(there: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    folder_of(f"org/{name}")
    place = folder_of(name) / "config.json"
    blob = place.resolve()
    blob.write_bytes(blob.read_bytes() + b" ")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for asked, told in ((name, "is not the file of the catalog"), (f"org/{name}@main", "was changed since it was")):
        with pytest.raises(CheckpointError, match=rf"config\.json .*{told}|config\.json {told}"):
            folder_of(asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert same(folder_of(name), there)


def test_a_pickle_instead_of_safetensors(there: Path, name: str, tmp_path: Path):
    api, repo_id = HfApi(), f"org/{name}-pickle"
    api.create_repo(repo_id)
    api.upload_file(path_or_fileobj=b"cos\nsystem\n", path_in_repo="pytorch_model.bin", repo_id=repo_id)
    with pytest.raises(CheckpointError, match=r"has pytorch_model\.bin and no model\.safetensors.*can run code"):
        pull(repo_id, tmp_path / "got")
    api.create_commit(repo_id, [CommitOperationDelete("pytorch_model.bin")], commit_message="x")
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors, so it is no checkpoint"):
        folder_of(repo_id)


def test_no_pickle_beside_safetensors_is_taken(there: Path, name: str, tmp_path: Path):
    HfApi().upload_file(path_or_fileobj=b"cos\nsystem\n", path_in_repo="extra.pkl", repo_id=f"org/{name}")
    assert "extra.pkl" not in os.listdir(pull(f"org/{name}@main", tmp_path / "got").folder)


def test_a_server_that_hangs(there: Path, name: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    hub.faults({"method": "GET", "path": "/api/models/", "kind": "slow", "seconds": 1})
    with pytest.raises(CheckpointError, match=r"cannot be reached or broke off \(.*timed out.*same command again"):
        pull(f"org/{name}", tmp_path / "got")


def test_a_server_that_lists_names_alone(there: Path, name: str, hub: Hub, tmp_path: Path):
    hub.faults({"method": "GET", "path": "/revision/|/api/models/[^/]+/[^/]+$", "kind": "names"})
    assert same(pull(f"org/{name}@main", tmp_path / "got").folder, there)
    assert not publish(there, "org", with_onnx=False).changed


def test_an_existing_folder_is_kept(there: Path, name: str, tmp_path: Path):
    got = tmp_path / "got"
    got.mkdir()
    pull(name, got)  # empty: nothing is lost
    assert pull(name, got).was_there
    (got / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is there already with other content; remove it, or give --to another"):
        pull(name, got)
    assert (got / "config.json").read_text() == "{}"
    with pytest.raises(CheckpointError, match="is a folder, so there is nothing to pull"):
        pull(str(got), tmp_path / "other")


def test_a_folder_that_cannot_be_made_is_told(there: Path, name: str, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write to .*file .*; give --to a folder of yours"):
        pull(f"org/{name}", tmp_path / "file" / name)


def test_a_folder_of_the_same_name_is_no_obstacle(there: Path, name: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(there.parent)
    assert pull(name, tmp_path / "got").source.startswith(f"org/{name}@") and folder_of(name) == Path(name)


def test_cut_off_downloads_go_on_or_are_told(there: Path, name: str, hub: Hub, tmp_path: Path):
    hub.faults({"method": "GET", "path": "/_cdn/", "kind": "cut", "bytes": 100, "times": 1})
    assert same(pull(name, tmp_path / "got").folder, there)
    change(there)
    publish(there, "org", with_onnx=False)
    hub.faults({"method": "GET", "path": "/_cdn/", "kind": "cut", "bytes": 10})
    with pytest.raises(CheckpointError, match=r"\(model\.safetensors\) cannot be had: .*broke off.*same command again"):
        pull(name, tmp_path / "more")
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"status": 401, "message": "Invalid credentials in Authorization header"}, "does not accept the token"),
        ({"status": 403, "message": f"no {TOKEN}"}, r"may not read it \(403: .*no <token>"),
        ({"status": 404, "code": "RepoNotFound"}, "no such repository"),
        ({"status": 404, "code": "RevisionNotFound"}, "no such revision"),
        ({"status": 403, "code": "GatedRepo"}, "granted by its owner"),
        ({"status": 429}, r"asks to wait \(429\)"),
        ({"status": 500}, r"error of its own \(500"),
        ({"kind": "content"}, "cannot be had|does not say"),
    ],
)
def test_faults_of_the_server_are_told(there: Path, name: str, hub: Hub, fault: dict, told: str, tmp_path: Path):
    hub.faults({"method": "GET", "path": "/api/models/", "kind": "status", **fault})
    if "kind" in fault:
        hub.faults({"method": "GET", "path": "/api/models/", "kind": "cut", "bytes": 20})
    with pytest.raises(CheckpointError, match=told) as caught:
        pull(f"org/{name}", tmp_path / "got")
    assert "\n" not in str(caught.value) and TOKEN not in repr(caught.value) and not (tmp_path / "got").exists()
