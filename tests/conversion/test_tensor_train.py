"""TT-SVD of a model's matrices: errors against the singular values, both schemes of modes, refusals before any work."""

import math

import pytest
import torch

from conversion.matrices import matrix_of, spec_of
from conversion.tensor_train import Spec, compress, plan
from tests.zoo.models import fill, model_of
from zoo import RnnLmConfig, RnnLmForCausalLM
from zoo.errors import RecipeError

SIZES = dict(vocab_size=30, embedding_size=12, hidden_size=12, num_hidden_layers=2, eos_token_id=1)


def made(tied=False, **fields) -> RnnLmForCausalLM:
    return fill(RnnLmForCausalLM(RnnLmConfig(**{**SIZES, "tie_word_embeddings": tied, **fields})))


def dense(model, name):
    return matrix_of(model, name).to_dense().detach().double()


def tails(model, name, spec) -> list[float]:
    """Per bond the norm of the singular values of the unfolding beyond the rank."""
    d, W = len(spec["row_modes"]), dense(model, name)
    order = [axis for m in range(d) for axis in (m, d + m)]
    tensor = W.reshape(*spec["row_modes"], *spec["column_modes"]).permute(order)
    sizes = [i * j for i, j in zip(spec["row_modes"], spec["column_modes"], strict=True)]
    unfolded = [tensor.reshape(math.prod(sizes[: m + 1]), -1) for m in range(d - 1)]
    return [float(torch.linalg.svdvals(A)[r:].norm()) for A, r in zip(unfolded, spec["ranks"], strict=True)]


@pytest.mark.parametrize(
    "way",
    [
        {"row_modes": (5, 3, 2), "column_modes": (2, 2, 3)},
        {"row_modes": (6, 5, 1), "column_modes": (1, 1, 12)},
        {"modes": (6, 5, 12)},
        {"modes": (5, 18, 4)},  # 18 = 6 rows x 3 columns
        {"order": 3},
        {"order": 1},
    ],
)
def test_full_rank_is_exact_in_every_scheme_of_modes(way):
    model = made()
    spec = Spec(("head",), **way, max_rank=10_000)
    result = compress(model, spec)
    torch.testing.assert_close(dense(result, "head"), dense(model, "head"), atol=1e-5, rtol=1e-5)
    ids = torch.randint(0, 30, (2, 6))
    torch.testing.assert_close(result(ids).logits, model(ids).logits, atol=2e-5, rtol=1e-4)
    assert plan(model.config, spec).to_dict()["weights"] == result.config.weights


def test_plain_reshape_numbers_as_equation_22():
    """The cores of flat modes give the entry of the flat tensor, straddling mode included."""
    model = made()
    spec = spec_of(compress(model, Spec(("head",), modes=(5, 18, 4), max_rank=99)).config, "head")
    assert (spec["row_modes"], spec["column_modes"]) == ([5, 6, 1], [1, 3, 4])
    result = compress(model, Spec(("head",), modes=(5, 18, 4), max_rank=99))
    flat, W = dense(model, "head").reshape(5, 18, 4), None
    bonds = [1, *spec["ranks"], 1]
    for m, core in enumerate(matrix_of(result, "head").cores):
        G = core.to_dense().detach().double().reshape(bonds[m], -1, bonds[m + 1])  # [r, k, s]: i and j together
        W = G if W is None else torch.einsum("akb,bls->akls", W, G).flatten(1, 2)
    torch.testing.assert_close(W.reshape(5, 18, 4), flat, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("rank", "bond"), [((4, 12), 0), ((6, 7), 1)])
def test_error_of_one_cut_bond_is_the_tail_of_its_singular_values(rank, bond):
    model = made()
    result = compress(model, Spec(("head",), modes=(6, 5, 12), ranks=rank))
    error = float((dense(result, "head") - dense(model, "head")).norm())
    found = tails(model, "head", spec_of(result.config, "head"))
    assert found[1 - bond] == pytest.approx(0, abs=1e-6)
    assert error == pytest.approx(found[bond], rel=1e-5)


@pytest.mark.parametrize("max_rank", [1, 2, 3, 5])
def test_error_lies_between_the_largest_tail_and_the_bound_of_oseledets(max_rank):
    model = made(embedding_size=12)
    result = compress(model, Spec(("head", "input", "recurrent"), order=3, max_rank=max_rank))
    for name in ("head", "input.0", "recurrent.1"):
        error = float((dense(result, name) - dense(model, name)).norm())
        found = tails(model, name, spec_of(result.config, name))
        assert max(found) * (1 - 1e-5) <= error <= math.hypot(*found) * (1 + 1e-5)
        assert error > 0


