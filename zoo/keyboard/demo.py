"""`zoo demo`: puts the page and models into one folder, and serves it.

The folder is complete: any server of static files will do, and it is a static Space as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ZooError
from ..fetching import sha256_of
from ..hub import folder_of
from .blocklist import BLOCKED
from .demo_models import first_words, put_model
from .demo_server import server_of
from .model import DEFAULT
from .personal import MIXTURE

PAGE = Path(__file__).with_name("page")
STEP = "rnnlm.wasm"  # made by conversion.exporters.wasm
CARD = """---
title: Keyboard of small recurrent language models
emoji: ⌨️
colorFrom: blue
colorTo: gray
sdk: static
app_file: index.html
pinned: false
license: apache-2.0
short_description: Next words on your device, offline after the first load
---

# A keyboard whose suggestions are computed in the page

Made by `zoo demo`. Nothing that is typed leaves the page. Models: {models}. First load: {size:.1f} MB.
"""


def main(arguments: Sequence[str], prog: str = "zoo demo") -> int:
    """Makes the page's folder, says what the first load is, and serves it until interrupted.

    Raises:
        ZooError: as `assemble`; options that leave nothing; an address that cannot be had.
    """
    given = _parser(prog).parse_args(arguments)
    if given.no_serve and given.out is None:
        raise ZooError("--no-serve without --out leaves nothing; type: zoo demo --no-serve --out DIR")
    with tempfile.TemporaryDirectory(prefix="zoo-demo-") as temporary:
        folder = Path(temporary if given.out is None else given.out).expanduser()
        first = assemble(folder, given.model or [DEFAULT])["first_load"]
        for path, size in first["files"].items():
            print(f"{size:>12,}  {path}")
        print(f"{first['bytes']:>12,}  bytes at the first load, in {folder}")
        if not given.no_serve:
            server = server_of(folder, given.host, given.port)
            shown = "localhost" if given.host == "127.0.0.1" else given.host
            print(f"http://{shown}:{server.server_port}/  (Ctrl+C ends it)", flush=True)
            with contextlib.suppress(KeyboardInterrupt), server:
                server.serve_forever()
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--model", metavar="NAME", action="append",
        help=f"a checkpoint; again for more, the first is what the page starts with (default: {DEFAULT})",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="folder that gets the page (default: one for this run alone)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (default: 8000)")
    parser.add_argument("--no-serve", action="store_true", help="write the folder only; needs --out")
    return parser


def assemble(folder: Path, models: Sequence[str | Path]) -> dict[str, Any]:
    """Writes the page with models into a folder; what its models.json says.

    Args:
        models: names, folders or `owner/name[@revision]`; the first is what the page starts with.

    Raises:
        CheckpointError: one is unknown or damaged, or two have the same name.
        ZooError: the package conversion is not there, or the folder holds something else.
    """
    names = [folder_of(name).resolve().name for name in models]
    if len(set(names)) < len(names):
        raise CheckpointError(f"two of the models are called the same ({', '.join(names)}); rename a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "models.json").is_file():
        raise ZooError(f"{folder} holds something that is no page of zoo demo; give --out an empty or a new folder")
    shutil.rmtree(folder / "models", ignore_errors=True)
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    entries = [put_model(folder, name) for name in models]
    rules = {"blocked": sorted(BLOCKED), "mixture": MIXTURE._asdict()}
    (folder / "rules.json").write_text(json.dumps(rules) + "\n", encoding="utf-8")
    (folder / "first_words.json").write_text(json.dumps(first_words(models[0])) + "\n", encoding="utf-8")
    page = sorted(path.relative_to(folder).as_posix() for path in (folder / file for file in _page_files()))
    first = [*page, "rules.json", "first_words.json", entries[0]["model"]]
    sizes = {path: (folder / path).stat().st_size for path in first}
    total = sum(sizes.values())
    content = {
        "default": names[0],
        "step": {"name": STEP, "sha256": sha256_of(folder / STEP)},
        "models": entries,
        "first_load": {"bytes": total, "files": sizes},
    }
    (folder / "models.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    card = CARD.format(models=", ".join(names), size=total / 1e6)
    (folder / "README.md").write_text(card, encoding="utf-8")
    # The service worker's list; its version is another one whenever a byte of the page is.
    known = [*first, "models.json"]
    version = hashlib.sha256(b"".join((folder / path).read_bytes() for path in known)).hexdigest()[:16]
    listed = json.dumps({"version": version, "first": known}, indent=1)
    (folder / "files.js").write_text(f"self.FILES = {listed};\n", encoding="utf-8")
    return content


def _page_files() -> list[str]:
    """The files of the page itself."""
    return [path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.is_file()]
