"""kill -9 at ten random moments of publishing and of pulling: nothing half is ever taken for whole."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo import published
from zoo.errors import CheckpointError
from zoo.fetching import sha256_of
from zoo.hub import folder_of
from zoo.publishing import publish
from zoo.pulling import pull

from .conftest import Hub, use_cache

pytestmark = [
    pytest.mark.usefixtures("quick"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copied"),
]
MOMENTS = 10
SLOW = {"method": "ANY", "path": "^/(?!_test)", "kind": "slow", "seconds": 0.02}


def run_and_kill(work: Callable[[], object], seconds: float | None) -> float:
    """Does something in a copy of this process, and kills it after some seconds; how long it ran."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work()
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        deadline = start + seconds
        while time.monotonic() < deadline and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.005)
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:  # it was done before, and has been waited for
            return time.monotonic() - start
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    return time.monotonic() - start


def test_publishing(hub: Hub, make, name: str):
    hub.faults(SLOW)
    whole = make(f"{name}-whole")
    seconds = run_and_kill(lambda: publish(whole, "org", with_onnx=False), None)
    files = set(hub.repository(f"org/{name}-whole")["commits"][published.versions(f"{name}-whole")[0].revision])
    moments = random.Random(name)
    stopped = 0
    for number in range(MOMENTS):
        folder, repo_id = make(f"{name}-{number}"), f"org/{name}-{number}"
        run_and_kill(lambda folder=folder: publish(folder, "org", with_onnx=False), moments.uniform(0.1, 1) * seconds)
        versions = published.versions(folder.name)
        try:
            there = hub.repository(repo_id)
        except KeyError:
            there = {"tags": {}, "commits": {"first": {".gitattributes": ""}}}
        for commit in there["tags"].values():
            assert set(there["commits"][commit]) == files
        for found in there["commits"].values():
            assert set(found) in ({".gitattributes"}, files)  # never a part of the files
        for version in versions:
            assert there["tags"] == {version.name: version.revision}
        stopped += not versions
        done = publish(folder, "org", with_onnx=False)
        there = hub.repository(repo_id)
        assert there["tags"] == {"v1": there["head"]} and len(there["commits"]) == 2
        assert published.versions(folder.name) == [done.version]
    assert stopped > 0


def test_pulling(hub: Hub, make, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = make(name)
    publish(folder, "org", with_onnx=False)
    sha256 = dict(published.versions(name)[0].sha256)
    hub.faults(SLOW)
    use_cache(monkeypatch, tmp_path / "whole")
    seconds = run_and_kill(lambda: pull(name, tmp_path / "got-whole"), None)
    moments = random.Random(name)
    stopped = 0
    for number in range(MOMENTS):
        use_cache(monkeypatch, tmp_path / f"cache-{number}")
        got = tmp_path / f"got-{number}"
        run_and_kill(lambda got=got: pull(name, got), moments.uniform(0.05, 1) * seconds)
        if got.exists():
            assert {path.name: sha256_of(path) for path in got.iterdir()} == sha256
        stopped += not got.exists()
        with monkeypatch.context() as offline:
            offline.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
            for asked in (name, f"org/{name}"):
                try:
                    found = folder_of(asked)
                except CheckpointError as error:
                    assert "cache" in str(error)
                else:
                    assert all(sha256_of(path) == sha256[path.name] for path in found.iterdir())
                    assert len([path for path in found.iterdir() if not path.name.endswith(".py")]) == 6
        pull(name, got)
        assert {path.name: sha256_of(path) for path in got.iterdir()} == sha256
    assert stopped > 0
