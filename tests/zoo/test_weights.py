"""Every weight form against its plain twin `to_dense()`, at odd and prime sizes, random and trained-like matrices."""

import math

import pytest
import torch
from safetensors import safe_open

from bench.memory import Memory
from zoo.catalog import CHECKPOINTS
from zoo.factors_rnnlm import balanced_modes, full_ranks, tt_svd
from zoo.weights_rnnlm import FORMS, build, check_size, check_spec

from .models import FORMS as NAMES
from .models import spec_of

ALL = ("dense", "low_rank", *NAMES)
SIZES = [(1, 1), (3, 3), (7, 5), (5, 13), (31, 37), (2, 101), (24, 60)]
every_form = pytest.mark.parametrize("name", ALL)


def filled(name, rows, columns, **options):
    """A form with the numbers of a random matrix whose rows differ in size, as those of trained ones do."""
    generator = torch.Generator().manual_seed(rows * columns)
    matrix = torch.randn(rows, columns, generator=generator) * torch.rand(rows, 1, generator=generator)
    spec = spec_of(name, rows, columns)
    form = build(spec, rows, columns, 0.5, **options)
    tensors = FORMS[spec["form"]].from_dense(matrix, spec)
    form.load_state_dict({**tensors, **({"bias": torch.randn(rows)} if options.get("bias") else {})})
    return form


def test_every_form_is_tested():
    assert {spec_of(name, 9, 9)["form"] for name in ALL} == FORMS.keys()


