"""Pruning at once and in training: how many stay, which, and that zeros stay zeros."""

import pytest
import torch
from torch.nn import functional as F

from conversion.activations import BATCH
from conversion.learner import Learner
from conversion.matrices import matrix_of, spec_of
from conversion.prune import Spec, compress, constraint, plan, prepare
from conversion.recipe import Stage
from tests.zoo.models import VARIANTS, VOCABULARY, model_of, name_of
from zoo.errors import RecipeError

IDS = torch.randint(0, VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(1))
DENSE = [variant for variant in VARIANTS if variant["form"] == "dense"]


def dense(model, name: str) -> torch.Tensor:
    return matrix_of(model, name).to_dense().detach()


@pytest.mark.parametrize("variant", DENSE, ids=name_of)
@torch.no_grad()
def test_the_smallest_go_and_the_rest_stays(variant: dict):
    model = model_of(**variant)
    made = compress(model, Spec(roles=("all",), sparsity=0.7))
    assert made.config.to_dict() == plan(model.config, Spec(roles=("all",), sparsity=0.7)).to_dict()
    masked = model_of(**variant)
    for name in model.config.shapes:
        before, after = dense(model, name), dense(made, name)
        kept = before.numel() - round(0.7 * before.numel())
        assert spec_of(made.config, name) == {"form": "sparse", "nonzeros": kept}
        assert int((after != 0).sum()) == kept
        assert torch.equal(after[after != 0], before[after != 0])
        assert before[after == 0].abs().max() <= before[after != 0].abs().min()
        matrix_of(masked, name).weight.copy_(after)
    torch.testing.assert_close(made(IDS).logits, masked(IDS).logits, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_nothing_pruned_is_the_dense_model():
    model = model_of()
    made = compress(model, Spec(roles=("all",), sparsity=0.0))
    assert all(torch.equal(dense(made, name), dense(model, name)) for name in model.config.shapes)
    torch.testing.assert_close(made(IDS).logits, model(IDS).logits, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_equal_numbers_are_counted_exactly():
    model = model_of(tied=False)
    model.lm_head.weight.fill_(0.5)
    found = dense(compress(model, Spec()), "head").flatten()
    kept = len(found) - round(0.9 * len(found))
    assert (found != 0).tolist() == [True] * kept + [False] * (len(found) - kept)


@torch.no_grad()
def test_zeros_that_are_there_count():
    model = model_of(tied=False)
    W = model.lm_head.weight
    W[3:] = 0  # 90 per cent and more
    made = compress(model, Spec(criterion="curvature", refit=True))  # needs no text: nothing is left to do
    assert torch.equal(dense(made, "head"), W)
    assert spec_of(made.config, "head")["nonzeros"] == 3 * W.shape[1]
    W[:8] = 1.0  # 26 per cent are not zero
    again = compress(compress(model, Spec(sparsity=0.5)), Spec(sparsity=0.9))
    assert spec_of(again.config, "head")["nonzeros"] == W.numel() - round(0.9 * W.numel())
    W.zero_()
    assert (dense(compress(model, Spec()), "head") == 0).all()


@torch.no_grad()
def test_scopes():
    model = model_of(tied=False)
    model.lm_head.weight.mul_(100)
    names = list(model.config.shapes)
    total = sum(dense(model, name).numel() for name in names)

    def shares(**spec) -> dict[str, float]:
        made = compress(model, Spec(roles=("all",), sparsity=0.8, **spec))
        counts = {name: int(dense(made, name).count_nonzero()) for name in names}
        if "scope" in spec and spec["scope"] == "global":
            assert sum(counts.values()) == total - round(0.8 * total)
        return {name: count / dense(model, name).numel() for name, count in counts.items()}

    assert shares(scope="global")["head"] > 0.6
    assert abs(shares(scope="global", normalise=True)["head"] - 0.2) < 0.05
    assert abs(shares()["head"] - 0.2) < 0.01
    rows = dense(compress(model, Spec(scope="row", sparsity=0.5)), "head").count_nonzero(dim=1)
    assert (rows == model.config.feature_size - round(model.config.feature_size * 0.5)).all()


def test_what_matters_to_the_loss_stays(data):
    """Curvature beats magnitude, and refitting beats leaving, on the text itself."""
    torch.manual_seed(0)
    model = model_of(tied=False, layers=1)
    ids = torch.from_numpy(data.splits["train"]).long().view(BATCH, -1)
    with torch.no_grad():  # rare words have large weights, frequent words well fitted biases
        model.lm_head.weight.mul_(torch.linspace(0.5, 2, VOCABULARY)[:, None])
        model.lm_head.bias.copy_(torch.bincount(ids.flatten(), minlength=VOCABULARY).add(1).log())

        def change(**spec) -> float:
            made = compress(model, Spec(sparsity=0.6, **spec), data)
            p = torch.log_softmax(model(ids).logits, -1)
            return float((p.exp() * (p - torch.log_softmax(made(ids).logits, -1))).sum(-1).mean())

        least = change(criterion="curvature", refit=True)
        assert least < change(criterion="curvature") < change()
        assert change(criterion="activation", refit=True) < change(criterion="activation")


@pytest.mark.parametrize("tied", [True, False])
def test_every_criterion_takes_every_matrix(tied: bool, data):
    model = model_of(tied=tied)
    for criterion in ("magnitude", "activation", "curvature"):
        made = compress(
            model, Spec(roles=("all",), sparsity=0.5, criterion=criterion, refit=True, scope="global"), data
        )
        assert torch.isfinite(made(IDS).logits).all()


def test_int8_values_are_rounded_floats():
    model = model_of(tied=False)
    floats, ints = compress(model, Spec(sparsity=0.5)), compress(model, Spec(sparsity=0.5, values="int8"))
    assert spec_of(ints.config, "head")["values"] == {"form": "int8"}
    assert ints.config.to_dict() == plan(model.config, Spec(sparsity=0.5, values="int8")).to_dict()
    step = ints.lm_head.scale[:, None]
    assert ((dense(ints, "head") - dense(floats, "head")).abs() <= step * 0.5001).all()
    assert torch.equal(ints.lm_head.scale, ints.lm_head.scale.half().float())


def test_untie(data):
    model = model_of(tied=True)
    made = compress(model, Spec(untie=True, criterion="curvature"), data)
    assert spec_of(made.config, "head")["form"] == "sparse"
    assert torch.equal(made.model.embed_tokens.weight, model.model.embed_tokens.weight)
    assert made.config.to_dict() == plan(model.config, Spec(untie=True)).to_dict()


def test_schedule():
    """Zhu and Gupta 2017, eq. 1."""
    spec = Spec(sparsity=0.8, schedule="gradual", begin=0.2, end=0.6, prunings=4)
    shares = [0.0, 0.2, 0.29, 0.3, 0.4, 0.5, 0.6, 1.0]
    steps = [0, 0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert [spec.sparsity_at(done) for done in shares] == [pytest.approx(0.8 * (1 - (1 - t) ** 3)) for t in steps]
    assert [constraint(spec).complete(done) for done in (0.3, 0.59, 0.6, 1.0)] == [False, False, True, True]
    assert constraint(Spec()).complete(0.0)


@pytest.mark.parametrize("scope", ["matrix", "global", "row"])
@pytest.mark.parametrize("schedule", ["one_shot", "gradual"])
@pytest.mark.parametrize("tied", [True, False])
def test_zeros_stay_zeros_in_training(schedule: str, scope: str, tied: bool):
    torch.manual_seed(0)
    spec = Spec(roles=("all",), sparsity=0.8, schedule=schedule, scope=scope, prunings=5)
    model = prepare(model_of(tied=tied), spec)
    rule = constraint(spec)
    stage = Stage(optimizer="adam", lr=0.01, epochs=1, weight_decay=1e-3, average="ema", decay=0.9)
    learner = Learner(model, stage, rule)
    names = list(model.config.shapes)
    zeros = {name: dense(model, name) == 0 for name in names}
    losses = []
    for number in range(40):
        with rule.in_force(model):
            loss = F.cross_entropy(model(IDS).logits.flatten(0, 1), IDS.roll(-1).flatten())
            loss.backward()
        losses.append(float(loss.detach()))
        learner.descend(0.01, 1.0, (number + 1) / 40)
        for name in names:
            now = dense(model, name) == 0
            assert (now | ~zeros[name]).all(), "a zero came back"
            assert torch.equal(dense(learner.evaluated, name) == 0, now)
            zeros[name] = now
        if schedule == "gradual" and scope == "matrix":
            share = 0.8 * (1 - (1 - min(1, int((number + 1) / 40 / 0.5 * 5 + 1e-6) / 5)) ** 3)
            assert int(zeros["input.0"].sum()) == round(zeros["input.0"].numel() * share)
    assert losses[-1] < losses[0]
    for trained in (model, learner.evaluated):
        made = compress(trained, spec)
        assert all(torch.equal(dense(made, name), dense(trained, name)) for name in names)
        torch.testing.assert_close(made(IDS).logits, trained(IDS).logits, rtol=1e-4, atol=1e-4)
    count = sum(int((~zero).sum()) for zero in zeros.values())
    total = sum(zero.numel() for zero in zeros.values())
    assert count == total - round(0.8 * total) or scope != "global"


def test_training_can_start_from_any_point():
    """All follows from the weights: a rule made anew, as after an interruption, does the same."""
    spec = Spec(roles=("all",), sparsity=0.8, schedule="gradual")
    ends = []
    for again in (False, True):
        model, rule = prepare(model_of(), spec), constraint(spec)
        learner = Learner(model, Stage(optimizer="adam", lr=0.01, epochs=1), rule)
        for number in range(12):
            if again and number == 5:
                learner.constraint = rule = constraint(spec)
            with rule.in_force(model):
                F.cross_entropy(model(IDS).logits.flatten(0, 1), IDS.roll(-1).flatten()).backward()
            learner.descend(0.01, 1.0, (number + 1) / 12)
        ends.append(model.lm_head.weight.detach())
    assert torch.equal(*ends)


def test_sparse_matrices_are_trained_as_dense_ones():
    sparse = compress(model_of(tied=False), Spec(sparsity=0.5))
    model = prepare(sparse, Spec(sparsity=0.8, schedule="gradual"))
    assert spec_of(model.config, "head") == {"form": "dense"}
    assert torch.equal(dense(model, "head"), dense(sparse, "head"))


@pytest.mark.parametrize(
    "fields, say",
    [
        ({"sparsity": 1.0}, "at least 0 and below 1, e.g. 0.99"),
        ({"sparsity": -0.1}, "e.g. 0.0"),
        ({"schedule": "gradual", "criterion": "curvature"}, "schedule = 'one_shot'"),
        ({"schedule": "gradual", "refit": True}, "refit = false"),
        ({"begin": 0.6, "end": 0.6}, "begin must come before end"),
    ],
)
def test_bad_specs_are_refused(fields: dict, say: str):
    with pytest.raises(RecipeError, match=say):
        Spec(**fields)


def test_what_cannot_be_pruned_is_refused():
    with pytest.raises(RecipeError, match="head is tied"):
        plan(model_of(tied=True).config, Spec())
    for form in ("low_rank", "tensor_train", "low_rank-int8", "int8", "int4", "sparse-int8"):
        with pytest.raises(
            RecipeError, match=f"embed is stored as {form.partition('-')[0]}.*prune it before that step"
        ):
            plan(model_of(form=form).config, Spec(roles=("all",)))
    mixed = plan(model_of(tied=False).config, Spec())
    mixed.weights["input"] = {"form": "int8", "scheme": "row"}
    with pytest.raises(RecipeError, match=r"give roles among embed, recurrent.0, .*head"):
        plan(mixed, Spec(roles=("all",)))
    with pytest.raises(RecipeError, match="refit = true needs training text"):
        compress(model_of(tied=False), Spec(refit=True))
