"""Names and folders of checkpoints, and what is said of damaged ones. No torch: the files are written by hand."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from zoo import catalog, hub
from zoo.errors import CheckpointError

WORDS = ["<eos>", "<unk>", "a", "b", "c"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint folder, whole as far as `verify` looks."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "rnnlm", "vocab_size": len(WORDS)}))
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    added = [{"id": 0, "content": "<eos>"}]
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}, "added_tokens": added}))
    (folder / "tokenizer_config.json").write_text("{}")
    tensors = {"lm_head.bias": np.zeros(5, np.float16), "model.embed_tokens.weight": np.ones((5, 3), np.float16)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder as the only checkpoint of a catalog."""
    (folder / "recipe.toml").write_text('name = "tiny"\n')
    names = (*hub.NEEDED, "recipe.toml")
    entry = catalog.Entry(
        name="tiny",
        description="",
        parent=None,
        parameters=20,
        nonzeros=15,
        bytes=0,
        quality={},
        sha256={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names},
    )
    monkeypatch.setattr(catalog, "CHECKPOINTS", folder.parent)
    monkeypatch.setattr(hub, "CHECKPOINTS", folder.parent)
    monkeypatch.setattr(hub, "entries", lambda: {"tiny": entry})
    return folder


def test_folder_of_an_existing_folder(folder: Path):
    assert hub.folder_of(folder) == hub.folder_of(str(folder)) == folder


def test_folder_of_a_shipped_name(shipped: Path):
    assert hub.folder_of("tiny") == shipped


@pytest.mark.parametrize("name", ["tinny", "../tiny", "", "./nowhere", "a/b/c", "owner/name@", "tiny@"])
def test_unknown_name_lists_what_is_allowed(shipped: Path, name: str):
    with pytest.raises(CheckpointError, match=r"shipped: tiny.*owner/name\[@revision\].*zoo list") as caught:
        hub.folder_of(name)
    assert "\n" not in str(caught.value)


def test_close_match_is_offered(shipped: Path):
    with pytest.raises(CheckpointError, match="did you mean tiny"):
        hub.folder_of("tinny")


def test_catalog_row_without_files(shipped: Path):
    shipped.rename(shipped.with_name("elsewhere"))
    with pytest.raises(CheckpointError, match="they are in a clone of the project"):
        hub.folder_of("tiny")


@pytest.mark.parametrize(
    ("given", "revision"), [("owner/name@v1", None), ("owner/name", "v1"), ("owner/name@v1", "v1")]
)
def test_repository_is_downloaded_at_its_revision(given, revision, tmp_path, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def fetch(repo_id, revision, sha256):
        calls.append((repo_id, revision))
        return tmp_path

    monkeypatch.setattr(hub, "fetch", fetch)
    assert hub.folder_of(given, revision) == tmp_path
    assert calls == [("owner/name", "v1")]


def test_two_revisions_are_refused():
    with pytest.raises(CheckpointError, match="give one of them"):
        hub.folder_of("owner/name@v1", "v2")


def test_unreachable_repository_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def fail(*args, **kwargs):
        raise ConnectionError("no route\nsecond line")

    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", fail)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(CheckpointError, match=r"owner/name@main cannot be had: .*no route second line") as caught:
        hub.folder_of("owner/name")
    assert "\n" not in str(caught.value)


def test_whole_folder_passes(folder: Path, shipped: Path):
    hub.verify(folder)


@pytest.mark.parametrize("name", hub.NEEDED)
def test_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"lacks {name}"):
        hub.verify(folder)


@pytest.mark.parametrize("kept", [0, 4, 8, 60, -1])
def test_truncated_weights(folder: Path, kept: int):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged.*get it again"):
        hub.verify(folder)


@pytest.mark.parametrize("change", ["longer", "header", "length", "shape", "dtype"])
def test_corrupted_weights(folder: Path, change: str):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    changed = {
        "longer": content + b"\0",
        "header": content[:8] + b"\xff" + content[9:],
        "length": b"\xff" * 8 + content[8:],
        "shape": content.replace(b"[5,3]", b"[5,4]"),
        "dtype": content.replace(b'"F16"', b'"F17"'),
    }[change]
    assert changed != content
    path.write_bytes(changed)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged.*get it again"):
        hub.verify(folder)


def test_lfs_pointer(folder: Path):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        hub.verify(folder)


def test_flipped_bit_in_a_shipped_file(shipped: Path):
    path = shipped / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not the file of the catalog.*git checkout"):
        hub.verify(shipped)


def test_lost_file_of_a_shipped_checkpoint(shipped: Path):
    (shipped / "recipe.toml").unlink()
    with pytest.raises(CheckpointError, match=r"recipe\.toml is not the file of the catalog"):
        hub.verify(shipped)


def test_checkpoint_built_anew_can_be_used_before_it_is_measured(shipped: Path):
    (shipped / "recipe.toml").write_text('name = "tiny"\n[built]\nseconds = 5\n')
    (shipped / "tokenizer_config.json").write_text('{"changed": true}')
    hub.verify(shipped)


def test_copy_elsewhere_is_not_held_to_the_catalog(shipped: Path, tmp_path: Path):
    copy = tmp_path / "mine" / "tiny"
    copy.parent.mkdir()
    shipped.rename(copy)
    (copy / "tokenizer_config.json").write_text('{"changed": true}')
    hub.verify(copy)


def test_config_of_another_architecture(folder: Path):
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CheckpointError, match="'gpt2'; the zoo reads 'rnnlm'"):
        hub.verify(folder)


@pytest.mark.parametrize("content", ["{", "[]", "\0\1"])
def test_unreadable_config(folder: Path, content: str):
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        hub.verify(folder)


@pytest.mark.parametrize("words", [WORDS[:-1], [*WORDS, "d"]])
def test_tokenizer_of_another_vocabulary(folder: Path, words: list[str]):
    vocabulary = {word: index for index, word in enumerate(words)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    with pytest.raises(CheckpointError, match=f"another vocabulary: it has {len(words)} words.*vocab_size 5"):
        hub.verify(folder)


@pytest.mark.parametrize("size", ["5", None, 5.5, 10**15])
def test_vocabulary_size_that_is_none(folder: Path, size: object):
    (folder / "config.json").write_text(json.dumps({"model_type": "rnnlm", "vocab_size": size}))
    with pytest.raises(CheckpointError, match="another vocabulary"):
        hub.verify(folder)


def test_ids_with_a_gap(folder: Path):
    vocabulary = {word: index if index < 4 else 9 for index, word in enumerate(WORDS)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    with pytest.raises(CheckpointError, match="another vocabulary"):
        hub.verify(folder)


def test_tokenizer_of_another_kind(folder: Path):
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": [["a", 0.5]]}}))
    with pytest.raises(CheckpointError, match="no word-level tokenizer"):
        hub.verify(folder)


def test_header_offsets_are_those_of_the_file(folder: Path):
    path = folder / "model.safetensors"
    entry = hub.read_header(path)["model.embed_tokens.weight"]
    first, last = entry["data_offsets"]
    assert np.array_equal(np.frombuffer(path.read_bytes()[first:last], np.float16), np.ones(15))


def test_import_is_cheap():
    slow = {"torch", "transformers", "huggingface_hub", "numpy"}
    code = f"import sys, zoo.hub; print(sorted({slow} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
