"""Whether a run may go on: it must not have diverged, and a saved one must fit the recipe at hand.

A run goes on under another `priority`, `description` or `training.save_every`, other `epochs` or `patience` of the
stage that it is in, and anything in the stages that it has not reached, new ones too; steps of compression come after
all stages and are compared by the pipeline. All else would mix two recipes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.errors import RecipeError

from .recipe import Recipe, Training

FREE = ("text", "priority", "description", "training.save_every")
FREE_IN_STAGE = ("epochs", "patience")


def refuse_changes(state: dict[str, Any], recipe: Recipe, run: Path, texts: str = "") -> None:
    """Compares the recipe and the texts of a saved state with the present ones.

    Args:
        texts: `tasks.fingerprint` of the present ones; a state of before they were noted is not compared.

    Raises:
        RecipeError: names every key whose change would spoil the run, and how to start anew.
    """
    if state.get("texts", texts) != texts:
        raise RecipeError(other_texts(recipe, run))
    current = state["position"]["stage"]
    since = _flat({"training": dataclasses.asdict(Training())})  # an option that came after the run began had no effect
    old, new = {**since, **_flat(state["recipe"])}, _flat(dataclasses.asdict(recipe))
    changed = [
        f"{key} ({old.get(key, 'none')} -> {new.get(key, 'none')})"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not _is_free(key, current)
    ]
    if changed:
        raise RecipeError(
            f"recipe {recipe.name} was changed since its run began: {', '.join(changed)}; "
            f"change it back, or to start anew remove the folder {run}"
        )


def other_texts(recipe: Recipe, run: Path) -> str:
    """Says that weights and words no longer belong together."""
    return (
        f"the texts of corpus {recipe.corpus}, or their vocabulary, are not those that the run of {recipe.name} began "
        f"with; give those, or to start anew remove the folder {run}"
    )


def divergence(recipe: Recipe, run: Path, tokens: int, what: str) -> RecipeError:
    """The error that ends a run whose numbers went out of bounds; the last saved state is from before."""
    return RecipeError(
        f"recipe {recipe.name} diverged: {what} after {tokens:,} tokens; "
        f"lower lr or clip, and to start anew remove the folder {run}"
    )


def collapse(loss: float, best: float, run: Path) -> str:
    """What a run says whose validation loss jumps, in nats; its best weights are kept in any case."""
    return (
        f"validation jumped from {best:.4g} to {loss:.4g} nats: if it does not come back, stop with Ctrl-C, "
        f"lower lr or clip, and to start anew remove the folder {run}"
    )


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"training": {"clip": 1}, "stage": [{"lr": 2}]} -> {"training.clip": 1, "stage.0.lr": 2}."""
    return dict(_items(table, prefix))


def _items(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _items(item, f"{key}.{name}" if key else name)
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        for i, item in enumerate(value):
            yield from _items(item, f"{key}.{i}")
    else:
        yield key, list(value) if isinstance(value, tuple) else value


def _is_free(key: str, current: int) -> bool:
    if key in FREE:
        return True
    head, _, rest = key.partition(".")
    if head == "compress":
        return True
    if head != "stage":
        return False
    number, _, name = rest.partition(".")
    return int(number) > current or (int(number) == current and name in FREE_IN_STAGE)
