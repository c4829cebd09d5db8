"""Size in three counts that are never mixed: parameters, nonzeros and bytes, of each matrix and of the whole.

Parameters are the numbers of the factors that a matrix is stored as (of a sparse one, of the matrix it stands for);
scales and indices are none. Nonzeros are those of them that are not zero. Bytes are all that the file holds for them:
scales and indices too. A tied matrix counts once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import forms, specs
from .layout import Layout, prefix_of, read_layout
from .tensors import TensorFile

COUNTS = ("parameters", "nonzeros", "bytes")


@dataclass(frozen=True)
class Part:
    """A matrix or a bias of a checkpoint.

    name: of a matrix a key of `Layout.shapes`, of a bias `bias.0`, `candidate_bias.0` ..., `bias.head`, `bias.score`;
    role: the name without a layer; form: the spec in words; by_rows: of a sparse matrix all numbers of the rows that
    are not empty, the count of Grachev et al. 2019, Table 2; of others the parameters.
    """

    name: str
    role: str
    rows: int
    columns: int
    form: str
    parameters: int
    nonzeros: int
    bytes: int
    by_rows: int


def count(folder: str | Path) -> list[Part]:
    """The matrices of a checkpoint folder in the order of the network, then its biases, from the files alone.

    Raises:
        CheckpointError: config.json or the weights cannot be read, or do not belong together.
    """
    layout, file, parts = read_layout(folder), TensorFile(folder), []
    for name, (rows, columns) in layout.shapes.items():
        prefix, spec = prefix_of(name), layout.spec(name)
        matrix = forms.read(file, prefix, rows, columns, spec)
        size = file.bytes_below(f"{prefix}.")
        if name in ("head", "score"):
            size -= file.bytes_below(f"{prefix}.bias")
        numbers = specs.parameters(spec, rows, columns)
        by_rows = matrix.by_rows if isinstance(matrix, forms.Sparse) else numbers
        told = specs.words(spec)
        parts.append(Part(name, _role(name), rows, columns, told, numbers, matrix.nonzeros, size, by_rows))
    for tensor, length in layout.biases.items():
        nonzeros = int(np.count_nonzero(file.read(tensor, (length,))))
        name = _bias_name(tensor)
        parts.append(Part(name, _role(name), length, 1, "bias", length, nonzeros, file.bytes_below(tensor), length))
    file.check_all_asked()
    return parts


def total(parts: Iterable[Part]) -> dict[str, int]:
    """The sums of the three counts."""
    parts = list(parts)
    return {what: sum(getattr(part, what) for part in parts) for what in COUNTS}


def parameters_of(layout: Layout) -> dict[str, int]:
    """Parameters of every matrix and bias by name, from a config alone."""
    matrices = {
        name: specs.parameters(layout.spec(name), rows, columns) for name, (rows, columns) in layout.shapes.items()
    }
    return matrices | {_bias_name(tensor): length for tensor, length in layout.biases.items()}


def _role(name: str) -> str:
    """A name without its layer; of `bias.head` too."""
    return name.partition(".")[0]


def _bias_name(tensor: str) -> str:
    """`model.layers.0.bias` -> `bias.0`, `lm_head.bias` -> `bias.head`, `score.bias` -> `bias.score`."""
    *_, place, kind = tensor.split(".")
    return f"{kind}.{'head' if place == 'lm_head' else place}"
