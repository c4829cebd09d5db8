"""A whole language model in a file of tensors: word vectors, recurrent layers and output layer, nothing left over.

Letters: V vocabulary, D embedding, O output of the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch

from zoo.errors import CheckpointError

from .files import Tensors
from .layers import Layer, find_stack
from .names import EMBEDDING, KINDS, RECURRENT, Names, below

SPLIT_SOFTMAX = 75_000  # words above which AWD-LSTM trains another distribution (its main.py)


@dataclass(frozen=True)
class Network:
    """A language model as torch keeps it.

    Attributes:
        kind: what made it, a key of KINDS. names: of its parts in the file.
        embedding: [V, D]. head: [V, O]; None: tied to the embedding. head_bias: [V] or None.
    """

    kind: str
    names: Names
    cell: str
    layers: tuple[Layer, ...]
    embedding: torch.Tensor
    head: torch.Tensor | None
    head_bias: torch.Tensor | None

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.embedding.shape[0]

    @property
    def parameters(self) -> int:
        """Numbers in the file, a tied matrix counted once."""
        tables = (self.embedding, self.head, self.head_bias)
        own = sum(table.numel() for table in tables if table is not None)
        return own + sum(layer.parameters for layer in self.layers)


def find_network(
    path: Path,
    tensors: Tensors,
    kind: str = "auto",
    embedding: str | None = None,
    rnn: Sequence[str] = (),
    head: str | None = None,
    nonlinearity: str | None = None,
    ignore: Sequence[str] = (),
) -> Network:
    """The language model of a file; the arguments are those of `import_checkpoint`.

    Raises:
        CheckpointError: parts are missing, could be one thing or another, do not fit, or are left over.
    """
    if kind not in ("auto", *KINDS):
        raise CheckpointError(f"kind is {kind!r}; allowed: auto, {', '.join(KINDS)}")
    kind = _kind_of(tensors) if kind == "auto" else kind
    known = KINDS[kind]
    stack = find_stack(path, tensors, list(rnn) or ([known.rnn] if known.rnn else []), nonlinearity)
    first, last = stack.layers[0], stack.layers[-1]
    rest = {name: tensor for name, tensor in tensors.items() if name not in stack.names}
    rest = {name: tensor for name, tensor in rest.items() if not any(fnmatchcase(name, glob) for glob in ignore)}
    words, output = _tables(
        path,
        rest,
        (first.input.shape[1], last.output_size),
        _named(path, rest, embedding or known.embedding, "embedding"),
        _named(path, rest, head or (known.head if known.head in rest else None), "head"),
    )
    table = rest[words]
    V = table.shape[0]
    biases = [name for name, tensor in rest.items() if tensor.shape == (V,) and "bias" in name.rpartition(".")[2]]
    sibling = f"{output.rpartition('.')[0]}.bias"
    bias = sibling if sibling in biases else biases[0] if len(biases) == 1 else None
    left = [
        name
        for name, tensor in rest.items()
        if name != bias and not (same(tensor, table) or same(tensor, rest[output]))
    ]
    if left:
        shown = ", ".join(f"{name} {list(rest[name].shape)}" for name in left[:4]) + (" ..." if len(left) > 4 else "")
        raise CheckpointError(
            f"{path} has {shown} beside {words}, {output} and the recurrent layers; a network of the zoo has no place "
            "for it. If it takes no part in the prediction: --ignore NAME"
        )
    if kind == "awd_lstm" and V > SPLIT_SOFTMAX:
        raise CheckpointError(
            f"{path} has {V:,} words: above {SPLIT_SOFTMAX:,} AWD-LSTM learns a softmax in several parts, and their "
            "vectors are not among these weights; if this one was trained with a plain softmax: --kind torch"
        )
    return Network(
        kind=kind,
        names=Names(words, ", ".join(stack.prefixes), output),
        cell=stack.cell,
        layers=stack.layers,
        embedding=table,
        head=None if same(rest[output], table) else rest[output],
        head_bias=rest[bias] if bias else None,
    )


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are one, or equal."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.data_ptr() == other.data_ptr() or torch.equal(one, other)


def _kind_of(tensors: Tensors) -> str:
    """What made a file, by the names of its tensors."""
    prefixes = {match["prefix"].rstrip(".") for match in map(RECURRENT.fullmatch, tensors) if match}
    for kind, names in KINDS.items():
        rnn = names.rnn
        if rnn and names.embedding in tensors and prefixes and all(below(prefix, rnn) for prefix in prefixes):
            return kind
    return "torch"


def _named(path: Path, tensors: Tensors, name: str | None, what: str) -> str | None:
    """A table that the user or the kind of file names; `decoder` stands for `decoder.weight`."""
    if name is None:
        return None
    for found in (name, f"{name}.weight"):
        if found in tensors and tensors[found].dim() == 2:
            return found
    raise CheckpointError(f"{path} has no table {name!r}; {_listed(tensors)}; name one: --{what} NAME")


def _listed(tensors: Tensors) -> str:
    """The tables of a file."""
    tables = [name for name in tensors if tensors[name].dim() == 2]
    return "it has " + (", ".join(f"{name} {list(tensors[name].shape)}" for name in tables) or "no tables")


def _tables(
    path: Path, rest: Tensors, widths: tuple[int, int], embedding: str | None, head: str | None
) -> tuple[str, str]:
    """Names of the word vectors [V, D] and of the output layer [V, O], widths (D, O); the same table may be both."""
    distinct: list[str] = []
    for name, tensor in rest.items():
        if (
            tensor.dim() == 2
            and tensor.is_floating_point()
            and not any(same(tensor, rest[other]) for other in distinct)
        ):
            distinct.append(name)
    inputs, outputs = (
        [name for name in ([given] if given else distinct) if rest[name].shape[1] == width]
        for given, width in zip((embedding, head), widths, strict=True)
    )
    pairs = [(i, o) for i in inputs for o in outputs if rest[i].shape[0] == rest[o].shape[0]]
    pairs = [(i, o) for i, o in pairs if not same(rest[i], rest[o])] or pairs  # a second table is the output layer
    if len(pairs) > 1:
        pairs = [(i, o) for i, o in pairs if EMBEDDING.search(i) and not EMBEDDING.search(o)] or pairs
    if len(pairs) == 1:
        return pairs[0]
    what = "[V, {}] as word vectors and [V, {}] as output layer".format(*widths)
    problem = "several tables could be" if pairs else "its recurrent layers need"
    raise CheckpointError(f"{path}: {problem} {what}; {_listed(rest)}; name them: --embedding NAME --head NAME")
