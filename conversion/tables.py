"""A dataclass from a TOML table: every key, type and bound checked, errors that name what is allowed."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import field
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from zoo.errors import RecipeError

T = TypeVar("T")


def number(default: Any = dataclasses.MISSING, least: float = 0, most: float = float("inf")) -> Any:
    """A field whose values lie between `least` and `most`."""
    return field(default=default, metadata={"least": least, "most": most})


def refuse_unknown(table: dict, allowed: tuple[str, ...], where: str) -> None:
    """RecipeError for a key that is not allowed, with the nearest one that is."""
    for key in table:
        if key not in allowed:
            close = difflib.get_close_matches(key, allowed, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise RecipeError(f"{where}: unknown key {key!r}; {hint}allowed: {', '.join(allowed)}")


def read_table(cls: type[T], table: dict[str, Any], where: str) -> T:
    """A dataclass from a TOML table, every key and type checked."""
    if not isinstance(table, dict):
        raise RecipeError(f"{where} is {table!r}; it takes a table")
    fields = {entry.name: entry for entry in dataclasses.fields(cls) if entry.name != "text"}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    refuse_unknown(table, tuple(fields), where)
    values = {}
    for name, entry in fields.items():
        if name in table:
            value = _value(table[name], hints[name], f"{where}: {name}")
            if entry.metadata:
                least, most = entry.metadata["least"], entry.metadata["most"]
                if not all(least <= each <= most for each in (value if isinstance(value, tuple) else (value,))):
                    bounds = f"at least {least}" + (f", at most {most}" if most < float("inf") else "")
                    raise RecipeError(f"{where}: {name} is {table[name]}; allowed: {bounds}")
            values[name] = value
        elif entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
            raise RecipeError(f"{where}: {name} is missing; it takes {_name_of(hints[name])}")
    return cls(**values)


def _value(value: Any, hint: Any, where: str) -> Any:
    """One value of a TOML table as the type that its field declares."""
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return read_table(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is tuple and isinstance(value, list):
        kind, *rest = get_args(hint)
        if rest[0] is Ellipsis or len(value) == len(get_args(hint)):
            return tuple(_value(item, kind, f"{where}[{i}]") for i, item in enumerate(value))
    elif get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is hint:
        return value
    raise RecipeError(f"{where} is {value!r}; it takes {_name_of(hint)}")


def _name_of(hint: Any) -> str:
    """What a reader of an error message calls a type."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    if get_origin(hint) is tuple:
        kind, *rest = get_args(hint)
        if rest[0] is not Ellipsis:
            return "an array of two numbers"
        whats = {int: "whole numbers", float: "numbers", str: "texts"}
        return f"an array of {'tables' if dataclasses.is_dataclass(kind) else whats[kind]}"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a table"}
    return names.get(hint, "a table")
