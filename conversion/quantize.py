"""Quantization: matrices in 8 or 4 bits a number, after training or with fine-tuning that knows the rounding.

Letters: M rows, N columns, G groups of numbers with a scale of their own, n numbers of a group, K stored numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.factors_rnnlm import Factored
from zoo.leaves_rnnlm import LEAVES
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.sparse_rnnlm import Sparse

from .activations import Activations
from .clipping import Limits, range_limits, symmetric_limits
from .compensation import compensated, moments_of_inputs, moments_of_parts
from .constraint import Constraint
from .matrices import DENSE, Change, config_with, matrix_of, select, spec_of, untied, with_forms
from .tables import number

LEVELS = {8: 127, 4: 7}  # largest whole number of a symmetric scale


@dataclass(frozen=True)
class Spec:
    """What to quantize and how.

    Args:
        roles: matrices, as `matrices.select` takes them. Dense ones become `int8` or `int4`, of low-rank and Tensor
            Train ones every factor, of sparse ones the stored numbers (8 bits, with a scale per row). What has 8 bits
            may become `int4`.
        bits: 8 or 4.
        scheme: of 8 bits: `row`: symmetric with a scale per row; `range`: 256 equal steps over the whole range of a
            matrix (Grachev et al. 2019, section 4.1).
        group: columns that share a scale with 4 bits; even.
        limits: where numbers are cut off: `minmax`: nowhere; `percentile`: those beyond it; `error`: where the squared
            error of the numbers that share a scale is least; `coarse`: where it is nearly so, quick enough to be
            looked for at every update of a fine-tuning.
        percentile: per cent of the numbers that share a scale that are not cut off.
        rounding: `nearest`; or `compensated`: the error of a number is made up for by those of its row after it, by
            what their inputs have in common on training text. For dense matrices and low-rank factors of a language
            model with one softmax, a scale per row or group, without stages; a lookup table that is no output layer
            too, Tensor Train factors and sparse numbers are rounded to the nearest.
        untie: whether a head tied to the embedding gets a matrix of its own first.
    """

    roles: tuple[str, ...] = ("all",)
    bits: int = 8
    scheme: Literal["row", "range"] = "row"
    group: int = 32
    limits: Limits = "minmax"
    percentile: float = number(99.9, least=50, most=100)
    rounding: Literal["nearest", "compensated"] = "nearest"
    untie: bool = False

    def __post_init__(self) -> None:
        if self.bits not in LEVELS:
            nearest = 4 if self.bits < 6 else 8
            raise RecipeError(f"bits = {self.bits}; allowed: 8 or 4, the nearest is {nearest}")
        if not 50 <= self.percentile <= 100:
            raise RecipeError(f"percentile = {self.percentile}; allowed: 50 to 100, e.g. 99.9")
        if self.group < 2 or self.group % 2:
            raise RecipeError(f"group = {self.group}; it must be even, e.g. {max(2, self.group + 1)}")
        if self.rounding == "compensated" and self.bits == 8 and self.scheme == "range":
            raise RecipeError(
                "rounding = 'compensated' needs scales of rows or groups, and scheme is 'range'; "
                "give scheme = 'row', or rounding = 'nearest'"
            )

    @property
    def leaf(self) -> dict[str, Any]:
        """The form of a quantized matrix or factor."""
        return {"form": "int8", "scheme": self.scheme} if self.bits == 8 else {"form": "int4", "group": self.group}

    def largest(self, x: torch.Tensor, counts: torch.Tensor | None = None) -> torch.Tensor:
        """The sizes at which groups of numbers [G, n] with a scale each are cut off [G]."""
        return symmetric_limits(x, LEVELS[self.bits], self.limits, self.percentile, counts)


def plan(config: RnnLmConfig, spec: Spec) -> RnnLmConfig:
    """The config of the quantized model.

    Raises:
        RecipeError: roles that the model has not, matrices that have as few bits already, 4 bits for a sparse one.
    """
    fields = {"tie_word_embeddings": False} if spec.untie else {}
    config = config_with(config, {}, **fields)
    return config_with(config, {name: _form(config, name, spec) for name in _names(config, spec)})


def compress(
    model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None, known: Activations | None = None
) -> RnnLmForCausalLM:
    """A copy of the model with quantized matrices.

    Args:
        data: its training text is read where `rounding` is `compensated`.
        known: what the model does on training text, if it was measured before.

    Raises:
        RecipeError: as `plan`; no data where they are needed.
    """
    model = prepare(model, spec)
    moments = {} if spec.rounding == "nearest" else moments_of_inputs(model, data, known)
    changes: dict[str, Change] = {}
    for name in _names(model.config, spec):
        tensors: dict[str, torch.Tensor] = {}
        matrix = matrix_of(model, name)
        met = moments_of_parts(matrix, moments.get(name))
        for prefix, part in parts(matrix):
            tensors.update({f"{prefix}{key}": found for key, found in quantized(part, spec, met.get(prefix)).items()})
        changes[name] = _form(model.config, name, spec), tensors
    return with_forms(model, changes)


def prepare(model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None) -> RnnLmForCausalLM:
    """The model that fine-tuning under `constraint` starts from: the given one, untied if that is asked for.

    Raises:
        RecipeError: as `plan`.
    """
    plan(model.config, spec)
    return untied(model) if spec.untie else model


def constraint(spec: Spec) -> Constraint:
    """Fine-tuning in which every forward and backward pass sees the quantized values.

    Raises:
        RecipeError: weights that have learnt with the nearest values are to be rounded to others.
    """
    if spec.rounding != "nearest":
        raise RecipeError(
            f"rounding = {spec.rounding!r} is for weights that do not learn; leave out the stages, or rounding"
        )
    return StraightThrough(spec)


class StraightThrough(Constraint):
    """The quantized values are in force, their gradients move the latent ones (Bengio et al. 2013, section 4).

    Args:
        spec: what is quantized; a head to be untied must have a matrix of its own already.
    """

    def __init__(self, spec: Spec):
        self.spec = spec

    @contextmanager
    def in_force(self, model: Any) -> Iterator[None]:
        latent = []
        try:
            with torch.no_grad():
                for name in _names(model.config, self.spec):
                    for _, part in parts(matrix_of(model, name)):
                        numbers = part.values if isinstance(part, Sparse) else part.weight
                        latent.append((numbers, numbers.data))
                        numbers.data = restored(part, quantized(part, self.spec), self.spec)
            yield
        finally:
            for numbers, before in latent:
                numbers.data = before


def parts(module: Any) -> list[tuple[str, Any]]:
    """What of a matrix is quantized by itself, with the prefix of its tensors: the factors, or the whole."""
    if isinstance(module, Factored):
        children = {id(child): name for name, child in module.named_modules()}
        return [(f"{children[id(factor)]}.", factor) for factor in module.factors()]
    return [("", module)]


@torch.no_grad()
def quantized(part: nn.Module, spec: Spec, moments: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """The tensors of a dense matrix or factor, or of a sparse matrix, with 8 or 4 bits a number.

    `moments` [N, N] of the inputs of a matrix: its rounding is compensated by them; None: to the nearest.
    """
    if isinstance(part, Sparse):
        return _quantized_sparse(part, spec)
    matrix = part.to_dense().float()  # type: ignore[operator]
    leaf = LEAVES[spec.leaf["form"]]
    if spec.bits == 8 and spec.scheme == "range":
        tensors = leaf.from_dense(matrix, spec.leaf, limits=range_limits(matrix, spec.limits, spec.percentile))
        return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
    if moments is not None:
        rounded, limits = compensated(
            matrix, moments, LEVELS[spec.bits], spec.group if spec.bits == 4 else None, spec.largest
        )
        return leaf.from_dense(rounded, spec.leaf, limits=limits if spec.bits == 4 else limits[:, 0])
    if spec.bits == 8:
        return leaf.from_dense(matrix, spec.leaf, limits=spec.largest(matrix))
    M, N = matrix.shape
    last = N % spec.group  # columns of a shorter last group
    padded = F.pad(matrix, (0, -N % spec.group)).reshape(-1, spec.group)  # [M G, n]
    counts = torch.full((M, len(padded) // M), spec.group)
    if last:
        counts[:, -1] = last
    limits = spec.largest(padded, counts.flatten())
    return leaf.from_dense(matrix, spec.leaf, limits=limits.view(M, -1))


def _quantized_sparse(part: Sparse, spec: Spec) -> dict[str, torch.Tensor]:
    """The tensors of a sparse matrix, its numbers in 8 bits with a scale per row."""
    counts = part.starts.diff()
    row = torch.repeat_interleave(torch.arange(part.num_rows, device=counts.device), counts)
    scale = spec.largest(part.to_dense(), counts) / LEVELS[8]
    q = torch.round(part.values / torch.where(scale == 0, 1, scale)[row]).clamp(-LEVELS[8], LEVELS[8])
    return {"values": q.to(torch.int8), "columns": part.columns.data, "starts": part.starts.data, "scale": scale}


def restored(part: Any, tensors: dict[str, torch.Tensor], spec: Spec) -> torch.Tensor:
    """The floats that quantized tensors stand for: [M, N] of a matrix, [K] of a sparse one."""
    with torch.device(part.starts.device if isinstance(part, Sparse) else part.weight.device):
        if isinstance(part, Sparse):
            row = torch.repeat_interleave(torch.arange(part.num_rows), part.starts.diff())
            return tensors["values"] * tensors["scale"][row]
        M, N = part.weight.shape
        module = LEAVES[spec.leaf["form"]].build(spec.leaf, M, N, False, False)
    module.load_state_dict(tensors)
    return module.to_dense()


def _names(config: RnnLmConfig, spec: Spec) -> list[str]:
    """The matrices to quantize."""
    names = select(config, spec.roles)
    done = [name for name in names if _bits(spec_of(config, name)) <= spec.bits]
    if done:
        left = [name for name in config.shapes if _bits(spec_of(config, name)) > spec.bits]
        give = f"give roles among {', '.join(left)}" if left else "nothing is left to quantize"
        raise RecipeError(f"quantized already, to {spec.bits} bits or fewer: {', '.join(done)}; {give}")
    return names


def _bits(form: dict[str, Any]) -> int:
    """Bits of a number of a form, or of its factors."""
    kinds = {form["form"], form.get("values", DENSE)["form"]}
    return 8 if "int8" in kinds else 4 if "int4" in kinds else 32


def _form(config: RnnLmConfig, name: str, spec: Spec) -> dict[str, Any]:
    """The quantized form of a matrix."""
    form = spec_of(config, name)
    if form["form"] == "sparse":
        if spec.bits != 8:
            raise RecipeError(f"bits = {spec.bits} for {name}, which is sparse; sparse numbers have 8 bits: bits = 8")
        return {**form, "values": {"form": "int8"}}
    return spec.leaf if form["form"] in LEAVES else {**form, "values": spec.leaf}
