"""Quantization: exact where it can be, half a step away elsewhere, the same in fine-tuning as in the file."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conversion.checkpoint import half_of
from conversion.clipping import in_half, range_limits, symmetric_limits
from conversion.learner import Learner
from conversion.matrices import matrix_of, spec_of, with_forms
from conversion.quantize import Spec, compress, constraint, plan, prepare
from conversion.recipe import Stage
from tests.zoo.models import VOCABULARY, model_of
from zoo.errors import RecipeError

SPECS = [
    Spec(),
    Spec(scheme="range"),
    Spec(bits=4, group=4),
    Spec(bits=4, group=64),
    Spec(limits="error"),
    Spec(limits="percentile", percentile=80),
    Spec(scheme="range", limits="error"),
    Spec(scheme="range", limits="percentile", percentile=90),
    Spec(bits=4, group=2, limits="error"),
]


def short(value) -> str:
    """A readable test id."""
    return f"{value.bits}-{value.scheme}-{value.group}-{value.limits}" if isinstance(value, Spec) else str(value)


IDS = torch.randint(0, VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(1))


def with_head(matrix: torch.Tensor):
    """A model whose head, and what is before it, have the matrix's sizes."""
    V, N = matrix.shape
    model = model_of(tied=False, vocab_size=V, hidden_size=N, layers=1)
    return with_forms(model, {"head": ({"form": "dense"}, {"weight": matrix})})


def head_after(matrix: torch.Tensor, **spec) -> nn.Module:
    return compress(with_head(matrix), Spec(roles=("head",), **spec)).lm_head


def levels_of(count: int, rows: int, columns: int) -> torch.Tensor:
    """Whole numbers from -count to count, the largest in every row."""
    q = torch.randint(-count, count + 1, (rows, columns), generator=torch.Generator().manual_seed(0))
    q[:, 0] = count
    return q.float()


@pytest.mark.parametrize("limits", ["minmax", "error"])
def test_data_on_the_levels_is_kept_exactly(limits: str):
    scale = torch.arange(1, 14)[:, None] * 2.0**-9
    rows = levels_of(127, 13, 17) * scale
    assert torch.equal(head_after(rows, limits=limits).to_dense(), rows)
    groups = torch.cat([levels_of(7, 13, 4), levels_of(7, 13, 4) * 3, levels_of(7, 13, 3)], dim=1) * scale
    assert torch.equal(head_after(groups, bits=4, group=4, limits=limits).to_dense(), groups)
    steps = torch.arange(256).float().view(16, 16)[:, torch.randperm(16)] * 0.0078125 - 0.625
    assert torch.equal(head_after(steps, scheme="range", limits=limits).to_dense(), steps)


@pytest.mark.parametrize("size", [(13, 7), (31, 1), (2, 101)])
def test_no_number_moves_more_than_half_a_step(size: tuple[int, int]):
    matrix = torch.randn(size, generator=torch.Generator().manual_seed(3))
    matrix[1] = 0
    by_row = head_after(matrix)
    assert ((by_row.to_dense() - matrix).abs() <= by_row.scale[:, None] * 0.5001).all()
    by_range = head_after(matrix, scheme="range")
    assert ((by_range.to_dense() - matrix).abs() <= by_range.step * 0.5001).all()
    assert by_range.step <= (matrix.max() - matrix.min()) / 255 * 1.001
    by_group = head_after(matrix, bits=4, group=4)
    scale = by_group.scale.repeat_interleave(4, dim=1)[:, : size[1]]
    assert ((by_group.to_dense() - matrix).abs() <= scale * 0.5001).all()
    for module in (by_row, by_group):
        assert (module.to_dense()[1] == 0).all()


def test_a_constant_and_a_zero_matrix():
    for value in (0.0, 0.5, -3.0):
        matrix = torch.full((5, 3), value)
        for spec in ({}, {"scheme": "range"}, {"bits": 4, "group": 2}, {"limits": "error"}):
            assert torch.allclose(head_after(matrix, **spec).to_dense(), matrix, rtol=1e-3)


@pytest.mark.parametrize("spec", SPECS, ids=short)
@pytest.mark.parametrize("form", ["dense", "low_rank", "tensor_train", "sparse"])
def test_saving_in_float16_changes_nothing_of_the_matrices(spec: Spec, form: str):
    if form == "sparse" and spec.bits == 4:
        return
    made = compress(model_of(form=form), spec)
    tensors = made.state_dict()
    halves = half_of(tensors)
    ends = [name.rpartition(".") for name in tensors]
    scales = [
        f"{module}.{end}" for module, _, end in ends
        if end in ("scale", "low", "step") and tensors.get(f"{module}.weight", IDS).numel() > 1
    ]  # fmt: skip
    assert scales
    assert all(torch.equal(halves[name].float(), tensors[name]) for name in scales)


