"""The recurrent network as ONNX graphs: one step, or a whole sequence with the recurrence in a loop (Scan).

Letters: B batch, T time, V vocabulary, D embedding, H hidden, P projection, O layer output, M rows, N columns,
G*H rows of a layer's matrices, K softmaxes; n vectors: the B words of a step or the T*B words of a sequence.
Equations: Grachev et al. 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from zoo import RnnLmForCausalLM
from zoo.configuration_rnnlm import GATES
from zoo.weights_rnnlm import FORMS

from .builder import FLOAT, INT64, IR_VERSION, OPSET, Graph, Storage


def state_names(model: RnnLmForCausalLM, prefix: str) -> dict[str, int]:
    """Name -> width of every state, in order: `past.0.h` [B, O], `past.0.c` [B, H] (LSTM, CIFG), `past.1.h` ..."""
    return {
        f"{prefix}.{number}.{letter}": size
        for number, layer in enumerate(model.model.layers)
        for letter, size in zip("hc", layer.state_sizes, strict=True)
        if size
    }


def build(model: RnnLmForCausalLM, storage: Storage, sequence: bool) -> onnx.ModelProto:
    """input_ids [B, 1], or [B, T] where `sequence`, and `past.*` -> logits [B, 1 or T, V] and `present.*`.

    Raises:
        ZooError: a weight that fp16 cannot hold, where it is asked for.
    """
    g, T = Graph(storage), "sequence" if sequence else 1
    by_time = g.op("Transpose", "input_ids", perm=[1, 0])  # [T, B]
    times, ids = g.op("Shape", by_time), g.op("Reshape", by_time, g.ints(-1))
    x = lookup(g, model.model.embed_tokens, ids)  # [n, D]
    for number, layer in enumerate(model.model.layers):
        h, c = f"past.{number}.h", f"past.{number}.c"
        # A Mogrifier scales the input by the state, so that its product is one of the loop.
        given = x if layer.rounds else product(g, layer.input, x, g.vector(layer.bias))  # [n, N or G*H]
        if sequence:
            x, h, c = loop(g, layer, g.op("Reshape", given, g.op("Concat", times, g.ints(-1), axis=0)), h, c)
        else:
            h, c = token(g, layer, given, h, c)
            x = h
        g.op("Identity", h, name=f"present.{number}.h")
        if layer.state_sizes[1]:
            g.op("Identity", c, name=f"present.{number}.c")
        if sequence:
            x = g.op("Reshape", x, g.ints(-1, layer.state_sizes[0]))
    if sequence:  # from T, B to B, T while the vectors are narrow
        narrow = g.op("Reshape", x, g.op("Concat", times, g.ints(-1), axis=0))
        x = g.op("Reshape", g.op("Transpose", narrow, perm=[1, 0, 2]), g.ints(-1, model.config.layer_output_size))
    if model.output_projection is not None:
        x = product(g, model.output_projection, x)
    bias = None if model.lm_head.bias is None else g.vector(model.lm_head.bias)
    logits = product(g, model.lm_head, x, bias) if model.prior is None else mixture(g, model, x, bias)
    shape = g.op("Concat", g.op("Shape", "input_ids"), g.ints(-1), axis=0)
    g.op("Reshape", logits, shape, name="logits")
    return _finished(g, model, T)


def _finished(g: Graph, model: RnnLmForCausalLM, T: int | str) -> onnx.ModelProto:
    def states(prefix: str) -> list[onnx.ValueInfoProto]:
        sizes = state_names(model, prefix).items()
        return [helper.make_tensor_value_info(name, FLOAT, ["batch", size]) for name, size in sizes]

    ids = helper.make_tensor_value_info("input_ids", INT64, ["batch", T])
    logits = helper.make_tensor_value_info("logits", FLOAT, ["batch", T, model.config.vocab_size])
    graph = helper.make_graph(g.nodes, "rnnlm", [ids, *states("past")], [logits, *states("present")], g.constants)
    opset = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="rnnlm-zoo")
    onnx.checker.check_model(proto, full_check=True)
    return proto


def mixture(g: Graph, model: RnnLmForCausalLM, x: str, bias: str | None) -> str:
    """x [n, O] -> log probabilities [n, V] of K softmaxes; as `RnnLmForCausalLM.logits`."""
    K, N = model.config.num_softmaxes, model.config.feature_size
    shares = g.op("LogSoftmax", product(g, model.prior, x), axis=-1)  # [n, K]
    latents = g.op("Reshape", g.op("Tanh", product(g, model.latent, x)), g.ints(-1, N))  # [n K, N]
    each = g.op("LogSoftmax", product(g, model.lm_head, latents, bias), axis=-1)
    each = g.op(
        "Add", g.op("Reshape", each, g.ints(-1, K, model.config.vocab_size)), g.op("Unsqueeze", shares, g.ints(2))
    )
    return g.op("ReduceLogSumExp", each, g.ints(1), keepdims=0)


def product(g: Graph, form: Any, x: str, bias: str | None = None) -> str:
    """x [n, N] -> x Wᵀ + bias [n, M], in the factors of a factored matrix; the bias is [M] or [n, M]."""
    if isinstance(form, FORMS["low_rank"]):
        return product(g, form.left, product(g, form.right, x), bias)
    if isinstance(form, FORMS["tensor_train"]):
        y = train_product(g, form, x)
        return y if bias is None else g.op("Add", y, bias)
    return g.op("Gemm", x, g.matrix(form), *([] if bias is None else [bias]), transB=1)


def lookup(g: Graph, form: Any, ids: str) -> str:
    """ids [n] -> rows [n, N]."""
    if isinstance(form, FORMS["low_rank"]):
        return g.op("MatMul", lookup(g, form.left, ids), g.matrix(form.right))
    if isinstance(form, FORMS["tensor_train"]):
        return train_lookup(g, form, ids)
    return g.op("Gather", g.matrix(form), ids)


def train_product(g: Graph, form: Any, x: str) -> str:
    """As `TensorTrain.product`: one core after the other from the last; a 0 in a shape keeps n as it is."""
    z, done, columns = x, 1, form.num_columns  # columns: j_1 .. j_m
    for m in range(len(form.cores) - 1, -1, -1):
        j, s, i, r = form.column_modes[m], form.bonds[m + 1], form.row_modes[m], form.bonds[m]
        columns //= j
        z = g.op("Transpose", g.op("Reshape", z, g.ints(0, columns, j * s, done)), perm=[0, 1, 3, 2])
        flat = product(g, form.cores[m], g.op("Reshape", z, g.ints(-1, j * s)))
        z = g.op("Reshape", flat, g.ints(-1, columns, done, r * i))
        z = g.op("Reshape", g.op("Transpose", z, perm=[0, 1, 3, 2]), g.ints(0, columns * r, i * done))
        done *= i
    return g.op("Reshape", z, g.ints(-1, form.num_rows))


def train_lookup(g: Graph, form: Any, ids: str) -> str:
    """As `TensorTrain.rows`: of every core the slices that the id's digits select."""
    z, rest, columns = "", form.num_rows, 1
    for m, core in enumerate(form.cores):
        i, j, r, s = form.row_modes[m], form.column_modes[m], form.bonds[m], form.bonds[m + 1]
        rest //= i
        digit = g.op("Mod", g.op("Div", ids, g.ints(rest)), g.ints(i))
        slices = g.op("Transpose", g.op("Reshape", g.matrix(core), g.ints(r, i, j * s)), perm=[1, 0, 2])
        chosen = g.op("Gather", slices, digit)  # [n, r_m-1, j_m r_m]
        z = g.op("MatMul", z, chosen) if z else chosen
        columns *= j
        z = g.op("Reshape", z, g.ints(-1, columns, s))
    return g.op("Reshape", z, g.ints(-1, form.num_columns))


