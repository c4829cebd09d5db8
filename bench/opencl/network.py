"""The step of a whole network as a plan: embedding row, recurrent layers, output layer, best words.

Letters: V vocabulary, H hidden, O layer output.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.forms import LowRank
from zoo.plain_network import check_plain
from zoo.runtime import Layer, NumpyModel

from .packing import gate_order, in_order, is_half, take
from .plan import BYTES, FLOATS, INTS, LEAVES, Plan, rows_of
from .screen import fields_of
from .settings import Settings


def plan_of(
    model: NumpyModel, settings: Settings, half: bool, top: int, unpacked: bool = False, screen: bool = False
) -> Plan:
    """The step of a model.

    Args:
        half: floats of the matrices are stored in 16 bits; sums are in 32 either way.
        top: how many of the best words.
        unpacked: integers become floats.
        screen: of an 8-bit output layer only rows with a chance are read whole, where the step has one work-item; the
            best words are the same, `logits` of all others approximate.

    Raises:
        ZooError: a model with Mogrifier gating or several softmaxes.
    """
    check_plain(model.layout, "the OpenCL step", "take numpy, torch or onnx (zoo export --to onnx)")
    layout, plan = model.layout, Plan(settings, top, half, unpacked, screen)
    tied = model.head is model.embedding
    x = plan.vector("x", layout.embedding_size)
    plan.row("head" if tied else "embed", model.embedding, x, shared=tied)
    for number, layer in enumerate(model.layers):
        x = layer_of(plan, number, layer, layout.cell, layout.hidden_size, x)
    if model.output_projection is not None:
        features = plan.vector("features", layout.feature_size)
        plan.product("output_projection", model.output_projection, x, features)
        x = features
    V = layout.vocab_size
    plan.vector("logits", V, -np.inf)
    bias = np.broadcast_to(model.head_bias, (V,))
    output(plan, "head", model.head, x, bias)
    return plan


def layer_of(plan: Plan, number: int, layer: Layer, cell: str, hidden: int, x: str) -> str:
    """One recurrent layer; the name of its output."""
    name, O = f"layer{number}", hidden if layer.projection is None else rows_of(layer.projection)
    h, after = plan.vector(f"h.{number}.before", O), plan.vector(f"h.{number}.after", O)
    out = after if layer.projection is None else plan.vector(f"{name}.out", hidden)
    if cell in ("lstm", "cifg"):
        plan.vector(f"c.{number}", hidden)
        _lstm(plan, name, number, layer, hidden, cell == "cifg", x, h, out)
    elif cell == "rnn":
        sums = plan.vector(f"{name}.sums", hidden)
        plan.product(f"{name}.input", layer.input, x, sums, layer.bias)
        plan.product(f"{name}.recurrent", layer.recurrent, h, sums, add=True)
        plan.call("tanh", {"UNITS": hidden, "AT": 0}, [(FLOATS, sums), ("float", out)], items=hidden)
    else:
        _gru(plan, name, layer, hidden, O, x, h, after)
        return after
    if layer.projection is not None:
        plan.product(f"{name}.projection", layer.projection, out, after)
    return after


def _lstm(plan: Plan, name: str, number: int, layer: Layer, H: int, coupled: bool, x: str, h: str, out: str) -> None:
    """In one call where both matrices are stored number by number, else product by product.

    coupled: a CIFG, whose forget gate is 1 - i.
    """
    c = ("float", f"c.{number}")
    if not isinstance(layer.input, LEAVES) or not isinstance(layer.recurrent, LEAVES):
        sums = plan.vector(f"{name}.sums", (3 if coupled else 4) * H)
        plan.product(f"{name}.input", layer.input, x, sums, layer.bias)
        plan.product(f"{name}.recurrent", layer.recurrent, h, sums, add=True)
        plan.call("lstm", {"UNITS": H, "COUPLED": int(coupled)}, [(FLOATS, sums), c, ("float", out)], items=H)
        return
    order = gate_order(H, plan.settings, coupled)
    fields: dict[str, Any] = {"UNITS": H, "COUPLED": int(coupled)}
    scratch, args = 0, []
    for side, matrix in (("X", layer.input), ("H", layer.recurrent)):
        packed = plan.matrix(f"{name}.{side}", matrix, order, plan.half)
        plan.touched += packed.touched
        fields |= {f"STAGE_{side}(v, x)": packed.stage, f"DOT_{side}(w, s, v, tile)": packed.dot}
        fields |= {f"OFFSET_{side}": packed.offset, f"AT_{side}": scratch, "TILES": packed.tiles}
        args += [(BYTES, f"{name}.{side}.w"), (BYTES, f"{name}.{side}.s")]
        scratch += packed.scratch
    told, bias = plan.narrow_bias(plan.array(f"{name}.bias", take(layer.bias, order)))
    fields |= told
    sums = plan.vector(f"{name}.sums", len(order))
    args += [bias, (FLOATS, x), (FLOATS, h), ("float", sums), c, ("float", out)]
    plan.call("gates", fields, args, scratch=scratch, items=int(fields["TILES"]))


def _gru(plan: Plan, name: str, layer: Layer, H: int, O: int, x: str, h: str, after: str) -> None:
    """Eq. 16-19; with a projection eq. 21, which resets before the product."""
    rows = 3 * H if layer.candidate is None else 2 * O + H
    sums = plan.vector(f"{name}.sums", rows)
    plan.product(f"{name}.input", layer.input, x, sums, layer.bias)
    if layer.candidate is None:
        past = plan.vector(f"{name}.past", rows)
        plan.product(f"{name}.recurrent", layer.recurrent, h, past)
        bias = plan.bias(f"{name}.candidate", layer.candidate_bias, H)
        args = [(FLOATS, sums), (FLOATS, past), (FLOATS, bias), (FLOATS, h), ("float", after)]
        plan.call("gru", {"UNITS": H}, args, items=H)
        return
    z, rh = plan.vector(f"{name}.z", O), plan.vector(f"{name}.rh", O)
    new, out = plan.vector(f"{name}.new", O), plan.vector(f"{name}.out", H)
    plan.product(f"{name}.recurrent", layer.recurrent, h, sums, add=True)
    args = [(FLOATS, sums), (FLOATS, h), ("float", z), ("float", rh)]
    plan.call("gru_reset", {"UNITS": O}, args, items=O)
    plan.product(f"{name}.candidate", layer.candidate, rh, sums, at=2 * O, add=True)
    plan.call("tanh", {"UNITS": H, "AT": 2 * O}, [(FLOATS, sums), ("float", out)], items=H)
    plan.product(f"{name}.projection", layer.projection, out, new)
    args = [(FLOATS, new), (FLOATS, z), (FLOATS, h), ("float", after)]
    plan.call("gru_mix", {"UNITS": O}, args, items=O)


def output(plan: Plan, name: str, form: Any, x: str, bias: np.ndarray) -> None:
    """The output layer and its best words; in one call where the last matrix is stored number by number."""
    if isinstance(form, LowRank):
        between = plan.vector(f"{name}.between", rows_of(form.right))
        plan.product(f"{name}.right", form.right, x, between)
        output(plan, f"{name}.left", form.left, between, bias)
    elif isinstance(form, LEAVES):
        screen = plan.screened(name, form)
        filled = plan.bias(name, bias, len(bias), -np.inf)
        fields, args, more = plan.tiles(name, screen.upper if screen else form, filled)
        if screen:
            halfs = bool(is_half(plan.packed[name], in_order(len(bias), plan.settings))), fields["NUMBERS"] == "half"
            fields |= fields_of(screen, *halfs, second=more["scratch"])
            plan.touched += screen.reach.nbytes
            more["scratch"] += screen.scratch
            args += [(BYTES, f"{name}.rows"), (BYTES, f"{name}.reach")]
        _answer(plan, "screen" if screen else "output", fields, [*args, (FLOATS, x), ("float", "logits")], **more)
    else:
        plan.product(name, form, x, "logits", bias)
        best(plan, len(bias))


def best(plan: Plan, V: int) -> None:
    """The `top` best ids and their log probabilities, from the vector `logits` to the buffer `result`."""
    tiles = -(-V // plan.settings.rows)
    _answer(plan, "top", {"TILES": tiles}, [(FLOATS, "logits")], items=tiles)


def _answer(
    plan: Plan, file: str, fields: dict[str, Any], args: list[tuple[str, str]], items: int, scratch: int = 0
) -> None:
    """The call that finds the best, and another one where several work-items share in it."""
    one = plan.settings.one_launch and plan.settings.lanes == 1
    plan.vectors["result"] = np.zeros(2 * plan.top, np.int32)
    into = ("int", "result" if one else "parts")
    plan.call(file, {**fields, "IS_ALONE": int(one)}, [*args, into], items=items, scratch=scratch)
    if not one:
        groups = 1 if plan.settings.one_launch else plan.settings.groups or -(-items // plan.settings.lanes)
        parts = groups * plan.settings.lanes
        plan.vectors["parts"] = np.zeros(parts * (2 * plan.top + 2), np.int32)
        scratch = plan.settings.lanes * (2 * plan.top + 2)
        plan.call("merge", {"PARTS": parts}, [(INTS, "parts"), ("int", "result")], scratch=scratch)
