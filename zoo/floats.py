"""What numbers stored as integers stand for, in floats, so that a compressed model can learn."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch

from .configuration_rnnlm import RnnLmConfig
from .integers_rnnlm import Packed
from .modeling_rnnlm import RnnLmForCausalLM, RnnLmForSequenceClassification
from .sparse_rnnlm import Sparse

Model = TypeVar("Model", RnnLmForCausalLM, RnnLmForSequenceClassification)


def in_integers(spec: dict[str, Any]) -> bool:
    """Whether the numbers of a matrix of this form are integers, which do not learn."""
    return "int" in spec["form"] or "int" in spec.get("values", {}).get("form", "")


def float_config(config: RnnLmConfig) -> RnnLmConfig:
    """A config with floats in the place of integers; factors and zeros stay what they are."""
    forms = {}
    for role, spec in (config.weights or {}).items():
        if "values" in spec and in_integers(spec):
            spec = {name: value for name, value in spec.items() if name != "values"}
        if not in_integers(spec):
            forms[role] = spec
    config = copy.deepcopy(config)
    config.weights = forms
    return config


@torch.no_grad()
def float_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a model by name, as one of the config with `float_config` has them."""
    tensors = dict(model.state_dict())
    for name, module in model.named_modules():
        if isinstance(module, Packed):
            for part in ("scale", "low", "step"):
                tensors.pop(f"{name}.{part}", None)
            tensors[f"{name}.weight"] = module.to_dense()
        elif isinstance(module, Sparse) and module.scale is not None:
            rows = torch.arange(module.num_rows, device=module.starts.device)
            rows = rows.repeat_interleave(module.starts.diff())
            tensors[f"{name}.values"] = module.numbers(slice(None), rows)
            del tensors[f"{name}.scale"]
    return tensors


def in_floats(model: Model) -> Model:
    """The same model with floats in the place of integers; itself where it has none."""
    if not any(in_integers(spec) for spec in (model.config.weights or {}).values()):
        return model
    floats = type(model)(float_config(model.config))
    floats.load_state_dict(float_tensors(model))
    return floats.to(model.device).train(model.training)
