"""Configuration of the recurrent language models: every tensor's name, shape and form follows from it.

Letters: V vocabulary, D embedding, H hidden, P projection, O layer output (P if projected, else H), L layers,
K softmaxes.
"""

import dataclasses
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import GenerationConfig, PreTrainedConfig

from .weights_rnnlm import check_size, check_spec

LAYER_ROLES = ("input", "recurrent", "candidate", "projection", "mogrifier")
ROLES = ("embed", *LAYER_ROLES, "output_projection", "latent", "prior", "head")
# The field without which a model has no such matrix.
NEEDED = {"projection": "projection_size", "output_projection": "output_projection_size"}
NEEDED |= {"mogrifier": "mogrifier_rounds", "latent": "num_softmaxes", "prior": "num_softmaxes"}
DROPOUTS = ("input_dropout", "layer_dropout", "output_dropout", "embedding_dropout", "weight_drop")
# What transformers itself passes to a config beside the declared fields.
LIBRARY_ARGUMENTS = frozenset(
    "model_type auto_map name_or_path _name_or_path _commit_hash torch_dtype num_labels output_attentions"
    " attn_implementation _attn_implementation experts_implementation gradient_checkpointing per_layer_config"
    " tie_last_hidden_states".split()
) | frozenset(GenerationConfig._get_default_generation_params())

GATES = {"lstm": 4, "cifg": 3, "gru": 3, "rnn": 1}  # a cell's gates and candidates, H rows each


