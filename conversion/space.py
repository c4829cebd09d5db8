"""A space of recipes: which fields of one are drawn, and from what.

epochs: of every stage in a trial.
most_parameters: what is larger is drawn, but not trained; leave it out for no limit.
[fields]: "model.NAME", "training.NAME" or "stage.NAME" (of every stage) = one of
  {low, high} a number between them; with `step` on a grid from low, with `log = true` even in its logarithm; whole
  numbers where both are whole; {choices = [...]}; {same_as = "another field"}.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import RecipeError

from .recipe import FROM_CORPUS, Recipe, Stage, Training, model_fields
from .tables import read_table, refuse_unknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PARTS = ("model", "training", "stage")
Draw = Callable[[str, dict[str, Any]], Any]


@dataclass(frozen=True)
class Space:
    """What a space file says; `fields`: dotted name -> how it is drawn."""

    epochs: int
    fields: dict[str, dict[str, Any]]
    most_parameters: int | None = None


def read_space(path: Path) -> Space:
    """The space in a TOML file.

    Raises:
        RecipeError: no such file, no TOML, or a field that no recipe has or that cannot be drawn so.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"no space {str(path)!r}; give a TOML file such as conversion/spaces/small.toml") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is no TOML: {error}") from error
    refuse_unknown(table, ("epochs", "most_parameters", "fields"), str(path))
    epochs, fields, most = table.get("epochs"), table.get("fields"), table.get("most_parameters")
    if type(epochs) is not int or epochs < 1:
        raise RecipeError(f"{path}: epochs is {epochs!r}; it takes a whole number from 1, the epochs of a trial")
    if most is not None and (type(most) is not int or most < 1):
        raise RecipeError(f"{path}: most_parameters is {most!r}; it takes a whole number from 1, or leave it out")
    if not isinstance(fields, dict) or not fields:
        raise RecipeError(f'{path}: [fields] is empty; it takes e.g. "stage.lr" = {{low = 0.001, high = 0.01}}')
    for name, how in fields.items():
        _check(name, how, fields, f"{path}: {name}")
    return Space(epochs, fields, most)


def _check(name: str, how: Any, fields: dict[str, Any], where: str) -> None:
    """Refuses a field that no recipe has, or that cannot be drawn so."""
    part, _, field = name.partition(".")
    known = {
        "model": [one for one in model_fields() if one not in FROM_CORPUS],
        "training": [one.name for one in dataclasses.fields(Training)],
        "stage": [one.name for one in dataclasses.fields(Stage) if one.name != "epochs"],
    }
    refuse_unknown({part: None}, PARTS, where)
    refuse_unknown({field: None}, tuple(known[part]), where)
    keys = set(how) if isinstance(how, dict) else set()
    ranged = {"low", "high"} <= keys <= {"low", "high", "step", "log"} and _in_order(how)
    chosen = keys == {"choices"} and isinstance(how["choices"], list) and len(how["choices"]) > 0
    same = keys == {"same_as"} and "same_as" not in fields.get(how["same_as"], {"same_as": None})
    if not (ranged or chosen or same):
        raise RecipeError(
            f"{where} is {how!r}; it takes {{low, high}} with low below high and at most one of step and log, "
            "{choices = [...]}, or {same_as = \"another field\"}"
        )  # fmt: skip


def _in_order(how: dict[str, Any]) -> bool:
    """Whether a range has an inside."""
    numbers = [how["low"], how["high"], *([how["step"]] if "step" in how else [])]
    if not all(type(number) in (int, float) for number in numbers) or not how["low"] < how["high"]:
        return False
    if how.get("log", False):
        return how["log"] is True and how["low"] > 0 and "step" not in how
    return how.get("step", 1) > 0


def drawn(recipe: Recipe, space: Space, draw: Draw, name: str) -> Recipe:
    """The recipe of a trial.

    Args:
        draw: called with a field's name and how it is drawn, gives its value.
        name: of the trial's recipe.

    Raises:
        RecipeError: the values do not fit together.
    """
    values = {field: draw(field, how) for field, how in space.fields.items() if "same_as" not in how}
    values |= {field: values[how["same_as"]] for field, how in space.fields.items() if "same_as" in how}
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for field, value in values.items():
        part, _, key = field.partition(".")
        parts[part][key] = value
    parts["stage"]["epochs"] = space.epochs
    model = {**recipe.model, **parts["model"]}
    training = _checked(Training, recipe.training, parts["training"], f"{name}, [training]")
    stages = tuple(_checked(Stage, stage, parts["stage"], f"{name}, [[stage]]") for stage in recipe.stage)
    return dataclasses.replace(recipe, name=name, model=model, training=training, stage=stages)


def _checked(cls: Any, part: Any, changes: dict[str, Any], where: str) -> Any:
    """A part of a recipe with changes, its types and bounds checked as a file's are."""
    table = json.loads(json.dumps({**dataclasses.asdict(part), **changes}))  # tuples as lists
    return read_table(cls, table, where)