def test_target_error_is_kept_by_the_smallest_ranks():
    model = made()
    with torch.no_grad():
        W = torch.linalg.svd(torch.randn(30, 12))
        matrix_of(model, "head").weight.copy_((W[0][:, :12] * 0.5 ** torch.arange(12)) @ W[2])
    sizes = []
    for error in (0.05, 0.2, 0.5):
        result = compress(model, Spec(("head",), modes=(30, 12), error=error))
        assert float((dense(result, "head") - dense(model, "head")).norm() / dense(model, "head").norm()) <= error
        (rank,) = spec_of(result.config, "head")["ranks"]
        assert 0.5 ** (rank - 1) > error * 0.8  # one less would not do
        sizes.append(rank)
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    capped = compress(model, Spec(("head",), modes=(30, 12), error=0.05, max_rank=2))
    assert spec_of(capped.config, "head")["ranks"] == [2]


def test_a_matrix_that_an_error_does_not_shrink_stays_and_none_is_refused():
    model = made()
    with torch.no_grad():
        matrix_of(model, "head").weight.copy_(torch.ones(30, 1) @ torch.randn(1, 12))
    result = compress(model, Spec(("head", "recurrent"), order=2, error=0.01))
    forms = {name: spec_of(result.config, name)["form"] for name in ("head", "recurrent.0", "recurrent.1")}
    assert forms == {"head": "tensor_train", "recurrent.0": "dense", "recurrent.1": "dense"}
    with pytest.raises(RecipeError, match=r"no matrix of recurrent.0, recurrent.1 smaller; give a larger error"):
        compress(model, Spec(("recurrent",), order=2, error=0.01))


def test_order_alone_takes_layers_of_several_shapes_and_prime_sizes():
    model = model_of(cell="gru", projected=True, tied=False)  # 31 words, 7, 9 and 5 numbers
    before = {name: p.clone() for name, p in model.named_parameters()}
    result = compress(model, Spec(("all",), order=2, max_rank=3))
    assert all(spec_of(result.config, name)["form"] == "tensor_train" for name in result.config.shapes)
    assert result(torch.tensor([[1, 2, 3]])).logits.isfinite().all()
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_tied_heads_and_other_forms():
    model = made(tied=True)
    with pytest.raises(RecipeError, match="untie"):
        plan(model.config, Spec(order=2, max_rank=3))
    untied = compress(model, Spec(order=2, max_rank=3, untie=True))
    assert spec_of(untied.config, "embed") == {"form": "dense"} and spec_of(untied.config, "head")["form"] != "dense"
    both = compress(model, Spec(("embed",), order=2, max_rank=3))
    assert torch.equal(both.model.embed_tokens.to_dense(), both.lm_head.to_dense())
    again = compress(both, Spec(("embed",), order=3, max_rank=2))
    assert spec_of(again.config, "embed")["ranks"] == [2, 2]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(row_modes=(5, 5), column_modes=(3, 4), ranks=(2,)), r"multiply to 25, not 30; e\.g\. \[5, 6\]"),
        (dict(row_modes=(5, 6), column_modes=(12,), ranks=(2,)), "fill up with 1"),
        (dict(modes=(5, 5, 12), max_rank=3), r"multiply to 300, head has 30 x 12 = 360 numbers; give e\.g\."),
        (dict(modes=(9, 40), max_rank=3), r"do not fall apart into 30 rows"),
        (dict(modes=(4, 90), max_rank=3), r"do not fall apart into 30 rows"),
        (dict(modes=(6, 5, 12), ranks=(7, 3)), r"at most \[6, 12\].*give ranks = \[6, 3\]"),
        (dict(modes=(6, 5, 12), ranks=(2, 12)), r"give ranks = \[2, 10\]"),
        (dict(modes=(6, 5, 12), ranks=(2,)), r"2 bonds; give ranks = \[2, 2\]"),
        (dict(order=2), "give max_rank = 16"),
        (dict(order=2, ranks=(2,), error=0.1), "give ranks alone"),
        (dict(order=2, modes=(30, 12), max_rank=2), "give order = 2"),
        (dict(row_modes=(5, 6), max_rank=2), "give order = 2, or both"),
        (dict(max_rank=2), "give order = 3"),
    ],
)
def test_impossible_specs_are_refused_before_any_work_with_the_nearest_choice(fields, message):
    config = RnnLmConfig(**{**SIZES, "tie_word_embeddings": False})
    with pytest.raises(RecipeError, match=message):
        plan(config, Spec(**fields))


def test_explicit_modes_for_several_shapes_are_refused():
    config = RnnLmConfig(**{**SIZES, "tie_word_embeddings": False, "embedding_size": 6})
    with pytest.raises(RecipeError, match=r"several shapes \(input.0 48 x 6, input.1 48 x 12\); give order = 2"):
        plan(config, Spec(("input",), modes=(48, 6), max_rank=2))
