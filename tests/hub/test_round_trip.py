"""There and back with nothing left out: the commands as processes, and a reader who has no package of ours."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.zoo.folders import write_classifier
from tests.zoo.models import VOCABULARY
from zoo.cli import main
from zoo.digest import digest_of
from zoo.loading import load, load_classifier
from zoo.publishing import publish
from zoo.pulling import pull

from .conftest import TOKEN, Hub, use_cache

ROOT = Path(__file__).parents[2]
READER = """
import sys
for package in ("zoo", "conversion", "bench", "model_cards"):
    sys.modules[package] = None  # importing it raises ImportError
import json, math, os, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
repo_id, revision = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(repo_id, trust_remote_code=True, revision=revision)
tokenizer = AutoTokenizer.from_pretrained(repo_id, trust_remote_code=True, revision=revision)
ids = torch.arange(200)[None] * 7 % model.config.vocab_size
with torch.inference_mode():
    logits = model(ids).logits
    perplexity = math.exp(torch.nn.functional.cross_entropy(logits[0, :-1].double(), ids[0, 1:]).item())
print(json.dumps({"logits": logits.double().tolist(), "perplexity": perplexity, "words": len(tokenizer)}))
"""


def zoo(*arguments: object, told: list[str]) -> str:
    """Runs the command as a process; what it prints joins `told`."""
    command = [sys.executable, "-m", "zoo", *map(str, arguments)]
    environment = {**os.environ, "HF_DEBUG": "1"}  # the client logs its requests
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    told += [done.stdout, done.stderr]
    assert done.returncode == 0, done.stderr
    return done.stdout


def evaluated(name: object, text: Path, capsys: pytest.CaptureFixture[str]) -> float:
    """The perplexity that the command prints."""
    capsys.readouterr()
    assert main(["evaluate", str(name), "--corpus", str(text), "--split", "test", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["perplexity"]


def test_a_language_model(hub: Hub, make, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    folder, told = make(name, projected=True, form="low_rank"), list[str]()
    text, repo_id = tmp_path / "story.txt", f"org/{name}-on-the-hub"
    text.write_text("w2 w3 w4 strange\nw5 w6\n" * 20)
    (row,) = json.loads(zoo("publish", folder, "--to", repo_id, "--json", told=told))["published"]
    assert row["version"] == "v1" and ("onnx/model.onnx" in row["sha256"]) == bool(importlib.util.find_spec("onnx"))

    use_cache(monkeypatch, tmp_path / "empty")
    zoo("pull", name, "--to", tmp_path / "by-name", told=told)
    zoo("pull", f"{repo_id}@{row['revision']}", "--to", tmp_path / "by-revision", told=told)
    perplexity, expected = evaluated(folder, text, capsys), digest_of(load(folder)[0])
    for asked in (name, f"{name}@v1", tmp_path / "by-name", tmp_path / "by-revision", f"{repo_id}@{row['revision']}"):
        assert evaluated(asked, text, capsys) == perplexity and digest_of(load(str(asked))[0]) == expected
    for got in ("by-name", "by-revision"):
        assert {path.name for path in (tmp_path / got).iterdir()} == {file.partition("/")[0] for file in row["sha256"]}

    ids = torch.arange(200)[None] * 7 % VOCABULARY
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        logits = load(folder)[0](ids).logits
        expected_perplexity = math.exp(torch.nn.functional.cross_entropy(logits[0, :-1].double(), ids[0, 1:]).item())
    torch.set_num_threads(threads)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["HF_HOME"] = str(tmp_path / "reader")
    command = [sys.executable, "-c", READER, repo_id, row["revision"]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["logits"] == logits.double().tolist() and found["words"] == VOCABULARY
    assert found["perplexity"] == expected_perplexity

    told += [done.stdout, done.stderr]
    assert TOKEN not in "".join(told)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_a_text_classifier(hub: Hub, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    folder = tmp_path / name
    folder.mkdir()
    write_classifier(folder)
    done = publish(folder, "org", private=True)  # with the clean process
    assert not [file for file in done.version.sha256 if file.startswith("onnx/")]
    use_cache(monkeypatch, tmp_path / "empty")
    pull(f"{name}@v1", tmp_path / "got")
    assert digest_of(load_classifier(tmp_path / "got")[0]) == digest_of(load_classifier(folder)[0])
    capsys.readouterr()
    assert main(["check", str(tmp_path / "got")]) == 0
    assert "got is whole; the digest of its outputs" in capsys.readouterr().out

    (tmp_path / "got" / "modeling_rnnlm.py").write_text("raise RuntimeError('of another release')\n")
    assert main(["check", str(tmp_path / "got")]) == 2
    assert "has code that is not this package's (modeling_rnnlm.py), and checking runs it" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "got"), "--trust-remote-code"]) == 2
    assert "does not load from its files alone: RuntimeError: of another release" in capsys.readouterr().err