def test_scales_that_float16_has_not_stay():
    scale = torch.tensor([0.0, 1e-9, 1.0, 0.3, 1e6])
    near = in_half(scale)
    assert near[0] == 0 and near[1] == scale[1] and near[2] == 1 and near[4] == scale[4]
    assert near[3] != scale[3] and near[3] == scale[3].half().float()
    far = torch.linspace(1000, 1001, 500)[:, None]  # float16 has steps of a half here
    low, high = range_limits(far, "minmax", 100)
    assert low == 1000 and abs(high - 1001) < 0.001
    assert (head_after(far, scheme="range").to_dense() - far).abs().max() < 0.51 / 255


def test_limits():
    x = torch.tensor([[1.0, -2, 3, -4, 100]])
    assert symmetric_limits(x, 1, "minmax", 0) == 100
    assert symmetric_limits(x, 1, "percentile", 80) == 4
    assert symmetric_limits(x, 1, "percentile", 100) == 100
    padded = torch.tensor([[1.0, -8, 2, 0, 0]])
    assert symmetric_limits(padded, 1, "percentile", 66, torch.tensor([3])) == 2
    low, high = range_limits(torch.cat([torch.linspace(-1, 1, 98), torch.tensor([-50.0, 70])]), "percentile", 98)
    assert (float(low), float(high)) == (pytest.approx(-1, rel=1e-3), pytest.approx(1, rel=1e-3))


@pytest.mark.parametrize(
    "spec, share", [({"bits": 4, "group": 8}, 0.95), ({}, 1), ({"scheme": "range"}, 0.99)], ids=str
)
def test_least_error_is_less(spec: dict, share: float):
    matrix = torch.randn(128, 64, generator=torch.Generator().manual_seed(0))
    matrix[0, 0] = 8  # alone out there
    errors = {
        limits: float((head_after(matrix, limits=limits, **spec).to_dense() - matrix).square().sum())
        for limits in ("minmax", "error", "coarse")
    }
    assert errors["error"] <= errors["minmax"] * share
    assert errors["error"] <= errors["coarse"] <= min(errors["minmax"], errors["error"] * 1.1)


FORMS = [
    (form, spec, tied)
    for form, spec, tied in itertools.product(("dense", "low_rank", "tensor_train", "sparse"), SPECS, (True, False))
    if form != "sparse" or spec.bits == 8
]


def each_once(model) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.is_floating_point()]


@pytest.mark.parametrize("form, spec, tied", FORMS, ids=short)
@torch.no_grad()
def test_what_is_in_force_is_what_is_stored(form: str, spec: Spec, tied: bool):
    model = model_of(form=form, tied=tied)
    before = [parameter.clone() for parameter in each_once(model)]
    made = compress(model, spec)
    assert made.config.to_dict() == plan(model.config, spec).to_dict()
    free = model(IDS).logits
    with constraint(spec).in_force(model):
        for name in model.config.shapes:
            assert torch.equal(matrix_of(model, name).to_dense(), matrix_of(made, name).to_dense()), name
        rounded = model(IDS).logits
    torch.testing.assert_close(made(IDS).logits, rounded, rtol=1e-4, atol=1e-4)
    assert not torch.equal(rounded, free)
    assert all(torch.equal(parameter, old) for parameter, old in zip(each_once(model), before, strict=True))


def test_latent_weights_come_back_after_an_error():
    model = model_of()
    before = model.lm_head.weight.clone()
    with pytest.raises(ZeroDivisionError), constraint(Spec()).in_force(model):
        assert not torch.equal(model.lm_head.weight, before)
        1 / 0  # noqa: B018
    assert torch.equal(model.lm_head.weight, before)


@pytest.mark.parametrize("form", ["dense", "low_rank", "tensor_train", "sparse"])
def test_straight_through_gradients_are_those_at_the_quantized_weights(form: str):
    spec = Spec(scheme="range")
    model, rounded = model_of(form=form), model_of(form=form)
    with constraint(spec).in_force(model):
        rounded.load_state_dict(model.state_dict())
        F.cross_entropy(model(IDS).logits.flatten(0, 1), IDS.roll(1).flatten()).backward()
    F.cross_entropy(rounded(IDS).logits.flatten(0, 1), IDS.roll(1).flatten()).backward()
    for (name, mine), theirs in zip(model.named_parameters(), rounded.parameters(), strict=True):
        if mine.requires_grad:
            assert torch.equal(mine.grad, theirs.grad), name
            assert mine.grad.abs().sum() > 0, name


