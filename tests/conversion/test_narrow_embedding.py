"""Narrower word vectors: exact at full size, the best possible below, refusals before any work."""

import pytest
import torch

from conversion import low_rank
from conversion.activations import sensitivities
from conversion.matrices import matrix_of
from conversion.narrow_embedding import Spec, compress, plan
from tests.zoo.models import EMBEDDING, VOCABULARY, model_of
from zoo.errors import RecipeError

IDS = torch.randint(0, VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(1))
CELLS = ("lstm", "cifg", "gru", "rnn")


def made_of_words(model) -> torch.Tensor:
    """What the first layer's input matrix makes of every word [V, G]."""
    E, W = (matrix_of(model, name).weight.detach().double() for name in ("embed", "input.0"))
    return E @ W.T


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@torch.no_grad()
def test_full_size_is_the_parent(cell, projected, tied, weighted, data):
    model = model_of(cell=cell, projected=projected, tied=tied)
    same = compress(model, Spec(EMBEDDING, weighted, untie=True), data)
    torch.testing.assert_close(same(IDS).logits, model(IDS).logits, rtol=1e-4, atol=1e-5)
    assert model.config.tie_word_embeddings == tied and not same.config.tie_word_embeddings
    narrow = compress(model, Spec(3, weighted, untie=True), data)
    assert narrow.config.to_dict() == plan(model.config, Spec(3, weighted, untie=True)).to_dict()
    assert narrow.config.embedding_size == 3 and narrow.config.shapes["input.0"][1] == 3
    assert narrow(IDS).logits.isfinite().all()
    torch.testing.assert_close(
        matrix_of(narrow, "head").to_dense(), matrix_of(model, "embed" if tied else "head").to_dense()
    )


def test_what_the_first_layer_sees_is_nearest(data):
    model = model_of(tied=False)
    whole = made_of_words(model)
    plain = made_of_words(compress(model, Spec(4, weighted=False)))
    torch.testing.assert_close((plain - whole).norm(), torch.linalg.svdvals(whole)[4:].norm(), rtol=1e-4, atol=1e-6)
    outputs = sensitivities(model, data)
    rows, matters = low_rank.row_weights(outputs["embed"])[:, None], outputs["input.0"]

    def loss(made: torch.Tensor) -> float:
        return float((rows * (made - whole) * matters.sqrt()).square().sum())

    best = loss(made_of_words(compress(model, Spec(4), data)))
    assert best < loss(plain)
    A = rows * whole * matters.sqrt()
    assert best == pytest.approx(float(torch.linalg.svdvals(A)[4:].square().sum()), rel=1e-3)


@torch.no_grad()
def test_vectors_keep_their_scale_and_a_smaller_one_is_part_of_a_larger(data):
    model = model_of(tied=False)
    E, W = (matrix_of(model, name).weight for name in ("embed", "input.0"))
    narrow = compress(model, Spec(6, weighted=False))
    assert matrix_of(narrow, "embed").weight.norm() < E.norm() * 1.01
    assert matrix_of(narrow, "input.0").weight.norm() < W.norm() * 1.01
    torch.testing.assert_close(
        made_of_words(compress(narrow, Spec(3, weighted=False))),
        made_of_words(compress(model, Spec(3, weighted=False))),
        rtol=1e-3,
        atol=1e-5,
    )


def test_refusals(data):
    with pytest.raises(RecipeError, match=r"tied to the head.* untie = true"):
        plan(model_of().config, Spec(3))
    with pytest.raises(RecipeError, match=rf"size {EMBEDDING + 1} .* give size = {EMBEDDING}"):
        plan(model_of(tied=False).config, Spec(EMBEDDING + 1))
    packed = low_rank.compress(model_of(tied=False), low_rank.Spec(("input",), rank=2, weighted=False))
    with pytest.raises(RecipeError, match=r"dense input.0, but it is low_rank; give it as the first step"):
        plan(packed.config, Spec(3))
    with pytest.raises(RecipeError, match="needs training text"):
        compress(model_of(tied=False), Spec(3))
