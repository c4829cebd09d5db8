"""Structured pruning: whole hidden units go, and the model gets smaller in every sense.

Letters: V vocabulary, D embedding, H hidden, P projection, O layer output (P if projected, else H), K units that stay.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.plain_network import check_plain

from .activations import second_moments, sensitivities
from .matrices import config_with, prefix_of, spec_of
from .saliency import need_text, weights
from .tables import number


@dataclass(frozen=True)
class Spec:
    """How many units stay, and which.

    Args:
        keep: units of every layer that stay; 0: as `share` says.
        share: share of the units of every layer that stays; 0: as `keep` says. Exactly one of the two is given.
        criterion: which units go: those whose weights, coming in and going out, have the least norm (`norm`; the groups
            of Wen et al. 2018); those that hand on least on training text, root mean square of the output times norm
            of the weights going out (`activation`); or those that do least to the loss, the same with each of these
            weights times how much its output matters (`curvature`).
    """

    keep: int = number(0)
    share: float = number(0.0, most=1)
    criterion: Literal["norm", "activation", "curvature"] = "curvature"

    def __post_init__(self) -> None:
        if bool(self.keep) == bool(self.share):
            raise RecipeError(
                f"keep = {self.keep} and share = {self.share}; give exactly one, e.g. share = 0.75 for three quarters "
                "of the hidden units"
            )

    def units(self, H: int) -> int:
        """K of H.

        Raises:
            RecipeError: fewer than one or more than there are.
        """
        K = self.keep or max(1, round(self.share * H))
        if not 1 <= K <= H:
            raise RecipeError(f"{K} of {H} hidden units cannot be kept; give keep = {H} at most, and at least 1")
        return K


def plan(config: RnnLmConfig, spec: Spec) -> RnnLmConfig:
    """The config of the smaller model.

    A tied head of a model without projection gets a linear map from K to D before it; it has no such map if all stay.

    Raises:
        RecipeError: more units than there are; matrices with hidden units in them that are not dense.
    """
    check_plain(config, "prune_units", "take prune, which makes single numbers zero", RecipeError)
    K = spec.units(config.hidden_size)
    if config.hidden_size == K:
        return copy.deepcopy(config)
    names = {
        name
        for layer in range(config.num_hidden_layers)
        for name in (*_writers(config, layer), *_readers(config, layer))
    }
    for name in [name for name in config.shapes if name in names - {"embed"}]:
        if (form := spec_of(config, name)["form"]) != "dense":
            raise RecipeError(
                f"{name} is stored as {form}, of which no hidden units can be taken away; make prune_units the first "
                "step, before the matrices change their form"
            )
    lift = {"output_projection_size": config.embedding_size} if "embed" in names else {}
    return config_with(config, {}, hidden_size=K, **lift)


@torch.no_grad()
def compress(model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None) -> RnnLmForCausalLM:
    """A smaller copy of the model, which computes what the model does when nothing reads the units that go.

    Args:
        data: a corpus, where `criterion` reads training text.

    Raises:
        RecipeError: as `plan`; data is missing. CorpusError, VocabularyError: the data are of no use.
    """
    config, old = plan(model.config, spec), model.config
    stay = units_that_stay(model, spec, data)
    made = RnnLmForCausalLM(config)
    tensors: dict[str, torch.Tensor] = dict(model.state_dict())
    for layer, units in enumerate(stay):
        prefix = f"model.layers.{layer}"
        for name, others in _writers(old, layer).items():
            rows = _rows(old.shapes[name][0], others, units, old.hidden_size)
            tensors[f"{prefix_of(name)}.weight"] = tensors[f"{prefix_of(name)}.weight"][rows]
            if name == f"input.{layer}":
                tensors[f"{prefix}.bias"] = tensors[f"{prefix}.bias"][rows]
        if f"{prefix}.candidate_bias" in tensors:
            tensors[f"{prefix}.candidate_bias"] = tensors[f"{prefix}.candidate_bias"][units]
        for name in _readers(old, layer):
            if name != "embed":
                tensors[f"{prefix_of(name)}.weight"] = tensors[f"{prefix_of(name)}.weight"][:, units]
    if config.output_projection_size != old.output_projection_size:
        # Puts the units back where the tied head reads them.
        tensors["output_projection.weight"] = torch.eye(old.hidden_size)[:, stay[-1]]
    made.load_state_dict(tensors)
    made.generation_config = model.generation_config
    return made.train(model.training)


@torch.no_grad()
def units_that_stay(model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None) -> list[torch.Tensor]:
    """Numbers of the units that stay, ascending, layer by layer [K]; of equally good ones the first.

    Raises:
        RecipeError: as `plan`; data is missing. CorpusError, VocabularyError: the data are of no use.
    """
    plan(model.config, spec)
    config, H = model.config, model.config.hidden_size
    moments: dict[str, torch.Tensor] = {}
    outputs: dict[str, torch.Tensor] = {}
    if spec.criterion != "norm" and spec.units(H) < H:
        need_text(data, f"criterion = {spec.criterion!r}", "criterion = 'norm'")
        moments = second_moments(model, data)
    if spec.criterion == "curvature" and spec.units(H) < H:
        outputs = sensitivities(model, data)
    stay = []
    for layer in range(config.num_hidden_layers):
        worth = torch.zeros(H)
        for name in _readers(config, layer):
            squares = weights(model, name).square()
            worth += (squares * outputs[name].float()[:, None] if outputs else squares).sum(0)
        if moments:
            source = "recurrent" if config.projection_size is None else "projection"
            worth *= moments[f"{source}.{layer}"].diagonal().float()
        else:
            for name, others in _writers(config, layer).items():
                worth += weights(model, name).square().sum(1)[others:].view(-1, H).sum(0)
        stay.append(worth.argsort(descending=True, stable=True)[: spec.units(H)].sort().values)
    return stay


def _writers(config: RnnLmConfig, layer: int) -> dict[str, int]:
    """The matrices whose rows are units, gate after gate, and how many rows before those are not."""
    if config.cell == "gru" and config.projection_size is not None:  # its other gates are as wide as the projection
        return {f"input.{layer}": 2 * config.projection_size, f"candidate.{layer}": 0}
    return {f"input.{layer}": 0, f"recurrent.{layer}": 0}


def _readers(config: RnnLmConfig, layer: int) -> list[str]:
    """The matrices whose columns are units; `embed` of a tied head."""
    if config.projection_size is not None:
        return [f"projection.{layer}"]
    if layer + 1 < config.num_hidden_layers:
        return [f"recurrent.{layer}", f"input.{layer + 1}"]
    last = "output_projection" if config.output_projection_size is not None else "head"
    return [f"recurrent.{layer}", last if last in config.shapes else "embed"]


def _rows(size: int, others: int, units: torch.Tensor, H: int) -> torch.Tensor:
    """The rows that stay of a matrix's `size`, of which the first `others` are no units."""
    return torch.cat([torch.arange(others), *(start + units for start in range(others, size, H))])