@every_form
@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("gradient", [False, True])
def test_product_and_rows_equal_those_of_the_dense_twin(name, rows, columns, gradient):
    form, table = filled(name, rows, columns, bias=True), filled(name, rows, columns, lookup=True)
    matrix = form.to_dense().detach()
    assert matrix.shape == (rows, columns)
    for leading in [(), (1,), (2, 3), (1, 50), (5,)]:  # one vector, few and many take different ways
        x = torch.randn(*leading, columns, requires_grad=gradient)
        if leading == (5,):  # columns first in memory
            x = x.detach().t().contiguous().t().requires_grad_(gradient)
        ids = torch.randint(0, rows, leading)
        with torch.set_grad_enabled(gradient):
            torch.testing.assert_close(form(x).detach(), (x @ matrix.T + form.bias).detach(), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(form(x.expand(2, *x.shape)).detach()[1], form(x).detach())  # strides of 0
            torch.testing.assert_close(table(ids).detach(), matrix[ids], atol=1e-6, rtol=1e-5)


@every_form
@pytest.mark.parametrize("gradient", [False, True])
def test_autocast_to_bfloat16(name, gradient):
    form = filled(name, 31, 37, bias=True)
    for x in (torch.randn(1, 37), torch.randn(2, 3, 37)):
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.set_grad_enabled(gradient):
            near = form(x)
        torch.testing.assert_close(near.float().detach(), form(x).detach(), atol=0.1, rtol=0.05)


@every_form
def test_gradients_equal_those_of_the_dense_twin(name):
    form = filled(name, 7, 5, bias=True)
    x = torch.randn(4, 5, requires_grad=True)
    form(x).square().sum().backward()
    own, found = {key: p.grad for key, p in form.named_parameters() if p.requires_grad}, x.grad.clone()
    assert all(grad is not None for grad in own.values()) and "bias" in own
    form.zero_grad()
    x.grad = None
    torch.nn.functional.linear(x, form.to_dense(), form.bias).square().sum().backward()
    torch.testing.assert_close(found, x.grad, atol=1e-5, rtol=1e-4)
    for key, grad in own.items():
        torch.testing.assert_close(grad, form.get_parameter(key).grad, atol=1e-5, rtol=1e-4)
    table = filled(name, 7, 5, lookup=True)
    learns = [p for p in table.parameters() if p.requires_grad]
    if learns:
        table(torch.tensor([1, 3, 3])).square().sum().backward()
        found = [p.grad.clone() for p in learns]
        table.zero_grad()
        table.to_dense()[torch.tensor([1, 3, 3])].square().sum().backward()
        torch.testing.assert_close(found, [p.grad for p in learns], atol=1e-5, rtol=1e-4)


@every_form
@pytest.mark.parametrize(("rows", "columns"), [(24, 60), (101, 32), (600, 30)])
def test_reset_gives_products_the_variance_of_the_uniform_distribution(name, rows, columns):
    torch.manual_seed(1)
    stds = []
    for _ in range(20 if "tensor_train" in name else 3):  # a Tensor Train of small ranks varies from draw to draw
        form = build(spec_of(name, rows, columns), rows, columns, 0.5)
        for module in form.modules():
            if hasattr(module, "bound"):
                module.reset()
        stds.append(form.to_dense().square().mean().item())
    assert math.sqrt(sum(stds) / len(stds)) == pytest.approx(0.5 / 3**0.5, rel=0.35)


def exact(spec, matrix):
    form = build(spec, *matrix.shape, 1.0)
    form.load_state_dict(FORMS[spec["form"]].from_dense(matrix, spec))
    return form.to_dense()


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_full_rank_and_no_zeros_are_the_dense_matrix(rows, columns):
    matrix = torch.randn(rows, columns)
    modes = balanced_modes(rows, 3), balanced_modes(columns, 3)
    train = {"form": "tensor_train", "row_modes": modes[0], "column_modes": modes[1], "ranks": full_ranks(*modes)}
    reshaped = {"form": "tensor_train", "row_modes": [rows, 1], "column_modes": [1, columns]}
    reshaped["ranks"] = full_ranks(reshaped["row_modes"], reshaped["column_modes"])
    for spec in (train, reshaped, {"form": "low_rank", "rank": min(rows, columns)}):
        torch.testing.assert_close(exact(spec, matrix), matrix, atol=1e-5, rtol=1e-5)
    assert torch.equal(exact({"form": "sparse", "nonzeros": rows * columns}, matrix), matrix)


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_numbers_on_the_levels_of_a_form_are_kept_exactly(rows, columns):
    step = 0.25 * 2.0 ** torch.randint(-3, 3, (rows, 1))
    q = torch.randint(-7, 8, (rows, columns)).float()
    q[:, 0] = 7  # every group and row holds the largest level
    for start in range(0, columns, 4):
        q[:, start] = 7
    matrix = q * step
    assert torch.equal(exact({"form": "int4", "group": 4}, matrix), matrix)
    q[:, 0] = 127
    assert torch.equal(exact({"form": "int8", "scheme": "row"}, q * step), q * step)
    levels = torch.randint(0, 256, (rows, columns)).float()
    levels.view(-1)[0], levels.view(-1)[-1] = 0, 255
    if rows * columns > 1:
        matrix = -3.0 + levels * 0.125
        assert torch.equal(exact({"form": "int8", "scheme": "range"}, matrix), matrix)


@pytest.mark.parametrize("name", ["int8", "int8-range", "int4"])
def test_integers_are_the_nearest_ones(name):
    matrix, spec = torch.randn(13, 50), spec_of(name, 13, 50)
    form = filled(name, 13, 50)
    form.load_state_dict(FORMS[spec["form"]].from_dense(matrix, spec))
    step = form.step if name == "int8-range" else form.scale
    widest = step.max() if step.dim() < 2 else step.repeat_interleave(4, 1)[:, :50]
    widest = step[:, None] if step.dim() == 1 else widest
    assert ((form.to_dense() - matrix).abs() <= widest / 2 + 1e-6).all()
    zeros = exact(spec, torch.zeros(13, 50))
    assert torch.equal(zeros, torch.zeros(13, 50))


def test_low_rank_of_any_matrix_is_the_best_one():
    matrix = torch.randn(12, 9)
    error = (matrix - exact({"form": "low_rank", "rank": 4}, matrix)).norm()
    torch.testing.assert_close(error, torch.linalg.svdvals(matrix)[4:].norm())


def test_sparse_keeps_the_largest_numbers():
    matrix = torch.randn(11, 13)
    kept = exact({"form": "sparse", "nonzeros": 40}, matrix)
    assert kept.count_nonzero() == 40
    least = kept[kept != 0].abs().min()
    assert torch.equal(kept, torch.where(matrix.abs() >= least, matrix, 0))
    matrix[4] = 0  # a row without a number
    matrix[-1] = 0
    form = build({"form": "sparse", "nonzeros": 30}, 11, 13, 1.0)
    form.load_state_dict(FORMS["sparse"].from_dense(matrix, {"form": "sparse", "nonzeros": 30}))
    x = torch.randn(13)
    with torch.no_grad():
        torch.testing.assert_close(form(x), form.to_dense() @ x)
    assert torch.equal(form.rows(torch.arange(11)), form.to_dense())


@pytest.mark.parametrize(("modes", "ranks"), [(([4, 6], [5, 3]), [3]), (([2, 3, 4], [3, 1, 5]), [2, 4])])
def test_the_error_of_tt_svd_is_what_its_bonds_leave_out(modes, ranks):
    matrix = torch.randn(24, 15)
    cores, left_out = tt_svd(matrix, *modes, ranks)
    assert [core.shape[3] for core in cores[:-1]] == ranks
    spec = {"form": "tensor_train", "row_modes": modes[0], "column_modes": modes[1], "ranks": ranks}
    error = (matrix - exact(spec, matrix)).norm().item()
    bound = math.sqrt(sum(norm**2 for norm in left_out))
    assert max(left_out) * (1 - 1e-5) <= error <= bound * (1 + 1e-5)  # Oseledets 2011, theorem 2.2
    if len(ranks) == 1:
        assert error == pytest.approx(bound, rel=1e-5)
        unfolded = matrix.view(4, 6, 5, 3).permute(0, 2, 1, 3).reshape(20, 18)
        assert error == pytest.approx(torch.linalg.svdvals(unfolded)[3:].norm().item(), rel=1e-5)


def test_tt_svd_keeps_a_wanted_error_with_the_smallest_ranks():
    matrix = torch.randn(24, 4) @ torch.randn(4, 30) + 0.01 * torch.randn(24, 30)
    for wanted in (0.5, 0.1, 0.001):
        _, left_out = tt_svd(matrix, [2, 3, 4], [5, 2, 3], error=wanted)
        assert math.sqrt(sum(norm**2 for norm in left_out)) <= wanted * matrix.norm()
    exact_cores, _ = tt_svd(matrix, [2, 3, 4], [5, 2, 3])
    assert [core.shape[3] for core in exact_cores[:-1]] == full_ranks([2, 3, 4], [5, 2, 3])


INT4 = {"form": "int4", "group": 32}
LARGE = {
    "low_rank": {"form": "low_rank", "rank": 40},
    "low_rank-int8": {"form": "low_rank", "rank": 40, "values": {"form": "int8", "scheme": "row"}},
    "tensor_train": {"form": "tensor_train", "row_modes": [20, 20, 20], "column_modes": [4, 8, 8], "ranks": [9, 9]},
    "reshape": {"form": "tensor_train", "row_modes": [80, 100, 1], "column_modes": [1, 1, 256], "ranks": [20, 30]},
    "tensor_train-int4": {
        "form": "tensor_train", "row_modes": [20, 400], "column_modes": [4, 64], "ranks": [9], "values": INT4,
    },
    "sparse": {"form": "sparse", "nonzeros": 8000 * 256 // 10},
    "sparse-int8": {"form": "sparse", "nonzeros": 8000 * 256 // 10, "values": {"form": "int8"}},
    "int8": {"form": "int8", "scheme": "row"},
    "int8-range": {"form": "int8", "scheme": "range"},
    "int4": INT4,
}  # fmt: skip


@pytest.mark.parametrize("spec", LARGE.values(), ids=LARGE.keys())
def test_one_step_never_makes_a_matrix_of_the_dense_size(spec):
    rows, columns = 8000, 256  # 8.2 MB dense
    form, table = build(spec, rows, columns, 0.1), build(spec, rows, columns, 0.1, lookup=True)
    for module in (*form.modules(), *table.modules()):
        if hasattr(module, "bound"):
            module.reset()
    with torch.no_grad(), Memory() as memory:
        assert form(torch.randn(1, columns)).shape == (1, rows)
        assert table(torch.tensor([rows - 1])).shape == (1, columns)
    assert 0 < memory.largest <= rows * columns * 4 / 8


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"form": "int3"}, "one of dense, int8, int4"),
        ({"form": "low_rank"}, r"takes \['rank'\]"),
        ({"form": "low_rank", "rank": 3, "values": {"form": "sparse"}}, "one of dense, int8, int4"),
        ({"form": "low_rank", "rank": 8}, "at most 7"),
        ({"form": "tensor_train", "row_modes": [3, 4], "column_modes": [7, 1], "ranks": [3]}, r"\[2, 5\] do"),
        ({"form": "tensor_train", "row_modes": [2, 5], "column_modes": [7, 1], "ranks": []}, "one rank less"),
        ({"form": "tensor_train", "row_modes": [2, 5], "column_modes": [7, 1], "ranks": [6]}, r"e.g. \[5\]"),
        ({"form": "tensor_train", "row_modes": [2, "5"], "column_modes": [7, 1], "ranks": [5]}, "list of positive"),
        ({"form": "sparse", "nonzeros": 71}, "at most 70"),
        ({"form": "sparse", "nonzeros": 7, "values": {"form": "int4", "group": 4}}, "'int8'"),
        ({"form": "int8", "scheme": "column"}, "'row'"),
        ({"form": "int4", "group": 5}, "e.g. 6"),
    ],
    ids=str,
)
def test_impossible_specs_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        check_spec(spec, "weights['head']")
        check_size(spec, "weights of head", 10, 7)


