import pytest
import torch
from torch.nn import functional as F

from conversion import fused_loss
from conversion.fused_loss import distillation, linear_cross_entropy, linear_distillation


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


@pytest.mark.parametrize("block", [8, 100])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("mix", "temperature"), [(0.5, 1.0), (0.3, 2.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.7)])
def test_distillation_equals_plain_twin(block, with_bias, mix, temperature, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fused_loss, "CACHED", 3 * 53)
    inputs, targets = arguments(with_bias)
    bias = inputs[2] if with_bias else None
    soft = *soft_targets(5), mix, temperature
    plain, plain_entropy = distillation(F.linear(inputs[0], inputs[1], bias), targets, *soft)
    fused, entropy = linear_distillation(inputs[0], inputs[1], bias, targets, *soft, block)
    assert fused.item() == pytest.approx(plain.item(), abs=1e-5)
    assert entropy.item() == pytest.approx(plain_entropy.item(), abs=1e-5)
    assert not entropy.requires_grad and not plain_entropy.requires_grad
    expected = torch.autograd.grad(plain * 3, inputs)
    for gradient, twin in zip(torch.autograd.grad(fused * 3, inputs), expected, strict=True):
        torch.testing.assert_close(gradient, twin, atol=1e-5, rtol=1e-5)


def test_distillation_of_all_words_but_one_is_the_whole_divergence():
    """T² KL(teacher || student) by torch's own, with the last word alone among "all others"."""
    inputs, targets = arguments(False)
    logits = F.linear(*inputs)
    teacher = torch.randn(37, 53).softmax(dim=1)
    shares, words = teacher.sort(dim=1, descending=True)
    loss, entropy = distillation(logits, targets, words[:, :-1], shares, 0.4, 3.0)
    whole = F.kl_div(F.log_softmax(logits / 3, dim=1), teacher, reduction="batchmean")
    assert entropy.item() == pytest.approx(F.cross_entropy(logits, targets).item(), abs=1e-6)
    assert loss.item() == pytest.approx((0.6 * entropy + 0.4 * 9 * whole).item(), abs=1e-5)


def test_distillation_without_teachers_is_the_cross_entropy():
    inputs, targets = arguments(True)
    loss = linear_distillation(*inputs, targets, *soft_targets(5), 0.0, 1.0)[0]
    plain = linear_cross_entropy(*inputs, targets)
    assert loss.item() == pytest.approx(plain.item(), abs=1e-6)
    for gradient, twin in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(plain, inputs), strict=True):
        torch.testing.assert_close(gradient, twin, atol=1e-6, rtol=1e-5)


def test_distillation_has_no_gradient_at_the_teacher_itself():
    inputs, targets = arguments(True)
    shares, words = F.linear(*inputs).softmax(dim=1).topk(5)
    shares = torch.cat([shares, 1 - shares.sum(dim=1, keepdim=True)], dim=1).detach()
    loss = linear_distillation(*inputs, targets, words, shares, 1.0, 1.0)[0]
    assert loss.item() == pytest.approx(0, abs=1e-6)
    for gradient in torch.autograd.grad(loss, inputs):
        assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distillation_in_bfloat16_is_near(temperature: float):
    inputs, targets = arguments(True)
    soft = *soft_targets(5), 0.5, temperature
    plain = distillation(F.linear(*inputs), targets, *soft)[0]
    fused = linear_distillation(*inputs, targets, *soft, dtype=torch.bfloat16)[0]
    assert fused.dtype == torch.float32
    assert fused.item() == pytest.approx(plain.item(), rel=0.01)
    expected = torch.autograd.grad(plain, inputs)
    for gradient, twin in zip(torch.autograd.grad(fused, inputs), expected, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - twin).norm() < 0.02 * twin.norm()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distillation_of_large_logits_stays_finite(temperature: float):
    """The student gives all other words, of which the teacher expects a tenth, a probability of exp(-2e4)."""
    hidden = torch.full((3, 2), 1e4, requires_grad=True)
    weight = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [-1.0, 0.0]], requires_grad=True)
    words, shares = torch.tensor([[0], [0], [1]]), torch.tensor([[0.9, 0.1]] * 3)
    soft = words, shares, 0.5, temperature
    loss, entropy = linear_distillation(hidden, weight, None, torch.tensor([0, 1, 0]), *soft)
    gradients = torch.autograd.grad(loss, [hidden, weight])
    assert torch.isfinite(torch.stack([loss, entropy, *(g.sum() for g in gradients)])).all()


def soft_targets(top: int):
    """words [37, top], shares [37, top + 1] that sum to one; in the first row all others have none."""
    generator = torch.Generator().manual_seed(1)
    words = torch.rand(37, 53, generator=generator).topk(top).indices
    shares = torch.rand(37, top + 1, generator=generator)
    shares[0, -1] = 0
    return words, shares / shares.sum(dim=1, keepdim=True)