def test_fine_tuning_lessens_the_loss_of_the_stored_model():
    torch.manual_seed(0)
    model, spec = model_of(tied=False), Spec(bits=4, group=64)
    rule = constraint(spec)
    learner = Learner(model, Stage(optimizer="adam", lr=0.01, epochs=1, average="ema", decay=0.5), rule)

    def loss(of) -> torch.Tensor:
        return F.cross_entropy(of(IDS).logits.flatten(0, 1), IDS.roll(-1).flatten())

    first = float(loss(compress(model, spec)).detach())
    for number in range(30):
        with rule.in_force(model):
            loss(model).backward()
        learner.descend(0.01, 1.0, (number + 1) / 30)
    made = compress(learner.evaluated, spec)
    with torch.no_grad(), rule.in_force(learner.evaluated):
        torch.testing.assert_close(made(IDS).logits, learner.evaluated(IDS).logits, rtol=1e-4, atol=1e-4)
    assert float(loss(made).detach()) < first * 0.8


def test_the_given_model_stays_and_roles_are_kept_to():
    model = model_of()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    made = compress(model, Spec(roles=("layers",), scheme="range"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert spec_of(made.config, "embed") == {"form": "dense"}
    assert spec_of(made.config, "recurrent.1") == {"form": "int8", "scheme": "range"}


def test_untie_gives_the_head_a_matrix_of_its_own():
    model = model_of(tied=True)
    spec = Spec(roles=("head",), bits=4, untie=True)
    made = compress(model, spec)
    assert not made.config.tie_word_embeddings
    assert spec_of(made.config, "head") == {"form": "int4", "group": 32}
    assert torch.equal(made.model.embed_tokens.weight, model.model.embed_tokens.weight)
    start = prepare(model, spec)
    with torch.no_grad(), constraint(spec).in_force(start):
        torch.testing.assert_close(start(IDS).logits, made(IDS).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "fields, say",
    [
        ({"bits": 3}, "8 or 4, the nearest is 4"),
        ({"bits": 16}, "the nearest is 8"),
        ({"group": 7}, "even, e.g. 8"),
        ({"group": 0}, "even, e.g. 2"),
        ({"limits": "percentile", "percentile": 101.0}, "50 to 100"),
    ],
)
def test_bad_specs_are_refused(fields: dict, say: str):
    with pytest.raises(RecipeError, match=say):
        Spec(**fields)


def test_what_cannot_be_quantized_is_refused():
    with pytest.raises(RecipeError, match=r"quantized already, to 8 bits or fewer: embed, .*nothing is left"):
        plan(model_of(form="low_rank-int8").config, Spec())
    part = plan(model_of().config, Spec(roles=("embed",)))
    with pytest.raises(RecipeError, match=r"8 bits or fewer: embed; give roles among input.0, .*output_projection"):
        plan(part, Spec())
    with pytest.raises(RecipeError, match=r"bits = 4 for embed, which is sparse.*bits = 8"):
        plan(model_of(form="sparse").config, Spec(bits=4))
    with pytest.raises(RecipeError, match="head is tied"):
        plan(model_of(tied=True).config, Spec(roles=("head",)))


@pytest.mark.parametrize("form", ["dense", "low_rank", "tensor_train"])
def test_eight_bits_may_become_four_but_four_stay(form: str):
    wide = compress(model_of(form=form), Spec())
    names = [name for name in wide.config.shapes if name.startswith("input")]
    narrow = compress(wide, Spec(roles=("input",), bits=4, group=8))
    for name in wide.config.shapes:
        before, after = (matrix_of(model, name).to_dense() for model in (wide, narrow))
        kind = spec_of(narrow.config, name).get("values", spec_of(narrow.config, name))["form"]
        assert kind == ("int4" if name in names else "int8")
        if name not in names:
            torch.testing.assert_close(after, before, rtol=0, atol=0)
        elif form == "dense":
            steps = before.abs().amax() / 7
            assert 0 < (after - before).abs().max() <= steps / 2 * 1.01
    with pytest.raises(RecipeError, match="8 bits or fewer: embed"):
        plan(narrow.config, Spec())
    with pytest.raises(RecipeError, match=r"4 bits or fewer: input\.0"):
        plan(narrow.config, Spec(roles=("input",), bits=4))
