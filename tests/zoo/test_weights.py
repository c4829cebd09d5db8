"""Every weight form against its plain twin `to_dense()`, at odd sizes."""

import pytest
import torch

from zoo.weights_rnnlm import FORMS, build

SPECS = {"dense": {"form": "dense"}, "low_rank": {"form": "low_rank", "rank": 3}}
every_form = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def filled(spec, rows, columns, **options):
    torch.manual_seed(0)
    form = build(spec, rows, columns, 0.5, **options)
    form.reset()
    if options.get("bias"):
        torch.nn.init.normal_(form.bias)
    return form


def test_every_form_is_tested():
    assert SPECS.keys() == FORMS.keys()


@every_form
@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (7, 5), (5, 13)])
def test_product_and_rows_equal_those_of_the_dense_twin(spec, rows, columns):
    form = filled(spec, rows, columns, bias=True)
    x = torch.randn(2, 3, columns)
    torch.testing.assert_close(form(x), x @ form.to_dense().T + form.bias)
    table = filled(spec, rows, columns, lookup=True)
    ids = torch.randint(0, rows, (2, 4))
    torch.testing.assert_close(table(ids), table.to_dense()[ids])


@every_form
def test_from_dense_of_a_matrix_the_form_can_hold_is_exact(spec):
    matrix = torch.randn(11, 3) @ torch.randn(3, 7)
    form = build(spec, 11, 7, 1.0)
    form.load_state_dict(FORMS[spec["form"]].from_dense(matrix, spec))
    torch.testing.assert_close(form.to_dense(), matrix, atol=1e-5, rtol=1e-5)


def test_low_rank_of_any_matrix_is_the_best_one():
    matrix = torch.randn(12, 9)
    tensors = FORMS["low_rank"].from_dense(matrix, {"form": "low_rank", "rank": 4})
    error = (matrix - tensors["left"] @ tensors["right"]).norm()
    torch.testing.assert_close(error, torch.linalg.svdvals(matrix)[4:].norm())


@every_form
def test_reset_gives_the_variance_of_the_uniform_distribution(spec):
    dense = filled(spec, 700, 500).to_dense()
    assert dense.std().item() == pytest.approx(0.5 / 3**0.5, rel=0.1)


@every_form
def test_gradient_reaches_every_stored_number(spec):
    form = filled(spec, 7, 5, bias=True)
    form(torch.randn(4, 5)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in form.parameters())
