"""A Hub for the tests: the small server as a process, this process pointed at it, and checkpoints to publish."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from tests.zoo.folders import write_checkpoint
from tests.zoo.models import fill, model_of
from zoo import completion
from zoo.digest import digest_of
from zoo.loading import load_any

TOKEN = "hf_tester_may_write"


class Hub:
    """The server, and what a test asks of it."""

    def __init__(self, url: str):
        self.url = url

    def faults(self, *faults: dict[str, Any]) -> None:
        self._ask("faults", list(faults))

    def forget(self) -> None:
        self._ask("forget", [])

    @property
    def requests(self) -> list[list[str]]:
        return self._ask("state", [])["requests"]

    def repository(self, repo_id: str, kind: str = "models") -> dict[str, Any]:
        """head, tags, private, commits: oid -> files."""
        return self._ask("state", [])["repositories"][f"{kind}/{repo_id}"]

    def _ask(self, what: str, content: Any) -> Any:
        request = urllib.request.Request(f"{self.url}/_test/{what}", json.dumps(content).encode(), method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def server() -> Iterator[Hub]:
    command = [sys.executable, str(Path(__file__).with_name("server.py"))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield Hub(f"http://127.0.0.1:{process.stdout.readline().strip()}")
    process.kill()
    process.wait()


@pytest.fixture
def hub(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The server without faults; this process and those that it starts use it, with empty caches."""
    for name, value in environment(server, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE  # made of the endpoint when the client is imported
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + template[template.index("/{repo_id}") :])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    use_cache(monkeypatch, tmp_path / "home")
    waits = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: waits(min(seconds, 0.01)))  # before another try
    server.faults()
    yield server
    server.faults()


def environment(server: Hub, folder: Path) -> dict[str, str]:
    """The variables of a process that uses the server."""
    return {
        "HF_ENDPOINT": server.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_OFFLINE": "0",
        "ZOO_PUBLISHED": str(folder / "published.json"),
        "XDG_CONFIG_HOME": str(folder / "settings"),
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "*",
    }


def use_cache(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Makes a folder the cache of this process."""
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clean process is left out: a test of its own has it."""
    monkeypatch.setattr(completion, "clean_digest", lambda folder: digest_of(load_any(folder)[0]))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint folder of a name with random weights that no other test has."""

    def make(name: str, **options: Any) -> Path:
        seed = int.from_bytes(name.encode(), "big") % 2**31 + time.time_ns() % 1_000_003
        folder = tmp_path / "made" / name
        folder.mkdir(parents=True)
        with torch.random.fork_rng():
            return write_checkpoint(folder, fill(model_of(**options), seed))

    return make


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that is only this test's."""
    return f"test-{abs(hash(request.node.nodeid)) % 10**9}"