def test_balanced_modes():
    assert balanced_modes(10000, 4) == [10, 10, 10, 10]
    assert balanced_modes(600, 3) == [8, 8, 75] or math.prod(balanced_modes(600, 3)) == 600
    assert balanced_modes(13, 2) == [1, 13]


@pytest.mark.parametrize("tensor", ["model.embed_tokens.weight", "model.layers.1.recurrent.weight"])
def test_trained_matrices_behave_as_random_ones(tensor):
    with safe_open(CHECKPOINTS / "lstm-200-ptb" / "model.safetensors", "pt") as file:
        matrix = file.get_tensor(tensor).float()
    rows, columns = matrix.shape
    x, ids = torch.randn(1, columns), torch.tensor([0, rows - 1, 7])
    for spec in LARGE.values():
        if spec["form"] == "tensor_train":
            modes = balanced_modes(rows, 3), balanced_modes(columns, 3)
            ranks = [min(20, rank) for rank in full_ranks(*modes)]
            spec = {**spec, "row_modes": modes[0], "column_modes": modes[1], "ranks": ranks}
        if spec["form"] == "sparse":
            spec = {**spec, "nonzeros": rows * columns // 10}
        form, table = build(spec, rows, columns, 0.1), build(spec, rows, columns, 0.1, lookup=True)
        tensors = FORMS[spec["form"]].from_dense(matrix, spec)
        form.load_state_dict(tensors)
        table.load_state_dict(tensors)
        with torch.no_grad():
            dense = form.to_dense()
            torch.testing.assert_close(form(x), x @ dense.T, atol=2e-5, rtol=1e-5)
            torch.testing.assert_close(table(ids), dense[ids], atol=1e-5, rtol=1e-5)
            assert (dense - matrix).norm() < matrix.norm()  # nearer than nothing
            x.requires_grad_(True)
        with torch.enable_grad():
            found = torch.autograd.grad(form(x).square().sum(), x)[0]
            wanted = torch.autograd.grad((x @ dense.T).square().sum(), x)[0]
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
        x.requires_grad_(False)


def test_four_bits_multiply_no_vectors_too():
    assert filled("int4", 31, 37)(torch.zeros(0, 37)).shape == (0, 31)
