"""Pruning: the numbers that matter least become zero, at once or bit by bit while the others learn.

Letters: M rows, N columns, K numbers that stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.sparse_rnnlm import Sparse

from . import quantize
from .activations import second_moments
from .constraint import Constraint, KeepZeros
from .matrices import DENSE, Change, config_with, matrix_of, select, spec_of, stored_singly, untied, with_forms
from .saliency import Criterion, Matrices, Scope, largest, need_text, refitted, scores, staying, weights
from .tables import number


@dataclass(frozen=True)
class Spec:
    """What to prune, and how far.

    Args:
        roles: matrices, as `matrices.select` takes them; dense or sparse ones.
        sparsity: share of their numbers that becomes zero, below 1; that of zeros which are there already counts.
        scope: what the share is of: every `matrix` (Grachev et al. 2019, section 4.1: a threshold), all together
            (`global`), or every `row`.
        normalise: with `global`, numbers are compared after division by their matrix's standard deviation.
        criterion: which numbers go, those least in `magnitude`, in magnitude times input (`activation`) or in what they
            do to the loss (`curvature`), as `saliency.scores` describes; the latter two read training text.
        refit: the numbers that stay change so that products on training text change as little as can be; those of an
            embedding do not.
        schedule: `one_shot`: all at once; `gradual`: while training, s (1 - (1 - t)³) at the share t of the way from
            `begin` to `end` (Zhu and Gupta 2017, eq. 1).
        begin, end: of the gradual schedule, shares of the training.
        prunings: times that the gradual schedule prunes.
        untie: a tied head gets a matrix of its own first.
        values: `float`, or `int8` with a scale per row.
    """

    roles: tuple[str, ...] = ("head",)
    sparsity: float = number(0.9, most=1)
    scope: Scope = "matrix"
    normalise: bool = False
    criterion: Criterion = "magnitude"
    refit: bool = False
    schedule: Literal["one_shot", "gradual"] = "one_shot"
    begin: float = number(0.0, most=1)
    end: float = number(0.5, most=1)
    prunings: int = number(100, least=1)
    untie: bool = False
    values: Literal["float", "int8"] = "float"

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            nearest = 0.0 if self.sparsity < 0 else 0.99
            raise RecipeError(f"sparsity = {self.sparsity}; it must be at least 0 and below 1, e.g. {nearest}")
        if self.schedule == "gradual" and (self.criterion != "magnitude" or self.refit):
            raise RecipeError(
                "schedule = 'gradual' prunes by magnitude and learns the rest; give criterion = 'magnitude' and "
                "refit = false, or schedule = 'one_shot'"
            )
        if not 0 <= self.begin < self.end <= 1:
            raise RecipeError(
                f"begin = {self.begin}, end = {self.end}; begin must come before end, e.g. begin = 0.0, end = 0.5"
            )

    def sparsity_at(self, done: float) -> float:
        """The share of zeros when the share `done` of the training is over."""
        if self.schedule == "one_shot":
            return self.sparsity
        t = min(1.0, max(0.0, (done - self.begin) / (self.end - self.begin)))
        t = int(t * self.prunings + 1e-6) / self.prunings
        return self.sparsity * (1 - (1 - t) ** 3)


def plan(config: RnnLmConfig, spec: Spec) -> RnnLmConfig:
    """The config of the pruned model; matrices that have more zeros already keep fewer numbers than it says.

    With scope `global` every matrix has the common share.

    Raises:
        RecipeError: roles that the model has not; matrices that are stored as factors or quantized.
    """
    config = config_with(config, {}, **_fields(spec))
    forms: dict[str, dict[str, Any]] = {}
    for name in _names(config, spec):
        K = _most(config.shapes[name], spec, spec.sparsity)
        forms[name] = {"form": "sparse", "nonzeros": min(K, spec_of(config, name).get("nonzeros", K))}
    planned = config_with(config, forms)
    return quantize.plan(planned, _in_8_bits(spec)) if spec.values == "int8" else planned


def prepare(model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None) -> RnnLmForCausalLM:
    """The model that fine-tuning under `constraint` starts from: untied, dense, and pruned if that happens at once.

    Args:
        data: a corpus, where `criterion` or `refit` reads training text.

    Raises:
        RecipeError: as `plan`; data is missing. CorpusError, VocabularyError: the data are of no use.
    """
    plan(model.config, spec)
    model = untied(model) if spec.untie else model
    if spec.schedule == "one_shot":
        matrices = _pruned(model, spec, data)
    else:
        matrices = {name: weights(model, name) for name in _names(model.config, spec)}
    return with_forms(model, {name: (DENSE, {"weight": matrix}) for name, matrix in matrices.items()})


def compress(model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None) -> RnnLmForCausalLM:
    """A copy of the model with sparse matrices, pruned unless they have as many zeros already.

    Args, Raises: as `prepare`.
    """
    plan(model.config, spec)
    model = untied(model) if spec.untie else model
    changes: dict[str, Change] = {}
    for name, matrix in _pruned(model, spec, data).items():
        form = {"form": "sparse", "nonzeros": max(1, int(matrix.count_nonzero()))}
        changes[name] = form, Sparse.from_dense(matrix, form)
    made = with_forms(model, changes)
    return quantize.compress(made, _in_8_bits(spec)) if spec.values == "int8" else made


def constraint(spec: Spec) -> Constraint:
    """Fine-tuning that prunes by its schedule and in which zeros stay zeros."""
    return Pruning(spec)


class Pruning(KeepZeros):
    """Matrices are pruned to what the schedule asks for, and what is zero stays so, in the averaged weights as well.

    Args:
        spec: what is pruned; the matrices are dense, as `prepare` makes them.
    """

    def __init__(self, spec: Spec):
        super().__init__(())
        self.spec = spec

    def tensors(self, model: Any) -> list[Any]:
        return [matrix_of(model, name).weight for name in select(model.config, self.spec.roles)]

    @torch.no_grad()
    def after_update(self, model: Any, done: float) -> None:
        super().after_update(model, done)
        matrices = {str(place): tensor.detach() for place, tensor in enumerate(self.tensors(model))}
        sparsity = self.spec.sparsity_at(done)
        if full := _too_full(matrices, self.spec, sparsity):
            sizes = {place: matrices[place].abs() for place in full}
            for place, stay in _staying(matrices, sizes, self.spec, sparsity).items():
                matrices[place].masked_fill_(~stay, 0)
                self.zeros[int(place)] |= ~stay  # the average, corrected next, gets the same zeros

    def complete(self, done: float) -> bool:
        return self.spec.sparsity_at(done) == self.spec.sparsity


def _pruned(model: RnnLmForCausalLM, spec: Spec, data: Corpus | None) -> Matrices:
    """The selected matrices with their zeros; those that have enough of them stay as they are."""
    matrices = {name: weights(model, name) for name in _names(model.config, spec)}
    full = _too_full(matrices, spec, spec.sparsity)
    if not full:
        return matrices
    if spec.refit:
        need_text(data, "refit = true", "refit = false")
    worth = scores(model, full, spec.criterion, data)
    moments = second_moments(model, data) if spec.refit else {}
    for name, stay in _staying(matrices, worth, spec, spec.sparsity).items():
        kept = matrices[name] * stay
        matrices[name] = refitted(matrices[name], kept != 0, moments[name]) if spec.refit and name != "embed" else kept
    return matrices


def _too_full(matrices: Matrices, spec: Spec, sparsity: float) -> list[str]:
    """The names of the matrices with fewer zeros than asked for; with scope `global` all or none."""
    counts = {name: int(matrix.count_nonzero()) for name, matrix in matrices.items()}
    if spec.scope == "global":
        most = max(len(matrices), staying(sum(matrix.numel() for matrix in matrices.values()), sparsity))
        return list(matrices) if sum(counts.values()) > most else []
    return [name for name, matrix in matrices.items() if counts[name] > _most(tuple(matrix.shape), spec, sparsity)]


def _most(shape: tuple[int, ...], spec: Spec, sparsity: float) -> int:
    """K of a matrix."""
    M, N = shape
    return M * staying(N, sparsity) if spec.scope == "row" else staying(M * N, sparsity)


def _staying(matrices: Matrices, worth: Matrices, spec: Spec, sparsity: float) -> Matrices:
    """Which numbers stay of the matrices whose numbers' `worth` is given."""
    worth = dict(worth)
    for name, score in worth.items():
        if spec.normalise:
            score = score / matrices[name].std(correction=0).clamp_min(1e-30)
        worth[name] = score.masked_fill(matrices[name] == 0, -1)  # what is zero goes first
    return largest(worth, sparsity, spec.scope)


def _in_8_bits(spec: Spec) -> quantize.Spec:
    """How the numbers that stay are quantized."""
    return quantize.Spec(roles=spec.roles)


def _fields(spec: Spec) -> dict[str, Any]:
    """Fields of the config that change before anything is pruned."""
    return {"tie_word_embeddings": False} if spec.untie else {}


def _names(config: RnnLmConfig, spec: Spec) -> list[str]:
    """The matrices to prune."""
    names = select(config, spec.roles)
    able = [name for name in config.shapes if stored_singly(spec_of(config, name))]
    for name in names:
        if name not in able:
            form = spec_of(config, name)
            stored = form["form"] + (f" with {form['values']['form']} values" if "values" in form else "")
            give = f"give roles among {', '.join(able)}, or " if able else ""
            raise RecipeError(f"{name} is stored as {stored}, which cannot be pruned; {give}prune it before that step")
    return names
