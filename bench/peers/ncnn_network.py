"""The network as ncnn's layers: matrices dense or in factors; a cell without a layer of its own out of smaller ones.

Letters: V vocabulary, M rows, N columns, O layer output, H hidden, P projection; n vectors: 1 but for Tensor Trains.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.weights_rnnlm import FORMS

from .ncnn_graph import DIFFERENCE, PRODUCT, SUM, SWAP, Graph
from .network import joined

FACTORED = (FORMS["low_rank"], FORMS["tensor_train"])


def network(folder: Path, variant: str) -> tuple[str, bytes]:
    """The layers and the weights: `token` [1] and `before.*` [1, O or H] -> `logits` [1, V] and `after.*`."""
    model = joined(folder)
    g = Graph(variant)
    x = lookup(g, model.model.embed_tokens, g.input("token"))
    for number, layer in enumerate(model.model.layers):
        h = g.input(f"before.{number}.h")
        c = g.input(f"before.{number}.c") if layer.state_sizes[1] else ""
        x, h, c = cell(g, layer, x, h, c)
        g.output(f"after.{number}.h", h)
        if c:
            g.output(f"after.{number}.c", c)
    if model.output_projection is not None:
        x = product(g, model.output_projection, x)
    g.output("logits", product(g, model.lm_head, x, model.lm_head.bias))
    return g.files()


def lookup(g: Graph, form: Any, token: str) -> str:
    """The row [1, N] of a word; a table in trains is multiplied out, as ncnn has no integer division for its digits."""
    if isinstance(form, FORMS["low_rank"]):
        return g.matrix(lookup(g, form.left, token), array(form.right.to_dense().T))
    return g.rows(token, array(form.to_dense()))


def product(g: Graph, form: Any, x: str, bias: Any = None) -> str:
    """x [n, N] -> x Wᵀ + bias [n, M], in the factors of a factored matrix."""
    if isinstance(form, FORMS["low_rank"]):
        return product(g, form.left, product(g, form.right, x), bias)
    if isinstance(form, FORMS["tensor_train"]):
        y = train_product(g, form, x)
        return y if bias is None else g.op("BinaryOp", y, g.constant(array(bias)), _0=SUM)
    return g.matrix(x, array(form.to_dense()), None if bias is None else array(bias))


def train_product(g: Graph, form: Any, x: str) -> str:
    """As `TensorTrain.product`, for one row: one core after the other from the last."""
    z, done, columns = x, 1, form.num_columns  # columns: j_1 .. j_m
    for m in range(len(form.cores) - 1, -1, -1):
        j, s, i, r = form.column_modes[m], form.bonds[m + 1], form.row_modes[m], form.bonds[m]
        columns //= j
        z = g.op("Permute", g.op("Reshape", z, _0=done, _1=j * s, _2=columns), _0=SWAP)
        flat = product(g, form.cores[m], g.op("Reshape", z, _0=j * s, _1=columns * done))
        z = g.op("Permute", g.op("Reshape", flat, _0=r * i, _1=done, _2=columns), _0=SWAP)
        done *= i
    return g.op("Reshape", z, _0=form.num_rows, _1=1)


def array(tensor: Any) -> np.ndarray:
    """A tensor's numbers."""
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)


def cell(g: Graph, layer: Any, x: str, h: str, c: str) -> tuple[str, str, str]:
    """x [1, N], h [1, O], c [1, H] -> output, h, c after one word; as `RnnLmLayer.step`."""
    O = layer.state_sizes[0]
    # ncnn's own layer computes in fp32 what it stores in fp16.
    dense = g.variant != "fp16" and layer.joined is not None and not isinstance(layer.projection, FACTORED)
    if layer.cell == "lstm" and dense:
        both, P = array(layer.joined.weight), layer.projection
        projection = None if P is None else array(P.to_dense())
        return g.lstm(x, h, c, (both[:, :-O], both[:, -O:], projection), array(layer.joined.bias))
    if layer.cell == "gru":
        h = gru(g, layer, product(g, layer.input, x, layer.bias), h)
        return h, h, ""
    if layer.joined is None:
        gates = g.op("BinaryOp", product(g, layer.input, x, layer.bias), product(g, layer.recurrent, h), _0=SUM)
    else:
        gates = product(g, layer.joined, g.op("Concat", x, h, _0=1), layer.joined.bias)
    if layer.cell == "rnn":
        out = g.op("TanH", gates)
    else:
        H = layer.state_sizes[1]
        i, *forget, new, o = slices(g, gates, [H] * (4 if layer.cell == "lstm" else 3))
        i, new = g.op("Sigmoid", i), g.op("TanH", new)
        if forget:
            kept = g.op("BinaryOp", g.op("Sigmoid", forget[0]), c, _0=PRODUCT)
            c = g.op("BinaryOp", kept, g.op("BinaryOp", i, new, _0=PRODUCT), _0=SUM)
        else:
            c = mixed(g, c, i, new)  # f = 1 - i
        out = g.op("BinaryOp", g.op("Sigmoid", o), g.op("TanH", c), _0=PRODUCT)
    out = out if layer.projection is None else product(g, layer.projection, out)
    return out, out, c


def gru(g: Graph, layer: Any, xw: str, h: str) -> str:
    """xw [1, 3H or 2P+H] input product with bias, h [1, O] -> h after one word."""
    O, rows = layer.state_sizes[0], layer.bias.shape[0]
    hu = product(g, layer.recurrent, h)
    if layer.candidate is None:
        xr, xz, xn = slices(g, xw, [O] * 3)
        hr, hz, hn = slices(g, hu, [O] * 3)
        added = g.op("BinaryOp", hn, g.constant(array(layer.candidate_bias)), _0=SUM)
        r = g.op("Sigmoid", g.op("BinaryOp", xr, hr, _0=SUM))
        z = g.op("Sigmoid", g.op("BinaryOp", xz, hz, _0=SUM))
        new = g.op("TanH", g.op("BinaryOp", xn, g.op("BinaryOp", r, added, _0=PRODUCT), _0=SUM))
    else:
        gates, xn = slices(g, xw, [2 * O, rows - 2 * O])
        r, z = slices(g, g.op("Sigmoid", g.op("BinaryOp", gates, hu, _0=SUM)), [O, O])
        hn = product(g, layer.candidate, g.op("BinaryOp", r, h, _0=PRODUCT))
        new = product(g, layer.projection, g.op("TanH", g.op("BinaryOp", xn, hn, _0=SUM)))
    return mixed(g, new, z, h)


def mixed(g: Graph, a: str, share: str, b: str) -> str:
    """a + share (b - a)."""
    step = g.op("BinaryOp", share, g.op("BinaryOp", b, a, _0=DIFFERENCE), _0=PRODUCT)
    return g.op("BinaryOp", a, step, _0=SUM)


def slices(g: Graph, x: str, sizes: list[int]) -> list[str]:
    """x [1, sum of sizes] -> its pieces [1, size]."""
    return g.ops("Slice", x, outputs=len(sizes), _0=sizes, _1=1)
