"""Keys at the top of a recipe's text, before its first table, changed so that the rest stays as it was written."""

from __future__ import annotations

import json
import re


def has_key(text: str, name: str) -> bool:
    """Whether a key stands at the top."""
    return re.search(_line_of(name), _top(text)) is not None


def with_key(text: str, name: str, value: str | int) -> str:
    """The text with a value for a key at its top."""
    top, line = _top(text), f"{name} = {json.dumps(value)}"
    changed, count = re.subn(_line_of(name), lambda _: line, top, count=1)
    return (changed if count else f"{line}\n{top}") + text[len(top) :]


def _line_of(name: str) -> str:
    """A pattern for the line of a key."""
    return rf"""(?m)^[ \t]*["']?{name}["']?[ \t]*=.*$"""


def _top(text: str) -> str:
    return re.split(r"(?m)^[ \t]*\[", text, maxsplit=1)[0]
