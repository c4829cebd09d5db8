"""Publishing: what goes up, that it goes up once and whole, and what is said when the Hub fails."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from safetensors.numpy import load_file, save_file

from zoo import published
from zoo.errors import CheckpointError, ZooError
from zoo.fetching import sha256_of
from zoo.modeling_rnnlm import CODE
from zoo.publishing import publish

from .conftest import TOKEN, Hub

pytestmark = pytest.mark.usefixtures("quick")
CREATE, COMMIT, TAG = r"/api/repos/create", r"/commit/", r"/tag/"


def put(folder: Path, **options):
    return publish(folder, "org", with_onnx=False, **options)


def change(folder: Path) -> None:
    """Other weights of the same shapes."""
    tensors = load_file(folder / "model.safetensors")
    save_file({name: value * 1.5 for name, value in tensors.items()}, folder / "model.safetensors", {"format": "pt"})


def test_everything_goes_up_in_one_commit_with_a_tag_and_a_record(hub: Hub, make, name: str):
    done = put(make(name))
    there = hub.repository(f"org/{name}")
    assert there["tags"] == {"v1": there["head"]} and len(there["commits"]) == 2 and not there["private"]
    files = set(there["commits"][there["head"]]) - {".gitattributes"}
    assert files == {*CODE, "README.md", "config.json", "digest.json", "model.safetensors"} | {
        "tokenizer.json",
        "tokenizer_config.json",
    }
    (version,) = published.versions(name)
    assert (version.name, version.repo_id, version.revision) == ("v1", f"org/{name}", there["head"])
    assert set(version.sha256) == files and done.version == version and done.changed


def test_again_changes_nothing_and_a_change_is_a_new_version(hub: Hub, make, name: str):
    folder = make(name)
    first = put(folder)
    hub.forget()
    assert not put(folder).changed
    assert not [path for method, path in hub.requests if "/commit/" in path or "/tag/" in path or method == "PUT"]
    change(folder)
    second = put(folder)
    there = hub.repository(f"org/{name}")
    assert second.version.name == "v2" and second.plan.additions == ["digest.json", "model.safetensors"]
    assert there["tags"] == {"v1": first.version.revision, "v2": there["head"]} and len(there["commits"]) == 3
    assert [version.name for version in published.versions(name)] == ["v1", "v2"]


def test_a_file_that_is_no_more_goes(hub: Hub, make, name: str):
    folder = make(name)
    (folder / "metrics.json").write_text("{}")
    put(folder)
    (folder / "metrics.json").unlink()
    done = put(folder)
    there = hub.repository(f"org/{name}")
    assert done.plan.deletions == ["metrics.json"] and "metrics.json" not in there["commits"][there["head"]]


def test_files_that_do_not_belong_are_left_out(hub: Hub, make, name: str):
    folder = make(name)
    (folder / "notes.txt").write_text("mine")
    (folder / ".hidden.json").write_text("{}")
    (folder / "evil_rnnlm.py").write_text("raise SystemExit")
    (folder / CODE[0]).write_text("raise SystemExit")
    done = put(folder)
    assert not {"notes.txt", ".hidden.json", "evil_rnnlm.py"} & set(done.plan.sha256)
    assert done.plan.sha256[CODE[0]] == sha256_of(Path(published.__file__).with_name(CODE[0]))


def test_onnx_files_of_the_same_weights_are_kept(hub: Hub, make, name: str):
    folder = make(name)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"exported")
    (folder / "onnx" / "check.json").write_text(json.dumps({"sha256": sha256_of(folder / "model.safetensors")}))
    publish(folder, "org")
    there = hub.repository(f"org/{name}")
    assert "onnx/model.onnx" in there["commits"][there["head"]]
    (folder / "onnx" / "check.json").unlink()  # as on a machine that has never exported it
    again = publish(folder, "org")
    assert not again.changed and "onnx/model.onnx" in again.version.sha256
    change(folder)
    assert put(folder).plan.deletions == ["onnx/model.onnx"]


def test_dry_run_needs_no_token_and_writes_nothing(hub: Hub, make, name: str, monkeypatch: pytest.MonkeyPatch):
    folder = make(name)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CheckpointError, match=r"needs a token.*HF_TOKEN.*hf auth login.*--dry-run"):
        put(folder)
    hub.forget()
    done = put(folder, dry_run=True)
    assert done.version.name == "v1" and "model.safetensors" in done.plan.additions and not published.versions(name)
    assert {method for method, _ in hub.requests} == {"GET"}


def test_private(hub: Hub, make, name: str):
    folder = make(name)
    put(folder, private=True)
    assert hub.repository(f"org/{name}")["private"]
    other = make(f"{name}-open")
    put(other)
    change(other)
    with pytest.raises(CheckpointError, match="is public and --private was given; nothing was uploaded"):
        put(other, private=True)


def test_the_same_files_are_the_same_version_in_another_repository(hub: Hub, make, name: str):
    folder = make(name)
    (folder / "README.md").write_text("# mine\n")  # one that is made names its repository
    put(folder)
    change(folder)
    put(folder)
    moved = publish(folder, f"tester/elsewhere-{name}", with_onnx=False)
    there = hub.repository(f"tester/elsewhere-{name}")
    assert moved.version.name == "v2" and there["tags"] == {"v2": there["head"]}
    assert [version.repo_id for version in published.versions(name)] == [f"org/{name}", f"tester/elsewhere-{name}"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"path": CREATE, "status": 401, "message": "Invalid credentials in Authorization header"}, "accept the token"),
        ({"path": CREATE, "status": 403, "message": "no rights"}, r"may not write it \(403.*hf auth login"),
        ({"path": "/preupload/", "status": 404, "code": "RepoNotFound"}, "no such repository, or it is private"),
        (
            {"path": COMMIT, "status": 409, "message": "lock"},
            r"somebody else changed it.*\(409: lock.*same command again",
        ),
        ({"path": COMMIT, "status": 412}, "somebody else changed it"),
        ({"path": COMMIT, "status": 500}, r"error of its own \(500: a fault was asked for\).*again later"),
        ({"path": "/_lfs/", "status": 500}, "error of its own"),
        ({"path": "/_lfs/", "kind": "cut", "bytes": 50}, "broke off.*same command again"),
        ({"path": COMMIT, "kind": "cut", "bytes": 50}, "broke off"),
        ({"path": "/_lfs/.*/verify", "status": 404}, "404"),
        ({"path": TAG, "status": 500}, r"@v1 cannot be written.*500"),
        ({"path": "/refs", "method": "GET", "status": 503}, "503"),
    ],
)
def test_a_fault_is_told_and_doing_it_again_ends_it(hub: Hub, make, name: str, fault: dict, told: str):
    folder = make(name)
    hub.faults({"method": "ANY", "kind": "status", **fault})
    with pytest.raises(CheckpointError, match=told) as caught:
        put(folder)
    assert "\n" not in str(caught.value) and TOKEN not in str(caught.value)
    assert not published.versions(name)
    if fault["path"] != CREATE:
        there = hub.repository(f"org/{name}")
        assert there["tags"] == {} and len(there["commits"]) == (2 if fault["path"] == TAG else 1)
    hub.faults()
    assert put(folder).version.name == "v1"
    there = hub.repository(f"org/{name}")
    assert there["tags"] == {"v1": there["head"]} and len(there["commits"]) == 2


def test_a_passing_fault_is_tried_again_and_slow_is_waited_for(hub: Hub, make, name: str):
    hub.faults(
        {"method": "PUT", "path": "/_lfs/", "kind": "cut", "bytes": 10, "times": 1},
        {"method": "POST", "path": "/preupload/", "kind": "status", "status": 503, "times": 2},
        {"method": "POST", "path": COMMIT, "kind": "slow", "seconds": 2},
    )
    assert put(make(name)).version.name == "v1"


def test_a_large_file_that_arrived_is_not_sent_again(hub: Hub, make, name: str):
    folder = make(name)
    hub.faults({"method": "POST", "path": COMMIT, "kind": "status", "status": 500})
    with pytest.raises(CheckpointError):
        put(folder)
    hub.faults()
    hub.forget()
    put(folder)
    assert not [path for method, path in hub.requests if method == "PUT"]


def test_a_half_commit_gets_no_tag(hub: Hub, make, name: str, monkeypatch: pytest.MonkeyPatch):
    commit = HfApi.create_commit

    def lossy(self, repo_id, operations, **options):
        return commit(self, repo_id, [one for one in operations if one.path_in_repo != "tokenizer.json"], **options)

    monkeypatch.setattr(HfApi, "create_commit", lossy)
    folder = make(name)
    with pytest.raises(CheckpointError, match=r"is not what was sent: tokenizer\.json; it has no tag"):
        put(folder)
    monkeypatch.undo()
    assert not published.versions(name)


def test_two_at_once_do_not_mix(hub: Hub, make, name: str, monkeypatch: pytest.MonkeyPatch):
    folder, commit = make(name), HfApi.create_commit

    def late(self, repo_id, operations, **options):
        HfApi().upload_file(path_or_fileobj=b"first", path_in_repo="other.txt", repo_id=repo_id)
        return commit(self, repo_id, operations, **options)

    def once(self, *arguments, **options):
        monkeypatch.setattr(HfApi, "create_commit", commit)
        return late(self, *arguments, **options)

    monkeypatch.setattr(HfApi, "create_commit", once)
    with pytest.raises(CheckpointError, match="somebody else changed it"):
        put(folder)
    assert put(folder).plan.deletions == ["other.txt"]


def test_a_token_is_nowhere(hub: Hub, make, name: str, capfd: pytest.CaptureFixture[str], tmp_path: Path):
    folder = make(name)
    for path in (CREATE, "/preupload/", COMMIT, TAG):
        hub.faults({"method": "ANY", "path": path, "kind": "status", "status": 500, "message": f"you sent {TOKEN}"})
        with pytest.raises(CheckpointError, match="you sent <token>") as caught:
            put(folder)
        assert TOKEN not in repr(caught.value) and caught.value.__cause__ is None
    hub.faults()
    put(folder)
    (folder / "recipe.toml").write_text(f'token = "{TOKEN}"\n')
    with pytest.raises(CheckpointError, match=r"recipe\.toml holds a token"):
        put(folder)
    assert TOKEN not in "".join(capfd.readouterr())
    (folder / "recipe.toml").unlink()
    found = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert found == []


def test_what_is_not_whole_is_refused(hub: Hub, make, name: str):
    folder = make(name)
    hub.forget()
    for lost in ("tokenizer.json", "model.safetensors"):
        content = (folder / lost).read_bytes()
        (folder / lost).unlink()
        with pytest.raises(CheckpointError, match=f"lacks {lost}"):
            put(folder)
        (folder / lost).write_bytes(content)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"has pytorch_model\.bin, which can run code"):
        put(folder)
    (folder / "pytorch_model.bin").unlink()
    (folder / "digest.json").write_text(
        json.dumps({"weights": sha256_of(folder / "model.safetensors"), "mean": 1e3, "spread": 1e3})
    )
    with pytest.raises(CheckpointError, match="does not compute what it did when its digest was stored"):
        put(folder)
    assert not hub.requests


def test_the_name_of_another_checkpoint_is_refused(hub: Hub, make):
    folder = make("lstm-200-ptb")
    with pytest.raises(CheckpointError, match="has the name of a checkpoint of the catalog and is another one"):
        put(folder)


@pytest.mark.parametrize("to", ["", "a/b/c", "../org", "org/", "org/.x", "or g/x", "org/x.git"])
def test_a_wrong_place_is_refused(hub: Hub, make, name: str, to: str):
    with pytest.raises(ZooError, match="allowed: an owner or owner/name"):
        publish(make(name), to)


def test_a_folder_whose_name_is_no_name(hub: Hub, make):
    with pytest.raises(CheckpointError, match="cannot be called 'my model'; allowed are letters, digits"):
        put(make("my model"))


def test_onnx_files_that_do_not_agree_are_left_out(hub: Hub, make, name: str, monkeypatch: pytest.MonkeyPatch):
    exporters, lines, asked = importlib.import_module("conversion.exporters"), [], []

    def export(folder, to, out, variants):
        asked.append(variants)
        if variants == "all":
            raise CheckpointError("int8 has other words")
        (out / "onnx").mkdir()
        for file in ("model.onnx", "check.json"):
            (out / "onnx" / file).write_text("{}")

    monkeypatch.setattr(exporters, "export", export)
    monkeypatch.setattr("zoo.completion.can_export", lambda: True)
    done = publish(make(name), "org", tell=lines.append)
    assert asked == ["all", "fp32"] and f"{name}: onnx/ is left out: int8 has other words" in lines
    assert [file for file in done.version.sha256 if "/" in file] == ["onnx/model.onnx"]
    monkeypatch.setattr("zoo.completion.can_export", lambda: False)
    publish(make(f"{name}-2"), "org", tell=lines.append)
    assert f"{name}-2: onnx/ is left out: type: pip install 'rnnlm-zoo[export]'" in lines


def test_a_card_with_numbers_that_nobody_measured(hub: Hub, make, name: str):
    folder = make(name)
    (folder / "README.md").write_text(
        "---\nmodel-index:\n- name: x\n  results:\n  - task:\n      type: text-generation\n    dataset:\n"
        "      name: PTB\n      type: ptb\n    metrics:\n    - type: perplexity\n      value: 12.5\n---\n# x\n"
    )
    hub.forget()
    with pytest.raises(CheckpointError, match=r"README\.md says perplexity 12\.5 on PTB, and no results file of these"):
        put(folder)
    assert not hub.requests
    (folder / "metrics.json").write_text('{"test": {"perplexity": 12.5004}}')
    assert put(folder).version.name == "v1"