def loop(g: Graph, layer: Any, given: str, h: str, c: str) -> tuple[str, str, str]:
    """What `token` takes, [T, B, N or G*H], and the state -> outputs [T, B, O] and the state after them."""
    body, (O, H) = Graph(g.storage, parent=g), layer.state_sizes
    kinds = [("h", O)] + ([("c", H)] if H else [])
    name = {letter: body._name(f"loop_{letter}") for letter in ("h", "c", "given", "h_next", "c_next", "y")}

    def infos(letters: list[tuple[str, Any]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name[letter], FLOAT, ["batch", size]) for letter, size in letters]

    new_h, new_c = token(body, layer, name["given"], name["h"], name["c"])
    body.op("Identity", new_h, name=name["h_next"])
    if H:
        body.op("Identity", new_c, name=name["c_next"])
    body.op("Identity", new_h, name=name["y"])
    after = [(f"{letter}_next", size) for letter, size in kinds]
    proto = helper.make_graph(body.nodes, "step", infos([*kinds, ("given", None)]), infos([*after, ("y", O)]))
    names = [g._name("Scan") for _ in (*kinds, "y")]
    results = g.ops("Scan", *([h, c] if H else [h]), given, names=names, body=proto, num_scan_inputs=1)
    return results[-1], results[0], results[1] if H else ""


