"""The matrices of a model by name, and a model with some of them in other forms.

A name is a key of `RnnLmConfig.shapes`: `embed`, `input.0`, `recurrent.0`, `candidate.0`, `projection.0` ...,
`mogrifier.0.0` (layer and round), `output_projection`, or `latent` and `prior`, `head` (if it is not tied to `embed`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, TypeVar

import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.errors import RecipeError
from zoo.layout import prefix_of
from zoo.modeling_rnnlm import RnnLmForCausalLM, RnnLmForSequenceClassification

DENSE = {"form": "dense"}
LABELS = ("id2label", "label2id", "problem_type")  # the library's fields that a text classifier has
Change = tuple[dict[str, Any], dict[str, torch.Tensor]]  # spec, and the tensors of that form
Model = TypeVar("Model", RnnLmForCausalLM, RnnLmForSequenceClassification)


def matrix_of(model: RnnLmForCausalLM | RnnLmForSequenceClassification, name: str) -> Any:
    """The module that holds a matrix."""
    return model.get_submodule(prefix_of(name))


def spec_of(config: RnnLmConfig, name: str) -> dict[str, Any]:
    """The weight form of a matrix."""
    role, _, layer = name.partition(".")
    return dict(config.form_of(role, layer or None))


def score_of(model: Any) -> int:
    """Labels of a text classifier, 0 for a language model."""
    return model.config.num_labels if hasattr(model, "score") else 0


def stored_singly(spec: dict[str, Any]) -> bool:
    """Whether a form holds a matrix number by number, as floats, so that single ones can become zero or go."""
    return spec["form"] in ("dense", "sparse") and "values" not in spec


def select(config: RnnLmConfig, roles: Iterable[str]) -> list[str]:
    """The names of matrices that roles stand for, in the model's order.

    A role is a name, a name without its layer (all layers), `layers` (all matrices of the recurrent layers) or `all`.

    Raises:
        RecipeError: a role that this model has not, with those that it has; `head` where it is tied.
    """
    # A text classifier's config has a head too where embed and head are not tied; its model has none.
    names, chosen = [name for name in config.shapes if name != "head" or config.problem_type is None], set()
    for role in roles:
        found = [name for name in names if role in ("all", name, name.partition(".")[0])]
        found += [name for name in names if role == "layers" and "." in name]
        if not found:
            if role == "head" and config.tie_word_embeddings:
                raise RecipeError(
                    "head is tied to the embedding, one matrix in two places; to compress both give embed, to give the "
                    "head a matrix of its own give untie = true (--untie)"
                )
            allowed = list(dict.fromkeys(["all", "layers", *(name.partition(".")[0] for name in names), *names]))
            close = difflib.get_close_matches(role, allowed, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise RecipeError(f"this model has no matrix {role!r}; {hint}allowed: {', '.join(allowed)}")
        chosen.update(found)
    return [name for name in names if name in chosen]


def config_with(config: RnnLmConfig, specs: dict[str, dict[str, Any]], **fields: Any) -> RnnLmConfig:
    """The config with some matrices in other forms and other `fields`.

    Raises:
        RecipeError: forms or fields that no model can have.
    """
    own = {name: getattr(config, name) for name in (*RnnLmConfig.__annotations__, *LABELS)}
    base = type(config)(**{**own, "weights": None, **{k: v for k, v in fields.items() if k != "weights"}})
    known = {name: spec_of(config, name) for name in config.shapes}
    if config.tie_word_embeddings and not base.tie_word_embeddings:
        known["head"] = known["embed"]
    weights = {name: {**known, **specs}[name] for name in base.shapes if name in {**known, **specs}}
    # A candidate without an entry would have the form of `recurrent`.
    weights = {name: spec for name, spec in weights.items() if spec != DENSE or name.startswith("candidate")}
    try:
        return type(config)(**{**own, **fields, "weights": weights})
    except Exception as error:  # the library's own classes of errors, with messages of several lines
        raise RecipeError(" ".join(str(error.__cause__ or error).split())) from error


@torch.no_grad()
def with_forms(model: Model, changes: dict[str, Change], **fields: Any) -> Model:
    """A copy of a language model or text classifier with some matrices in other forms; the given one stays as it is.

    Args:
        changes: name of a matrix -> spec and tensors, as a form's `from_dense` makes them.
        fields: of the config that change too, e.g. `tie_word_embeddings=False`, which gives the head a copy of the
            embedding's matrix unless `changes` has one for it.

    Raises:
        RecipeError: forms or fields that no model can have.
    """
    config = config_with(model.config, {name: spec for name, (spec, _) in changes.items()}, **fields)
    made = type(model)(config)
    tensors = dict(model.state_dict())
    for name, (_, own) in changes.items():
        prefix = prefix_of(name)
        for key in [key for key in tensors if key.startswith(f"{prefix}.") and key != f"{prefix}.bias"]:
            del tensors[key]
        if name == "embed" and config.tie_word_embeddings and hasattr(made, "lm_head"):
            for key in [key for key in tensors if key.startswith("lm_head.") and key != "lm_head.bias"]:
                del tensors[key]
            tensors.update({f"lm_head.{key}": tensor for key, tensor in own.items()})
        tensors.update({f"{prefix}.{key}": tensor for key, tensor in own.items()})
    made.load_state_dict(tensors)
    if made.can_generate():
        made.generation_config = model.generation_config
    return made.train(model.training)


def untied(model: RnnLmForCausalLM) -> RnnLmForCausalLM:
    """A copy whose head has a matrix of its own; the given model if it has one already."""
    return with_forms(model, {}, tie_word_embeddings=False) if model.config.tie_word_embeddings else model
