"""What numbers are worth, which stay, and refitting, each against the same written out plainly."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conversion.activations import BATCH
from conversion.matrices import matrix_of
from conversion.saliency import RIDGE, curvature, largest, refitted, scores, staying
from tests.zoo.models import VOCABULARY, model_of
from zoo.corpora import Corpus
from zoo.errors import CorpusError, RecipeError, VocabularyError


@pytest.fixture(scope="module")
def data() -> Corpus:
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, BATCH * 20).astype(np.int32)
    words = ["a", "<eos>", *(f"w{i}" for i in range(2, VOCABULARY))]
    return Corpus("random", words, {"train": tokens}, {})


def test_curvature_of_the_head_is_the_second_derivative(data):
    model = model_of(tied=False, layers=1)
    found = curvature(model, ["head"], data, positions=BATCH * 3)["head"]
    # The same positions, one word after the other.
    tokens, length = torch.from_numpy(data.splits["train"]).long(), len(data.splits["train"]) // BATCH
    expected = torch.zeros_like(found)
    for stripe in range(BATCH):
        places = stripe * length + torch.arange(-1, 2)
        ids = torch.where(places < 0, data.eos_id, tokens[places.clamp(min=0)])[None]
        with torch.no_grad():
            features = model.model(ids).last_hidden_state[0]
        for x in features:

            def loss(w, x=x):  # of any word: the second derivative is the same
                return torch.logsumexp(w @ x + model.lm_head.bias, 0)

            W = model.lm_head.weight.detach()
            p = torch.softmax(W @ x + model.lm_head.bias, 0)
            expected += ((p * (1 - p))[:, None] * x.square()).detach() / (BATCH * 3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    hessian = torch.autograd.functional.hessian(loss, W)
    torch.testing.assert_close(
        hessian.flatten(0, 1).flatten(1).diagonal(),
        ((p * (1 - p))[:, None] * x.square()).flatten(),
        rtol=1e-3,
        atol=1e-7,
    )


def test_curvature_of_a_layer_is_the_mean_square_of_the_derivative(data):
    model = model_of(tied=False, projected=True)
    found = curvature(model, ["input.1", "recurrent.0"], data, positions=BATCH * 4)
    tokens, length = torch.from_numpy(data.splits["train"]).long(), len(data.splits["train"]) // BATCH
    places = torch.arange(BATCH)[:, None] * length + torch.arange(-1, 4)
    ids = torch.where(places < 0, data.eos_id, tokens[places.clamp(min=0)])
    kept = {name: [] for name in found}
    hooks = []
    for name, pairs in kept.items():

        def keep(_, given, y, pairs=pairs):
            y.retain_grad()
            pairs.append((given[0], y))

        hooks.append(matrix_of(model, name).register_forward_hook(keep))
    logits = model(ids[:, :-1]).logits
    F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").backward()
    for name, pairs in kept.items():
        total = torch.zeros_like(found[name])
        for x, y in pairs:
            total += torch.einsum("bm,bn->mn", y.grad.flatten(0, -2).square(), x.detach().flatten(0, -2).square())
        torch.testing.assert_close(found[name], total / (BATCH * 4), rtol=1e-4, atol=1e-9)


def test_curvature_of_a_tied_table_is_that_of_both_uses(data):
    apart, tied = model_of(tied=False, output_projection_size=7), model_of(tied=True)
    apart.load_state_dict(tied.state_dict())
    both = curvature(apart, ["embed", "head"], data, positions=BATCH * 5)
    together = curvature(tied, ["embed"], data, positions=BATCH * 5)["embed"]
    torch.testing.assert_close(together, both["embed"] + both["head"])
    assert (both["embed"] > 0).all()


def test_scores(data):
    model = model_of(tied=False)
    assert torch.equal(scores(model, ["head"], "magnitude", None)["head"], model.lm_head.weight.detach().abs())
    found = scores(model, ["embed", "input.1", "head"], "activation", data)
    share = torch.bincount(torch.from_numpy(data.splits["train"]).long()) / len(data.splits["train"])
    torch.testing.assert_close(
        found["embed"] / model.model.embed_tokens.weight.abs(), share.sqrt()[:, None].expand(31, 7)
    )
    ratio = found["head"] / model.lm_head.weight.abs()
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert scores(model_of(tied=True), ["embed"], "activation", data)["embed"].shape == (31, 7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert set(scores(model, list(model.config.shapes), "curvature", data)) == set(model.config.shapes)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("criterion", ["activation", "curvature"])
def test_text_that_is_missing_or_foreign(criterion, data):
    model = model_of(tied=False)
    with pytest.raises(RecipeError, match=f"criterion = '{criterion}' needs training text; .* 'magnitude'"):
        scores(model, ["head"], criterion, None)
    with pytest.raises(CorpusError, match="no training text"):
        scores(model, ["head"], criterion, Corpus("x", data.vocabulary, {"valid": data.splits["train"]}, {}))
    with pytest.raises(VocabularyError, match="id 1000"):
        scores(model, ["head"], criterion, Corpus("x", data.vocabulary, {"train": np.full(99, 1000)}, {}))


def test_as_many_stay_as_asked_for():
    torch.manual_seed(0)
    found = {"a": torch.rand(7, 11), "b": torch.rand(5, 3) * 3}
    for sparsity in (0.0, 0.1, 0.5, 0.9, 0.999):
        for name, stay in largest(found, sparsity, "matrix").items():
            n = found[name].numel()
            assert int(stay.sum()) == max(1, n - round(n * sparsity))
            if sparsity > 0 and not stay.all():
                assert found[name][stay].min() >= found[name][~stay].max()
        by_row = largest(found, sparsity, "row")
        assert (by_row["a"].sum(1) == staying(11, sparsity)).all() and (
            by_row["b"].sum(1) == staying(3, sparsity)
        ).all()
        together = largest(found, sparsity, "global")
        assert sum(int(stay.sum()) for stay in together.values()) == max(2, 92 - round(92 * sparsity))
        assert all(stay.any() for stay in together.values())
    assert largest(found, 0.5, "global")["b"].float().mean() > 0.7


@pytest.mark.parametrize("scope", ["matrix", "global", "row"])
def test_of_equal_scores_the_first_stay(scope):
    stay = largest({"a": torch.ones(4, 5)}, 0.5, scope)["a"]
    if scope == "row":
        assert (stay == torch.tensor([True, True, True, False, False])).all()
    else:
        assert stay.flatten().tolist() == [True] * 10 + [False] * 10


def test_refitting_is_the_least_squares_solution():
    generator = torch.Generator().manual_seed(0)
    W, X = torch.randn(23, 11, generator=generator), torch.randn(500, 11, generator=generator).cumsum(1)
    stay = torch.rand(23, 11, generator=generator) < torch.linspace(0, 1, 23)[:, None]
    stay[0], stay[-1] = False, True
    C = (X.T @ X).double() / len(X)
    found = refitted(W, stay, C)
    assert (found[~stay] == 0).all()
    torch.testing.assert_close(found[-1], W[-1])  # nothing went
    C = C + RIDGE * C.diagonal().diag()
    for w, mine, mask in zip(W.double(), found.double(), stay, strict=True):
        if mask.any():
            best = torch.linalg.solve(C[mask][:, mask], C[mask] @ w)
            torch.testing.assert_close(mine[mask], best, rtol=1e-4, atol=1e-5)
    error = ((X @ W.T - X @ found.T) ** 2).mean()
    assert error < ((X @ W.T - X @ (W * stay).T) ** 2).mean() * 0.8
    assert torch.isfinite(refitted(W, stay, torch.zeros(11, 11).double())).all()