def token(g: Graph, layer: Any, given: str, h: str, c: str) -> tuple[str, str]:
    """The input x [B, N] of a Mogrifier, else xw of `cell`, and the state -> h, c after one word."""
    if not layer.rounds:
        return cell(g, layer, given, h, c)
    x = given
    for number, form in enumerate(layer.mogrifier):  # Melis et al. 2020, eq. 1-2
        gate = g.op("Mul", g.scalar(2), g.op("Sigmoid", product(g, form, x if number % 2 else h)))
        x, h = (x, g.op("Mul", gate, h)) if number % 2 else (g.op("Mul", gate, x), h)
    return cell(g, layer, product(g, layer.input, x, g.vector(layer.bias)), h, c)


def cell(g: Graph, layer: Any, xw: str, h: str, c: str) -> tuple[str, str]:
    """xw [B, G*H] input product with bias, h [B, O], c [B, H] -> h, c after one word; as `RnnLmLayer.step`."""
    H = layer.bias.shape[0] // GATES[layer.cell]
    if layer.cell == "lstm":  # eq. 11-15
        i, f, new, o = g.split(product(g, layer.recurrent, h, xw), [H] * 4)
        kept = g.op("Mul", g.op("Sigmoid", f), c)
        c = g.op("Add", kept, g.op("Mul", g.op("Sigmoid", i), g.op("Tanh", new)))
        out = g.op("Mul", g.op("Sigmoid", o), g.op("Tanh", c))
    elif layer.cell == "cifg":  # f = 1 - i
        i, new, o = g.split(product(g, layer.recurrent, h, xw), [H] * 3)
        c = g.op("Add", c, g.op("Mul", g.op("Sigmoid", i), g.op("Sub", g.op("Tanh", new), c)))
        out = g.op("Mul", g.op("Sigmoid", o), g.op("Tanh", c))
    elif layer.cell == "rnn":  # eq. 2-3, 8
        out = g.op("Tanh", product(g, layer.recurrent, h, xw))
    elif layer.candidate is None:  # eq. 16-19, reset after
        xr, xz, xn = g.split(xw, [H] * 3)
        hr, hz, hn = g.split(product(g, layer.recurrent, h), [H] * 3)
        r = g.op("Sigmoid", g.op("Add", xr, hr))
        kept = g.op("Mul", r, g.op("Add", hn, g.vector(layer.candidate_bias)))
        new = g.op("Tanh", g.op("Add", xn, kept))
        return mixed(g, new, g.op("Sigmoid", g.op("Add", xz, hz)), h), c
    else:  # eq. 18, 21
        P = layer.projection_size
        gates, xn = g.split(xw, [2 * P, layer.bias.shape[0] - 2 * P])
        r, z = g.split(g.op("Sigmoid", product(g, layer.recurrent, h, gates)), [P, P])
        new = g.op("Tanh", product(g, layer.candidate, g.op("Mul", r, h), xn))
        return mixed(g, product(g, layer.projection, new), z, h), c
    return (out if layer.projection is None else product(g, layer.projection, out)), c  # eq. 9, 20


def mixed(g: Graph, new: str, z: str, h: str) -> str:
    """new + z (h - new)."""
    return g.op("Add", new, g.op("Mul", z, g.op("Sub", h, new)))


def zero_states(model: RnnLmForCausalLM, batch: int = 1) -> dict[str, np.ndarray]:
    """The states before the first word, by name."""
    return {name: np.zeros((batch, size), np.float32) for name, size in state_names(model, "past").items()}
