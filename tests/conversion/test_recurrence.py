"""The layer for training: outputs, states and gradients of the framework's own, in fp32 the same, in bfloat16 near."""

import copy

import pytest
import torch

from conversion import recurrence
from conversion.objective import Objective
from conversion.recurrence import CELLS, TrainedLayer, recur, train_with_kernel
from tests.zoo.models import VOCABULARY, model_of
from zoo.cache_rnnlm import RnnLmCache
from zoo.cells_rnnlm import cifg_step, lstm_step


def run(model, dtype: torch.dtype = torch.float32):
    """The loss, the states after two windows and the gradients of all parameters; dropout from the same numbers."""
    torch.manual_seed(7)
    objective, states, total = Objective(model.train(), dtype=dtype), [], 0.0
    ids = torch.randint(0, VOCABULARY, (3, 13), generator=torch.Generator().manual_seed(0))
    for start, end in ((0, 5), (5, 12)):
        loss, _, states = objective(ids[:, start:end], ids[:, start + 1 : end + 1], states)
        total = total + loss
    total.backward()
    flat = [s for pair in states for s in pair if s.numel()]
    return total.detach(), flat, [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("form", ["dense", "low_rank"])
@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_numbers_are_the_frameworks(cell: str, projected: bool, form: str):
    plain = model_of(cell=cell, projected=projected, form=form, weight_drop=0.3, input_dropout=0.2, output_dropout=0.2)
    other = copy.deepcopy(plain)
    train_with_kernel(other)
    assert all(type(layer) is TrainedLayer for layer in other.model.layers)
    (loss, states, grads), (own_loss, own_states, own_grads) = run(plain), run(other)
    torch.testing.assert_close(own_loss, loss, rtol=1e-5, atol=1e-6)
    for found, expected in zip([*own_states, *own_grads], [*states, *grads], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_is_near(cell: str):
    model = model_of(cell=cell, projected=True)
    low = copy.deepcopy(model)
    train_with_kernel(low)
    (loss, states, grads), (low_loss, low_states, low_grads) = run(model), run(low, torch.bfloat16)
    assert low_loss.item() == pytest.approx(loss.item(), rel=0.02)
    for found, expected in zip([*low_states, *low_grads], [*states, *grads], strict=True):
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_input_and_state_are_those_of_the_equations(cell: str, projected: bool):
    B, T, N, H, P = 2, 4, 3, 5, 2
    O, G = P if projected else H, H * (4 if cell == "lstm" else 3)
    generator = torch.Generator().manual_seed(0)
    shapes = [(B, T, N), (B, O), (B, H), (G, N), (G, O), (G,)] + ([(P, H)] if projected else [])
    given = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    x, h, c, W, U, b, *R = given
    state, steps = (h, c), []
    for t in range(T):
        out, new_c = (lstm_step if cell == "lstm" else cifg_step)(x[:, t] @ W.T + state[0] @ U.T + b, state[1])
        state = (out @ R[0].T if R else out, new_c)
        steps.append(state[0])
    expected = torch.stack(steps, dim=1), *state
    found = recur(x, h, c, W, U, b, R[0] if R else None, cell)
    weights = [torch.randn(out.shape, generator=generator) for out in expected]
    gradients = [
        torch.autograd.grad(sum((out * w).sum() for out, w in zip(outs, weights, strict=True)), given)
        for outs in (found, expected)
    ]
    for one, other in zip([*found, *gradients[0]], [*expected, *gradients[1]], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_only_learning_on_a_processor_takes_it(monkeypatch: pytest.MonkeyPatch):
    model = model_of(projected=True)
    train_with_kernel(model)
    ids = torch.randint(0, VOCABULARY, (2, 6), generator=torch.Generator().manual_seed(0))
    plain = model_of(projected=True).eval()(ids).logits
    monkeypatch.setattr(recurrence, "recur", None)
    torch.testing.assert_close(model.eval()(ids).logits, plain, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        model.train()(ids, past_key_values=RnnLmCache(model.config))
    with pytest.raises(TypeError):
        model.train()(ids)


def test_other_cells_stay_and_copies_have_their_own_weights():
    model = model_of(cell="gru")
    train_with_kernel(model)
    assert not any(isinstance(layer, TrainedLayer) for layer in model.model.layers)
    model = model_of(cell="cifg", projected=True)
    train_with_kernel(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    before, after = run(model)[0], run(other)[0]
    assert isinstance(other.model.layers[0], TrainedLayer) and abs(before - after) > 1e-3
