"""The steps that the options of `zoo compress` name, as tables of a recipe."""

from __future__ import annotations

import argparse
import json
from typing import Any

from zoo.errors import RecipeError

STEP_OPTIONS = (
    "keep_units", "low_rank", "embedding_size", "layers", "embed", "head", "untie", "prune", "int8", "int4"
)  # fmt: skip
FORMS = "low_rank:RANK, tensor_train:ORDER,RANK or tensor_train:ROWxMODES/COLUMNxMODES/RANKS"


def steps_of(given: argparse.Namespace) -> list[str]:
    """One table of TOML for each step that the options name."""
    if given.int8 and given.int4:
        raise RecipeError("--int8 and --int4: a number is stored in one way; give one of them")
    steps: list[str] = []

    def untie(role: str) -> dict[str, Any]:
        """The field of the first step that can untie, of a matrix with this role."""
        fits = role in ("all", "embed", "head") and not any("untie = true" in step for step in steps)
        # A head that has a form of its own needs its own matrix in that step, and not before.
        return {"untie": True} if given.untie and fits and (role == "head" or not given.head) else {}

    if given.keep_units is not None:
        steps.append(table("prune_units", keep=given.keep_units))
    if given.low_rank is not None:
        steps.append(table("shared_projection", rank=given.low_rank))
    if given.embedding_size is not None:
        steps.append(table("narrow_embedding", size=given.embedding_size, untie=given.untie))
    for role in ("layers", "embed", "head"):
        if form := getattr(given, role):
            steps.append(form_step(role, form, untie(role)))
    if given.prune is None and given.prune_roles is not None:
        raise RecipeError("--prune-roles is of --prune SHARE; give both")
    if given.prune is not None:
        roles = [role.strip() for role in (given.prune_roles or "all").split(",")]
        first = next((role for role in roles if role in ("all", "embed", "head")), "")
        # What costs least by far without training (bench/results/*/one-shot.json).
        steps.append(
            table(
                "prune",
                roles=roles,
                sparsity=given.prune,
                criterion="curvature",
                scope="global",
                refit=True,
                **untie(first),
            )
        )
    if given.int8:
        steps.append(table("quantize", bits=8, **untie("all")))
    if given.int4:  # the search for limits is made again at every update of a fine-tuning
        how = {"limits": "coarse"} if given.fine_tune else {"limits": "error", "rounding": "compensated"}
        steps.append(table("quantize", bits=4, **how, **untie("all")))
    return steps


def form_step(role: str, form: str, untie: dict[str, Any]) -> str:
    """The step that an option such as `--head tensor_train:3,50` asks for."""
    method, _, rest = form.partition(":")
    try:
        if method == "low_rank":
            return table(method, roles=[role], rank=int(rest), **untie)
        if method == "tensor_train" and "/" in rest:
            rows, columns, ranks = rest.split("/")
            modes = {"row_modes": whole(rows, "x"), "column_modes": whole(columns, "x"), "ranks": whole(ranks, ",")}
            return table(method, roles=[role], **modes, **untie)
        if method == "tensor_train":
            order, rank = whole(rest, ",")
            return table(method, roles=[role], order=order, max_rank=rank, **untie)
    except ValueError:
        pass
    raise RecipeError(f"--{role} is {form!r}; it takes {FORMS}, e.g. low_rank:50 or tensor_train:3,40")


def whole(text: str, separator: str) -> list[int]:
    """Whole numbers with a separator between them."""
    return [int(part) for part in text.split(separator) if part]


def table(method: str, **fields: Any) -> str:
    """A table [[compress]] of TOML."""
    lines = [f'\n[[compress]]\nmethod = "{method}"']
    for name, value in fields.items():
        lines.append(f"{name} = {json.dumps(value)}")  # texts, numbers, switches and lists are written alike in TOML
    return "\n".join(lines) + "\n"
