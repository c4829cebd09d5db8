"""Narrower word vectors: the embedding at low rank, its right factor multiplied into the first layer.

The best factors are those of Eckart and Young 1936 in the norm of what the first layer makes of a word.
Letters: V vocabulary, D embedding, G rows of the first layer's input matrix, R the new width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.plain_network import check_plain

from .activations import sensitivities, square_root
from .low_rank import decompose, row_weights
from .matrices import config_with, matrix_of, spec_of, untied
from .tables import number

LAYER, WORDS = "input.0", "embed"


@dataclass(frozen=True)
class Spec:
    """How far.

    Args:
        size: R, numbers of a word vector, the new `embedding_size`.
        weighted: words count by their share of the training text, and what the first layer makes of them by how much it
            matters to the loss; else all alike.
        untie: a tied head gets a matrix of its own first, and stays as wide as it is.
    """

    size: int = number(least=1)
    weighted: bool = True
    untie: bool = False


def plan(config: RnnLmConfig, spec: Spec) -> RnnLmConfig:
    """The config of the result.

    Raises:
        RecipeError: a tied head, a size above the embedding's, matrices that are compressed already.
    """
    check_plain(config, "narrow_embedding", "take low_rank with roles = ['embed']", RecipeError)
    if config.tie_word_embeddings and not spec.untie:
        raise RecipeError(
            "embed is tied to the head, which would have to get narrower too; give untie = true (--untie), or low_rank "
            "with roles = ['embed'] for both"
        )
    if not 1 <= spec.size <= config.embedding_size:
        nearest = min(max(1, spec.size), config.embedding_size)
        raise RecipeError(f"size {spec.size} for embedding_size {config.embedding_size}; give size = {nearest}")
    for name in (WORDS, LAYER):
        if (form := spec_of(config, name)["form"]) != "dense":
            raise RecipeError(f"narrow_embedding takes a dense {name}, but it is {form}; give it as the first step")
    return config_with(config, {}, embedding_size=spec.size, tie_word_embeddings=False)


@torch.no_grad()
def compress(model: RnnLmForCausalLM, spec: Spec, data: Corpus | None = None) -> RnnLmForCausalLM:
    """A copy of a model with R numbers a word at its input; with R = D it computes what the parent does.

    Raises:
        RecipeError: as `plan`; `weighted` without data. CorpusError, VocabularyError: the data are of no use.
    """
    config = plan(model.config, spec)
    E, W = (matrix_of(model, name).weight.cpu().double() for name in (WORDS, LAYER))  # [V, D], [G, D]
    rows, matters = torch.ones(len(E)).double(), torch.ones(len(W)).double()
    if spec.weighted:
        outputs = sensitivities(model, data)
        rows, matters = row_weights(outputs[WORDS]), outputs[LAYER]
    u, _, X = decompose(E, rows, square_root(W.T @ (matters[:, None] * W))[0])
    left, right = u[:, : spec.size] / rows[:, None], u[:, : spec.size].T @ X  # [V, R], [R, D]
    # An orthonormal basis of the directions that are kept leaves both matrices at the scale that they were trained at.
    basis, triangle = torch.linalg.qr(right.T)
    tensors = dict(untied(model).state_dict())
    tensors["model.embed_tokens.weight"] = (left @ triangle.T).float()
    tensors["model.layers.0.input.weight"] = (W @ basis).float()
    made = RnnLmForCausalLM(config)
    made.load_state_dict(tensors)
    made.generation_config = model.generation_config
    return made.train(model.training)
