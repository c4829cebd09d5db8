"""The snippets of the pages for users run as they stand there, and every command of every page can be parsed."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from tests.hub.conftest import hub, quick, server  # noqa: F401  fixtures
from zoo.cli import DELEGATED, _parser
from zoo.publishing import publish

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(sh|python|bash|console)\n(.*?)^```$", re.M | re.S)
RUN = ("load", "evaluate", "publish", "add-a-variant", "fine-tune")  # of these pages every sh and python block
PUBLISHED = "lr-lstm-200-66-ptb"


@pytest.mark.parametrize("page", RUN)
def test_snippets_run(page: str, hub, quick, tmp_path: Path):  # noqa: F811
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    text = text.replace("OWNER", "org").replace("CLONE", str(ROOT))
    if f"org/{PUBLISHED}" in text:
        publish(PUBLISHED, "org", with_onnx=False)
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, module in (("zoo", "-m zoo"), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (commands / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    variables = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    variables |= {"ZOO_CACHE": str(tmp_path / "tokens"), "PYTHONWARNINGS": "ignore"}
    blocks = [found for found in BLOCK.findall(text) if found[0] in ("sh", "python")]
    assert blocks
    for language, group in groupby(blocks, key=lambda block: block[0]):
        script = "\n".join(content for _, content in group)
        command = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
        done = subprocess.run([*command, script], cwd=work, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every `zoo` command in a block of a page."""
    found = []
    for page in PAGES:
        for _, content in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in content.replace("\\\n", " ").splitlines():
                for part in line.split(" && "):
                    words = shlex.split(part, comments=True) if part.lstrip().startswith("zoo ") else []
                    if len(words) > 1 and "|" not in words:
                        found.append((page.name, words[1 : words.index(">") if ">" in words else None]))
    return found


class Parsed(Exception):
    """The arguments are right; nothing is to be done with them."""


def parse(self: argparse.ArgumentParser, given: list[str] | None = None, namespace=None) -> None:
    """As the method of this name, but that ends there."""
    _, unknown = self.parse_known_args(given, namespace)
    if not unknown:
        raise Parsed
    self.error(f"unknown: {unknown}")


@pytest.mark.parametrize(("page", "words"), [pytest.param(p, w, id=f"{p}: {' '.join(w)}") for p, w in commands()])
def test_commands_parse(page: str, words: list[str], monkeypatch: pytest.MonkeyPatch):
    command, *rest = words
    if command not in DELEGATED:
        _parser().parse_args(words)
        return
    module = importlib.import_module(DELEGATED[command][0])
    with pytest.raises(Parsed):
        monkeypatch.setattr("argparse.ArgumentParser.parse_args", parse)
        module.main(rest, prog=f"zoo {command}")


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