@strict
class RnnLmConfig(PreTrainedConfig):
    """Sizes, cell, weight forms and dropouts of an LSTM, CIFG, GRU or RNN language model.

    Args:
        vocab_size: V, number of words.
        embedding_size: D, width of a word vector.
        hidden_size: H, width of a cell.
        num_hidden_layers: L, number of recurrent layers.
        cell: "lstm" (eq. 11-15), "cifg" (an LSTM that forgets as much as it takes in, f = 1 - i; Greff et al. 2015),
            "gru" (eq. 16-19) or "rnn" (eq. 2-3).
        projection_size: P, the rank shared by the recurrence and the next layer (eq. 8-10, 20-21); None: no projection.
        output_projection_size: width of a linear map between the last layer and the head; needed when the embedding
            is tied and narrower or wider than O. None: no such map.
        mogrifier_rounds: how often input and state scale each other before a layer's cell (Melis et al. 2020, eq. 1-2);
            0: never. Each time has a matrix of its own, and training and long texts go without the fused kernel.
        num_softmaxes: K, softmaxes that are mixed (Yang et al. 2018, section 3); 1: the usual one. Above 1 the output
            projection is one tanh map [K N, O] to their K latents, N its size, and a matrix [K, O] gives their shares.
        tie_word_embeddings: the head uses the embedding's matrix.
        head_bias: the head adds a bias per word.
        weights: role -> weight form, e.g. `{"recurrent": {"form": "low_rank", "rank": 32}}`. Roles: embed, input,
            recurrent, candidate (of a projected GRU; missing: as recurrent), projection, mogrifier, output_projection,
            latent, prior, head; `recurrent.1` overrides layer 1, `mogrifier.1.0` its first round. Missing: dense. The
            forms: `weights_rnnlm.FORMS`.
        input_dropout, layer_dropout, output_dropout: dropout of word vectors, between layers, before the head.
        embedding_dropout: share of whole words dropped from the embedding.
        weight_drop: share of recurrent weights dropped (Merity et al. 2017, section 2).
        variational: one dropout mask per sequence (Gal and Ghahramani 2016) instead of one per time step.
        initializer_range: bound of the uniform initialisation of the embedding.

    Raises:
        StrictDataclassFieldValidationError, StrictDataclassClassValidationError: wrong type or impossible sizes.
        TypeError: an argument that does not exist.

    Source: equation numbers are those of Grachev et al. 2019.
    """

    model_type = "rnnlm"
    keys_to_ignore_at_inference = ["past_key_values"]

    vocab_size: int = 10000
    embedding_size: int = 200
    hidden_size: int = 200
    num_hidden_layers: int = 2
    cell: Literal["lstm", "cifg", "gru", "rnn"] = "lstm"
    projection_size: int | None = None
    output_projection_size: int | None = None
    mogrifier_rounds: int = 0
    num_softmaxes: int = 1
    tie_word_embeddings: bool = True
    head_bias: bool = True
    weights: dict | None = None
    input_dropout: float | int = 0.0
    layer_dropout: float | int = 0.0
    output_dropout: float | int = 0.0
    embedding_dropout: float | int = 0.0
    weight_drop: float | int = 0.0
    variational: bool = True
    initializer_range: float | int = 0.1
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs):
        unknown = sorted(set(kwargs) - LIBRARY_ARGUMENTS)
        if unknown:
            known = ", ".join(field.name for field in dataclasses.fields(self))
            raise TypeError(f"RnnLmConfig has no argument {', '.join(unknown)}; it takes: {known}")
        self.weights = {} if self.weights is None else self.weights
        super().__post_init__(**kwargs)

    @property
    def layer_output_size(self) -> int:
        """O, width of what a layer hands on and carries to the next time step."""
        return self.hidden_size if self.projection_size is None else self.projection_size

    @property
    def cell_size(self) -> int:
        """Width of the state c beside the output; 0: the cell has none."""
        return self.hidden_size if self.cell in ("lstm", "cifg") else 0

    @property
    def feature_size(self) -> int:
        """Width of what the head reads."""
        return self.layer_output_size if self.output_projection_size is None else self.output_projection_size

    def form_of(self, role: str, layer: int | str | None = None) -> dict:
        """Weight form of a role, `{"form": name, ...}`; a layer's own entry comes before the role's.

        layer: of a Mogrifier with the round, `1.0`.
        """
        forms = self.weights or {}
        if role == "head" and self.tie_word_embeddings:
            role = "embed"
        own = forms.get(f"{role}.{layer}") if layer is not None else None
        if own is None and role == "mogrifier":
            own = forms.get(f"{role}.{str(layer).partition('.')[0]}")
        if role == "candidate" and not own and role not in forms:
            return self.form_of("recurrent", layer)
        return own or forms.get(role) or {"form": "dense"}

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """(rows, columns) of every matrix: `embed`, `input.0`, `recurrent.0` ..., `head` where it is its own."""
        H, P, O = self.hidden_size, self.projection_size, self.layer_output_size
        projected_gru = self.cell == "gru" and P is not None
        rows = 2 * O + H if projected_gru else GATES[self.cell] * H
        shapes = {"embed": (self.vocab_size, self.embedding_size)}
        for layer in range(self.num_hidden_layers):
            shapes[f"input.{layer}"] = (rows, self.embedding_size if layer == 0 else O)
            shapes[f"recurrent.{layer}"] = (2 * O if projected_gru else rows, O)
            if projected_gru:
                shapes[f"candidate.{layer}"] = (H, O)
            if P is not None:
                shapes[f"projection.{layer}"] = (P, H)
            for number in range(self.mogrifier_rounds):  # the input by the state, the state by the input, ...
                sizes = (shapes[f"input.{layer}"][1], O)
                shapes[f"mogrifier.{layer}.{number}"] = sizes if number % 2 == 0 else sizes[::-1]
        if self.num_softmaxes > 1:
            shapes["latent"] = (self.num_softmaxes * self.feature_size, O)
            shapes["prior"] = (self.num_softmaxes, O)
        elif self.output_projection_size is not None:
            shapes["output_projection"] = (self.output_projection_size, O)
        if not self.tie_word_embeddings:
            shapes["head"] = (self.vocab_size, self.feature_size)
        return shapes

    def validate_architecture(self):
        """Refuses sizes, rates and weight forms that no model can have."""
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_softmaxes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.mogrifier_rounds < 0:
            raise ValueError(f"mogrifier_rounds is {self.mogrifier_rounds}; it must be at least 0")
        for name in ("projection_size", "output_projection_size"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ValueError(f"{name} is {size}; it must be at least 1, or None for no projection")
        if self.initializer_range < 0:
            raise ValueError(f"initializer_range is {self.initializer_range}; it must be at least 0")
        for name in DROPOUTS:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if self.tie_word_embeddings and self.feature_size != self.embedding_size:
            raise ValueError(
                f"tie_word_embeddings needs embedding_size {self.embedding_size} equal to the width before the head "
                f"{self.feature_size}; set output_projection_size={self.embedding_size} or tie_word_embeddings=False"
            )
        shapes = self.shapes
        roles = {name.partition(".")[0] for name in shapes}
        for key, spec in (self.weights or {}).items():
            role, dot, layer = key.partition(".")
            if role not in ROLES or (dot and role not in LAYER_ROLES):
                raise ValueError(f"weights names the role {key!r}; roles are {', '.join(ROLES)}, a layer's is input.0")
            if dot and key not in shapes and layer not in map(str, range(self.num_hidden_layers)):
                last = self.num_hidden_layers - 1
                raise ValueError(f"weights names layer {layer!r} in {key!r}; layers are 0 to {last}")
            if role == "head" and self.tie_word_embeddings:
                raise ValueError("weights names 'head', which is tied to 'embed'; set tie_word_embeddings=False")
            if role in NEEDED and role not in roles:
                raise ValueError(f"weights names {key!r}, which this model has not; set {NEEDED[role]} or leave it out")
            if role == "candidate" and not (self.cell == "gru" and self.projection_size is not None):
                raise ValueError(f"weights names {key!r}, which only a GRU with projection_size has; leave it out")
            check_spec(spec, f"weights[{key!r}]")
        for name, (rows, columns) in shapes.items():
            role, _, layer = name.partition(".")
            check_size(self.form_of(role, layer or None), f"weights of {name}", rows, columns)


__all__ = ["RnnLmConfig"]
