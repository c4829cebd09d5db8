import pytest
import torch
from torch.nn import functional as F

from conversion import fused_loss
from conversion.fused_loss import linear_cross_entropy


@pytest.mark.parametrize("block", [1, 8, 37, 100])
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_plain_twin(block: int, with_bias: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fused_loss, "CACHED", 3 * 53)  # softmax over three rows at a time
    inputs, targets = arguments(with_bias)
    plain = F.cross_entropy(F.linear(inputs[0], inputs[1], inputs[2] if with_bias else None), targets)
    fused = linear_cross_entropy(inputs[0], inputs[1], inputs[2] if with_bias else None, targets, block)
    assert fused.item() == pytest.approx(plain.item(), abs=1e-5)
    expected = torch.autograd.grad(plain * 3, inputs)
    for gradient, twin in zip(torch.autograd.grad(fused * 3, inputs), expected, strict=True):
        torch.testing.assert_close(gradient, twin, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_near():
    inputs, targets = arguments(True)
    plain = F.cross_entropy(F.linear(*inputs), targets)
    fused = linear_cross_entropy(*inputs, targets, dtype=torch.bfloat16)
    assert fused.dtype == torch.float32
    assert fused.item() == pytest.approx(plain.item(), rel=0.01)
    expected = torch.autograd.grad(plain, inputs)
    for gradient, twin in zip(torch.autograd.grad(fused, inputs), expected, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - twin).norm() < 0.02 * twin.norm()


def test_large_logits_stay_finite():
    hidden = torch.full((3, 2), 1e4, requires_grad=True)
    weight = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], requires_grad=True)
    loss = linear_cross_entropy(hidden, weight, None, torch.tensor([0, 1, 0]))
    assert torch.isfinite(torch.stack([loss, *(g.sum() for g in torch.autograd.grad(loss, [hidden, weight]))])).all()


def arguments(with_bias: bool):
    """hidden [37, 11], weight [53, 11], bias [53] if wanted; targets [37]."""
    torch.manual_seed(0)
    shapes = [(37, 11), (53, 11), (53,)] if with_bias else [(37, 11), (53, 11)]
    return [torch.randn(shape, requires_grad=True) for shape in shapes], torch.randint(0, 53, (37,))
