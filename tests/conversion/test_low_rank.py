"""Low rank of a model's matrices: the best one in either norm, all roles and cells, refusals before any work."""

import dataclasses
import itertools
import json

import pytest
import torch

from bench.report import RESULTS
from conversion.ablations.low_rank_ranks import PLACES, possible
from conversion.activations import measure
from conversion.low_rank import Spec, balanced, compress, plan, row_weights
from conversion.matrices import matrix_of, spec_of, with_forms
from conversion.tensor_train import Spec as TensorTrainSpec
from conversion.tensor_train import compress as tensor_train
from tests.zoo.models import VARIANTS, VOCABULARY, model_of, name_of
from zoo import RnnLmForCausalLM
from zoo.errors import RecipeError

DENSE_VARIANTS = [variant for variant in VARIANTS if variant["form"] == "dense"]


def dense(model, name):
    return matrix_of(model, name).to_dense().detach().double()


def numbers(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_plain_is_the_truncated_singular_value_decomposition():
    model = model_of(tied=False)
    result = compress(model, Spec(("head", "recurrent.1"), rank=4, weighted=False))
    for name in ("head", "recurrent.1"):
        error = (dense(result, name) - dense(model, name)).norm()
        torch.testing.assert_close(error, torch.linalg.svdvals(dense(model, name))[4:].norm(), rtol=1e-5, atol=1e-6)
        left, right = matrix_of(result, name).left.to_dense(), matrix_of(result, name).right.to_dense()
        torch.testing.assert_close(left.norm(dim=0), right.norm(dim=1))  # scale shared evenly
    assert spec_of(result.config, "recurrent.0") == {"form": "dense"}


def test_weighted_has_the_least_loss_to_second_order_and_no_other_is_nearer(data):
    model = model_of(tied=False)
    known = measure(model, data)
    for name in ("input.0", "recurrent.1", "head"):
        plain = compress(model, Spec((name,), rank=3, weighted=False))
        best = compress(model, Spec((name,), rank=3), data)
        rows, C = row_weights(known.outputs[name]), known.inputs[name]

        def loss(candidate, rows=rows, C=C, name=name):
            E = rows[:, None] * (candidate - dense(model, name))
            return float((E @ C * E).sum())

        least = loss(dense(best, name))
        assert least < loss(dense(plain, name))
        left, right = matrix_of(best, name).left.to_dense(), matrix_of(best, name).right.to_dense()
        torch.manual_seed(0)
        for _ in range(20):
            near = (left + 0.01 * torch.randn_like(left)) @ (right + 0.01 * torch.randn_like(right))
            assert least <= loss(near.detach().double())


def test_what_is_known_of_the_model_need_not_be_measured_again(data):
    model = model_of(tied=False)
    one = compress(model, Spec(("layers",), rank=3), data)
    other = compress(model, Spec(("layers",), rank=3), None, known=measure(model, data))
    assert all(torch.equal(p, numbers(other)[name]) for name, p in numbers(one).items())


@pytest.mark.parametrize("variant", DENSE_VARIANTS, ids=name_of)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_full_rank_is_exact_in_every_role_of_every_cell_and_the_model_stays(variant, weighted, data):
    model = model_of(**variant)
    before, known = numbers(model), measure(model, data) if weighted else None
    ids = torch.randint(0, VOCABULARY, (3, 5))
    for name, shape in model.config.shapes.items():
        result = compress(model, Spec((name,), rank=min(shape), weighted=weighted), data, known)
        assert spec_of(result.config, name) == {"form": "low_rank", "rank": min(shape)}
        assert result.config.weights == plan(model.config, Spec((name,), rank=min(shape))).weights
        torch.testing.assert_close(dense(result, name), dense(model, name), atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(result(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_target_error_is_kept_by_the_smallest_rank(data):
    model = model_of(tied=False)
    with torch.no_grad():
        u, _, vt = torch.linalg.svd(torch.randn(VOCABULARY, 9), full_matrices=False)
        matrix_of(model, "head").weight.copy_((u * 0.5 ** torch.arange(9)) @ vt)
    for error, weighted in itertools.product((0.03, 0.1, 0.4), (False, True)):
        result = compress(model, Spec(("head",), error=error, weighted=weighted), data)
        rank = spec_of(result.config, "head")["rank"]
        W = dense(model, "head")
        rows, C = torch.ones(VOCABULARY).double(), torch.eye(9).double()
        if weighted:
            known = measure(model, data)
            rows, C = row_weights(known.outputs["head"]), known.inputs["head"]

        def norm(E, rows=rows, C=C):
            return float(((rows[:, None] * E) @ C * (rows[:, None] * E)).sum().sqrt())

        one_less = compress(model, Spec(("head",), rank=max(1, rank - 1), weighted=weighted), data)
        assert norm(dense(result, "head") - W) <= error * norm(W) * (1 + 1e-4)
        assert rank == 1 or norm(dense(one_less, "head") - W) > error * norm(W)


def test_a_matrix_that_an_error_does_not_shrink_stays_and_none_is_refused_with_the_nearest():
    model = model_of(tied=False)
    with torch.no_grad():
        matrix_of(model, "head").weight.copy_(torch.ones(VOCABULARY, 1) @ torch.randn(1, 9))
    result = compress(model, Spec(("head", "recurrent"), error=0.01, weighted=False))
    assert spec_of(result.config, "head")["rank"] == 1
    assert spec_of(result.config, "recurrent.0") == {"form": "dense"}
    with pytest.raises(
        RecipeError, match=r"no matrix of recurrent.0, recurrent.1 smaller; give at least error = 0\."
    ) as e:
        compress(model, Spec(("recurrent",), error=0.01, weighted=False))
    nearest = float(str(e.value).rpartition("error = ")[2].split(",")[0])
    assert compress(model, Spec(("recurrent",), error=nearest, weighted=False)).config.weights


def test_tied_embedding_is_compressed_in_both_places_and_untied_in_one(data):
    model = model_of()
    both = compress(model, Spec(("embed",), rank=3), data)
    assert both.config.tie_word_embeddings and torch.equal(dense(both, "embed"), dense(both, "head"))
    assert both.lm_head.left.weight is both.model.embed_tokens.left.weight
    one = compress(model, Spec(rank=3, untie=True), data)
    assert not one.config.tie_word_embeddings and spec_of(one.config, "embed") == {"form": "dense"}
    assert spec_of(one.config, "head") == {"form": "low_rank", "rank": 3}
    assert torch.equal(dense(one, "embed"), dense(model, "embed"))
    torch.testing.assert_close(one.lm_head.bias, model.lm_head.bias)
    with pytest.raises(RecipeError, match="untie = true"):
        plan(model.config, Spec(rank=3))
    assert plan(model.config, Spec(rank=3, untie=True)).weights == one.config.weights


def test_a_compressed_matrix_is_compressed_again(data):
    model = model_of(projected=True, form="low_rank", tied=False)
    result = compress(model, Spec(("all",), rank=2, weighted=False))
    assert all(spec_of(result.config, name)["rank"] == 2 for name in result.config.shapes)
    for name in result.config.shapes:
        error = (dense(result, name) - dense(model, name)).norm()
        torch.testing.assert_close(error, torch.linalg.svdvals(dense(model, name))[2:].norm(), rtol=1e-4, atol=1e-6)
    trains = tensor_train(model_of(tied=False), TensorTrainSpec(("head",), order=2, max_rank=4))
    assert spec_of(compress(trains, Spec(rank=2), data).config, "head") == {"form": "low_rank", "rank": 2}


def test_training_mode_and_folder_survive(tmp_path, data):
    model = model_of(cell="gru", projected=True).train()
    result = compress(model, Spec(("all",), rank=2), data)
    assert result.training
    result.eval().save_pretrained(tmp_path)
    loaded = RnnLmForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(0, VOCABULARY, (2, 4))
    assert torch.equal(loaded(ids).logits, result(ids).logits)


def test_degenerate_matrices_and_words_that_the_text_has_not(data):
    model = with_forms(model_of(tied=False), {})
    with torch.no_grad():
        matrix_of(model, "recurrent.0").weight.zero_()
    few = dataclasses.replace(data, splits={"train": data.splits["train"][:60] % 3 + 1})
    result = compress(model, Spec(("embed", "head", "recurrent.0"), rank=3), few)
    assert all(torch.isfinite(tensor).all() for tensor in result.state_dict().values())
    assert not dense(result, "recurrent.0").any()
    left, right = balanced(torch.zeros(4, 2), torch.ones(2, 3))
    assert torch.isfinite(left).all() and torch.isfinite(right).all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Spec(("head",)), "give exactly one, e.g. rank = 64"),
        (Spec(("head",), rank=3, error=0.2), "give exactly one"),
        (Spec(("head",), rank=10), r"rank 10 is above the full rank of head \(31 x 9\); give rank = 9"),
        (Spec(("layers",), rank=9), r"full rank of input.0 \(36 x 7\); give rank = 7 or other roles"),
        (Spec(("hed",), rank=3), "did you mean head"),
        (Spec(("projection",), rank=3), "no matrix 'projection'"),
    ],
)
def test_impossible_specs_are_refused_before_any_work_with_the_nearest_choice(spec, message):
    with pytest.raises(RecipeError, match=message):
        plan(model_of(tied=False).config, spec)


def test_weighted_needs_text():
    with pytest.raises(RecipeError, match="weighted = false"):
        compress(model_of(tied=False), Spec(rank=3), None)


def test_weighted_beats_plain_at_every_rank_and_place_of_the_measured_table():
    result = json.loads((RESULTS / "lstm-200-ptb" / "low-rank.json").read_text())
    parent = result["parent"]["perplexity"]
    assert {row["place"] for row in result["rows"]} == set(PLACES)
    for row in result["rows"]:
        assert parent < row["weighted"]["perplexity"] < row["plain"]["perplexity"], row
    assert list(possible(model_of(tied=False), (3, 8, 12))) == [
        ("head", 3), ("head", 8), ("embed", 3), ("input", 3), ("recurrent", 3), ("recurrent", 8),
        ("shared_projection", 3), ("shared_projection", 8),
    ]  # fmt: skip
