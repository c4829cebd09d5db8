"""Compensated rounding: exact where nothing is lost, elsewhere less error of the products than the nearest."""

import copy

import numpy as np
import pytest
import torch

from conversion.activations import second_moments
from conversion.clipping import symmetric_limits
from conversion.compensation import compensated, moments_of_parts
from conversion.matrices import matrix_of, with_forms
from conversion.quantize import Spec, compress, constraint, quantized
from tests.zoo.models import VOCABULARY, model_of
from zoo.corpora import Corpus
from zoo.errors import RecipeError


def limit(x: torch.Tensor) -> torch.Tensor:
    return symmetric_limits(x, 7, "minmax", 100)


def correlated(count: int, seed: int = 0) -> torch.Tensor:
    """Second moments [N, N] of inputs that have much in common."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(500, 3, generator=generator) @ torch.randn(3, count, generator=generator)
    x += 0.1 * torch.randn(500, count, generator=generator)
    return x.T.double() @ x.double() / 500


def loss(error: torch.Tensor, moments: torch.Tensor) -> float:
    """E |error x|²."""
    error = error.detach().double()
    return float(((error @ moments) * error).sum())


@pytest.mark.parametrize("group", [4, 64, None])
def test_less_error_of_the_products_than_the_nearest_levels(group: int | None):
    matrix = torch.randn(13, 22, generator=torch.Generator().manual_seed(1))
    moments = correlated(22)
    made, limits = compensated(matrix, moments, 7, group, limit)
    assert limits.shape == (13, -(-22 // (group or 22)))
    scale = (limits / 7).repeat_interleave(group or 22, dim=1)[:, :22]
    q = made / scale
    assert (q - q.round()).abs().max() < 1e-4 and q.abs().max() < 7.001
    nearest = scale * torch.round(matrix / scale).clamp(-7, 7)
    assert loss(made - matrix, moments) < 0.5 * loss(nearest - matrix, moments)


def test_inputs_that_have_nothing_in_common_give_the_nearest_levels():
    matrix = torch.randn(5, 9, generator=torch.Generator().manual_seed(2))
    for moments in (torch.eye(9), torch.diag(torch.arange(1.0, 10)), torch.zeros(9, 9)):
        made, limits = compensated(matrix, moments.double(), 7, 4, limit)
        scale = (limits / 7).repeat_interleave(4, dim=1)[:, :9]
        assert torch.allclose(made, scale * torch.round(matrix / scale), atol=1e-6)


def test_numbers_on_the_levels_stay():
    q = torch.randint(-7, 8, (6, 8), generator=torch.Generator().manual_seed(0)).float()
    q[:, ::4] = 7
    made, _ = compensated(q * 0.25, correlated(8), 7, 4, limit)
    assert torch.equal(made, q * 0.25)
    assert torch.equal(compensated(torch.zeros(3, 5), correlated(5), 7, 4, limit)[0], torch.zeros(3, 5))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("form", ["dense", "low_rank", "tensor_train"])
@pytest.mark.parametrize("tied", [True, False])
def test_every_matrix_is_rounded_by_the_inputs_it_has(bits: int, form: str, tied: bool):
    tokens = np.random.default_rng(0).integers(2, VOCABULARY, 2000).astype(np.int32)
    words = ["a", "<eos>", *(f"w{i}" for i in range(2, VOCABULARY))]
    corpus = Corpus("random", words, {"train": tokens}, {})
    model = model_of(form=form, tied=tied)
    spec = Spec(bits=bits, group=4, limits="error", rounding="compensated")
    made, nearest = compress(model, spec, corpus), compress(model, Spec(bits=bits, group=4, limits="error"))
    assert made.config.weights == nearest.config.weights
    moments = second_moments(model, corpus)
    gains = []
    for name, known in moments.items():
        if name == "embed" or (name == "head" and tied):
            continue
        parts = [matrix_of(found, name).to_dense() for found in (made, nearest, model)]
        if form == "tensor_train":
            assert torch.equal(parts[0], parts[1])
        else:
            gains.append(loss(parts[0] - parts[2], known) / loss(parts[1] - parts[2], known))
    assert not gains or sum(gains) / len(gains) < 0.97
    untouched = torch.equal(*(matrix_of(found, "embed").to_dense() for found in (made, nearest)))
    assert untouched == (not tied or form == "tensor_train")


def test_factors_meet_what_is_left_of_the_input():
    model = model_of(form="low_rank")
    module, moments = matrix_of(model, "recurrent.0"), correlated(9)
    known = moments_of_parts(module, moments)
    right = module.right.to_dense().double()
    assert known["right."] is moments
    assert torch.allclose(known["left."], right @ moments @ right.T)
    assert moments_of_parts(module, None) == {}


def test_saved_numbers_are_those_that_were_chosen():
    matrix = torch.randn(6, 8, generator=torch.Generator().manual_seed(4))
    model = model_of(tied=False, vocab_size=6, hidden_size=8, layers=1)
    model = with_forms(model, {"head": ({"form": "dense"}, {"weight": matrix})})
    spec, moments = Spec(bits=4, group=4, rounding="compensated"), correlated(8)
    tensors = quantized(model.lm_head, spec, moments)
    chosen, limits = compensated(matrix, moments, 7, 4, spec.largest)
    head = copy.deepcopy(compress(model, Spec(roles=("head",), bits=4, group=4)).lm_head)
    head.load_state_dict(tensors, strict=False)
    assert torch.allclose(head.to_dense(), chosen, atol=1e-6) and torch.equal(tensors["scale"], limits / 7)


def test_what_cannot_be_compensated_is_told():
    with pytest.raises(RecipeError, match="scheme = 'row'"):
        Spec(scheme="range", rounding="compensated")
    with pytest.raises(RecipeError, match="leave out the stages"):
        constraint(Spec(rounding="compensated"))
    with pytest.raises(RecipeError, match="rounding = 'nearest'"):
        compress(model_of(), Spec(rounding="compensated"))


def test_a_mixture_of_softmaxes_is_rounded_to_the_nearest():
    model = model_of(num_softmaxes=3)
    made, nearest = (compress(model, Spec(rounding=rounding)) for rounding in ("compensated", "nearest"))
    assert all(
        torch.equal(a, b) for a, b in zip(made.state_dict().values(), nearest.state_dict().values(), strict=True)
    )
