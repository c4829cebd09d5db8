"""Puts a folder with a static page on the Hub as a Space, the way that checkpoints are published."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .completion import refuse_secrets
from .errors import CheckpointError
from .fetching import sha256_of
from .published import SPACES, Version, record, target, write
from .publishing import Publication, repository_of, require_token, version_of
from .remote import PICKLES
from .uploading import carry_out, plan

PAGE, CARD = "index.html", "README.md"
DATA = (".bin",)  # which a page may well read as plain numbers
LINK = re.compile(r"""<(?:script|link|img|source|audio|video)\b[^>]*?\b(?:src|href)\s*=\s*["']([^"']+)["']""", re.I)


def publish_space(
    folder: str | Path,
    to: str,
    private: bool = False,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Publication:
    """Uploads a static page in one commit, tags it and records it; arguments and errors as in `publishing.publish`.

    Args:
        folder: holds index.html and everything that it loads; hidden files are left out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"there is no folder {str(folder)!r}; type: zoo publish --space FOLDER --to OWNER/NAME")
    known_as = folder.resolve().name
    repo_id = repository_of(to, known_as)
    names = _names(folder)
    _refuse_incomplete(folder, names)
    if not dry_run:
        require_token()
        target()
    with tempfile.TemporaryDirectory(prefix="zoo-publish-") as temporary:
        whole = Path(temporary)
        for name in names:
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, whole / name)
        _complete_card(whole / CARD, repo_id)
        refuse_secrets(whole)
        sha256 = {path.relative_to(whole).as_posix(): sha256_of(path) for path in whole.rglob("*") if path.is_file()}
        found = plan(whole, repo_id, "space", private, dry_run).with_files(sha256)
        version = version_of(repo_id, SPACES, found)
        if dry_run:
            return Publication(known_as, found, version, bool(found.changes))
        tell(f"{known_as}: {found.told()} to {repo_id}")
        commit = carry_out(found, version.name)
    version = Version(version.name, sha256, repo_id, commit)
    recorded = record(repo_id, version, SPACES)
    return Publication(known_as, found, version, bool(found.changes) or recorded)


def _names(folder: Path) -> list[str]:
    """The files of a folder, hidden ones and caches of Python left out."""
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.as_posix() for path in paths if not any(part.startswith((".", "__pycache__")) for part in path.parts)]


def _refuse_incomplete(folder: Path, names: list[str]) -> None:
    """Refuses a folder without a page, with a pickle, or whose page loads a file that is not there."""
    if PAGE not in names:
        raise CheckpointError(f"{folder} has no {PAGE}, so it is no static page; add it, or name another folder")
    pickles = [name for name in names if name.endswith(PICKLES) and not name.endswith(DATA)]
    if pickles:
        raise CheckpointError(
            f"{folder} has {', '.join(pickles[:3])}, which can run code when it is loaded; move it away"
        )
    for link in LINK.findall((folder / PAGE).read_text(encoding="utf-8", errors="replace")):
        parts = urlsplit(link)
        path = unquote(parts.path)
        is_beside = not parts.scheme and not parts.netloc and path and not path.startswith("/")
        if is_beside and Path(path).as_posix() not in names:
            raise CheckpointError(f"{folder / PAGE} loads {link}, which is not in the folder; add it")


def _complete_card(card: Path, repo_id: str) -> None:
    """Writes the card by which the Hub knows that the Space is static, or refuses one that says otherwise."""
    try:
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{CARD} of the Space is no UTF-8 text; save it as such") from error
    if not text.startswith("---\n"):
        title = repo_id.partition("/")[2]
        head = f"---\ntitle: {title}\nsdk: static\napp_file: {PAGE}\npinned: false\n---\n\n"
        write(card, head + (text or f"# {title}\n"))
    elif not re.search(r"^sdk:\s*static\s*$", text.split("\n---")[0], re.M):
        raise CheckpointError(f"{CARD} of the Space does not say `sdk: static` in its first lines; write it there")
