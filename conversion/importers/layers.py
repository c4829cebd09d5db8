"""The recurrent layers in a file of tensors: torch's names gathered into a stack, every shape checked.

Letters: G gates (4 LSTM, 3 GRU, 1 RNN), H hidden, N input, P projection, O layer output (P if projected, else H).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from zoo.errors import CheckpointError

from .files import Tensors
from .names import RECURRENT, below, natural, shape_of
from .pickles import CELLS, QRNN, RELU, TRANSFORMER

GATES = {4: "lstm", 3: "gru", 1: "rnn"}


@dataclass(frozen=True)
class Layer:
    """One layer as torch keeps it.

    Attributes:
        input: [G*H, N]. recurrent: [G*H, O]. projection: [P, H], of LSTM alone.
        input_bias, recurrent_bias: [G*H]; None: the layer has no biases.
    """

    input: torch.Tensor
    recurrent: torch.Tensor
    projection: torch.Tensor | None
    input_bias: torch.Tensor | None
    recurrent_bias: torch.Tensor | None

    @property
    def output_size(self) -> int:
        """O."""
        return self.recurrent.shape[1]

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.output_size if self.projection is None else self.projection.shape[1]

    @property
    def gates(self) -> int:
        """G."""
        return self.input.shape[0] // self.hidden_size

    @property
    def parameters(self) -> int:
        """Numbers in the file."""
        parts = (self.input, self.recurrent, self.projection, self.input_bias, self.recurrent_bias)
        return sum(part.numel() for part in parts if part is not None)


@dataclass(frozen=True)
class Stack:
    """Layers in order, of one cell.

    Attributes:
        prefixes: of their tensors. names: the tensors that they are made of, or that stand for the same ones.
    """

    cell: str
    prefixes: tuple[str, ...]
    layers: tuple[Layer, ...]
    names: frozenset[str]


def find_stack(path: Path, tensors: Tensors, rnn: Sequence[str] = (), nonlinearity: str | None = None) -> Stack:
    """The recurrent layers of a file.

    Args:
        rnn: prefixes of their names, in order; none: all that there are, if they are one stack.
        nonlinearity: of an RNN, `tanh` or `relu`, which the file does not say.

    Raises:
        CheckpointError: none, not one stack, a cell that the zoo has not, or shapes that do not belong together.
    """
    groups: dict[str, dict[int, dict[str, str]]] = {}
    names: dict[str, set[str]] = {}  # by prefix
    for name in sorted(tensors, key=lambda name: name.endswith("_raw")):  # so that _raw, the true one, comes last
        match = RECURRENT.fullmatch(name)
        if match is None:
            continue
        if match["reverse"]:
            raise CheckpointError(
                f"{path} has {name}: a bidirectional network reads the words that it should predict; {CELLS}, forward"
            )
        prefix = match["prefix"].removesuffix("module.").removesuffix(".")
        names.setdefault(prefix, set()).add(name)
        group = groups.setdefault(prefix, {})
        group.setdefault(int(match["layer"]), {})[f"{match['what']}_{match['of']}"] = name
    if not groups:
        raise CheckpointError(f"{path} {_without_layers(tensors)}")
    chosen = _chosen(path, sorted(groups, key=natural), rnn)
    layers = []
    for prefix in chosen:
        for number in range(max(groups[prefix]) + 1):
            where = f"{prefix}." if prefix else ""
            layers.append(_layer(path, tensors, groups[prefix].get(number, {}), f"{where}*_l{number}"))
    cells = {(GATES[layer.gates], layer.projection is not None) for layer in layers}
    if len(cells) > 1:
        kinds = " and ".join(f"{cell}{' with projection' if projected else ''}" for cell, projected in sorted(cells))
        raise CheckpointError(
            f"{path} mixes {kinds}; a network of the zoo has one kind of layer: choose with --rnn PREFIX"
        )
    for number, (before, after) in enumerate(pairwise(layers), start=1):
        if before.output_size != after.input.shape[1]:
            raise CheckpointError(
                f"{path}: layer {number} reads {after.input.shape[1]} numbers and layer {number - 1} gives "
                f"{before.output_size}; allowed: layers that read the one before; give their order with --rnn PREFIX"
            )
    cell = cells.pop()[0]
    _check_nonlinearity(path, cell, nonlinearity)
    return Stack(cell, tuple(chosen), tuple(layers), frozenset().union(*(names[prefix] for prefix in chosen)))


def _chosen(path: Path, prefixes: list[str], rnn: Sequence[str]) -> list[str]:
    """The prefixes of the stack, in order."""
    listed = ", ".join(prefix or "(none)" for prefix in prefixes)
    if not rnn:
        if len(set(map(shape_of, prefixes))) > 1:
            raise CheckpointError(f"{path} has recurrent layers under {listed}; name those of the model: --rnn PREFIX")
        return prefixes
    chosen = []
    for asked in rnn:
        found = [prefix for prefix in prefixes if below(prefix, asked.rstrip("."))]
        if not found:
            raise CheckpointError(f"{path} has no recurrent layers under {asked!r}; it has them under {listed}")
        chosen += [prefix for prefix in found if prefix not in chosen]
    return chosen


def _layer(path: Path, tensors: Tensors, parts: dict[str, str], where: str) -> Layer:
    """One layer of the names of its parts."""
    for needed in ("weight_ih", "weight_hh"):
        if needed not in parts:
            raise CheckpointError(f"{path} has no {where.replace('*', needed)}; give the whole state dict")
    input, recurrent = tensors[parts["weight_ih"]], tensors[parts["weight_hh"]]
    projection, *biases = (tensors.get(parts.get(part, "")) for part in ("weight_hr", "bias_ih", "bias_hh"))
    layer = Layer(input, recurrent, projection, *biases)
    matrices = [matrix for matrix in (input, recurrent, projection) if matrix is not None]
    fits = all(matrix.dim() == 2 and matrix.numel() for matrix in matrices)
    if fits:
        rows = layer.input.shape[0]
        fits = rows % layer.hidden_size == 0 and layer.gates in ((4,) if projection is not None else GATES)
        fits = fits and recurrent.shape[0] == rows and all(bias is None or bias.shape == (rows,) for bias in biases)
        fits = fits and (projection is None or projection.shape[0] == layer.output_size)
    if not fits:
        shapes = ", ".join(f"{name} {list(tensors[name].shape)}" for name in parts.values())
        raise CheckpointError(
            f"{path} has {shapes}, which are no layer of torch.nn.LSTM, GRU or RNN (rows 4, 3 or 1 times the width); "
            "give the state dict as torch saved it"
        )
    return layer


def _check_nonlinearity(path: Path, cell: str, nonlinearity: str | None) -> None:
    """An RNN of relu has tensors like one of tanh: somebody has to say which it is."""
    if cell != "rnn":
        if nonlinearity is not None:
            raise CheckpointError(f"{path} has {cell.upper()} layers; --nonlinearity is for RNN: leave it out")
    elif nonlinearity is None:
        raise CheckpointError(
            f"{path} has RNN layers and does not say of which kind; if it was trained with tanh (RNN_TANH, torch's "
            "default), type: --nonlinearity tanh; relu (RNN_RELU) is no cell of the zoo"
        )
    elif nonlinearity != "tanh":
        raise CheckpointError(f"{path} {RELU}" if nonlinearity == "relu" else "--nonlinearity must be tanh")


def _without_layers(tensors: Tensors) -> str:
    """Why a file without recurrent layers is refused."""
    names = list(tensors)
    if any("attn" in name or "attention" in name for name in names):
        return TRANSFORMER
    if any(name.startswith("rnns.") and ".linear." in name for name in names):
        return QRNN
    cells = [name for name in names if re.fullmatch(r"(?:.*\.)?(?:weight|bias)_(?:ih|hh)", name)]
    if cells:
        return (
            f"has the layers of torch.nn.LSTMCell or GRUCell ({cells[0]} ...), whose names lack the number of a layer; "
            'save them as <name>_l0: torch.save({k + "_l0" if k[-3:] in ("_ih", "_hh") else k: v for k, v in '
            "state.items()}, FILE)"
        )
    more = " ..." if len(names) > 4 else ""
    return f"has no recurrent layer (weight_ih_l0 ...); it has {', '.join(names[:4])}{more}; {CELLS}"
