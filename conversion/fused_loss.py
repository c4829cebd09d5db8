"""The output layer and its cross entropy in one pass over blocks of rows, gradients included.

Letters: N rows (batch times time), D features, V vocabulary, K rows of a block.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

BLOCK = 4096  # rows whose products are made at once; their logits are the only large temporary
CACHED = 1 << 21  # logits in fp32 that stay in the cache of a processor core while the softmax passes over them


class _LinearCrossEntropy(torch.autograd.Function):
    """Walks the blocks once; the gradients are ready when the loss is, so no logits outlive their block."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, block, dtype):
        rows = hidden.shape[0]
        low_hidden, low_weight = hidden.to(dtype), weight.to(dtype)
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight, dtype=torch.float32)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        total = torch.zeros((), device=hidden.device)
        for start in range(0, rows, block):
            here = slice(start, start + block)
            x = low_hidden[here]
            power = F.linear(x, low_weight)  # [K, V], the logits; `exponentials` overwrites them
            inverse, loss = exponentials(power, bias, targets[here], grad_bias)
            total += loss
            grad_hidden[here] = (power @ low_weight) * inverse
            grad_weight += power.t() @ (x * inverse).to(dtype)
        # d loss / d logits is the softmax minus one at the target; here is the one.
        grad_hidden -= F.embedding(targets, low_weight)
        grad_weight.index_add_(0, targets, low_hidden.float(), alpha=-1)
        if grad_bias is not None:
            grad_bias.index_add_(0, targets, torch.ones_like(targets, dtype=grad_bias.dtype), alpha=-1)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.rows = rows
        return total / rows

    @staticmethod
    def backward(ctx, grad):
        scale = grad / ctx.rows
        # In place: each is read once, and the weight's is the largest tensor of the step.
        grads = [None if saved is None else saved.mul_(scale) for saved in ctx.saved_tensors]
        return *grads, None, None, None


def exponentials(logits, bias, targets, grad_bias):
    """Turns logits [K, V] into exp(logits + bias - their maximum) in place, in fp32 a few rows at a time.

    Adds the softmax, summed over the rows, to `grad_bias` [V].

    Returns:
        One over the sums [K, 1], with which the powers are the softmax (it scales the narrow matrices instead), and the
        sum of the cross entropies.
    """
    inverses, loss = [], logits.new_zeros((), dtype=torch.float32)
    few = len(logits) if logits.is_cuda else max(1, CACHED // logits.shape[1])
    for part, y in zip(logits.split(few), targets.split(few), strict=True):
        power = part.float() if bias is None else part.float().add_(bias)
        top = power.amax(dim=1, keepdim=True)  # [few, 1]
        loss += (top - power.gather(1, y[:, None])).sum()
        power = power.sub_(top).exp_()
        inverse = power.sum(dim=1, keepdim=True).reciprocal_()
        loss -= inverse.log().sum()
        if grad_bias is not None:
            grad_bias += (inverse.t() @ power)[0]
        part.copy_(power)
        inverses.append(inverse)
    return torch.cat(inverses), loss


def linear_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    block: int = BLOCK,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Mean cross entropy of softmax(hidden weightᵀ + bias); twin: `F.cross_entropy(F.linear(...), targets)`.

    Args:
        hidden: [N, D]. weight: [V, D]. bias: [V] or None. targets: [N], ids below V.
        block: K.
        dtype: of the products; softmax and sums are fp32.

    Returns:
        The mean in nats, a scalar. It can be differentiated once, by hidden, weight and bias.
    """
    return _LinearCrossEntropy.apply(hidden, weight, bias, targets, block, dtype)


class _LinearDistillation(torch.autograd.Function):
    """As `_LinearCrossEntropy`; the logits of a block become their own gradient."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, words, shares, mix, temperature, block, dtype):
        rows = hidden.shape[0]
        low_hidden, low_weight = hidden.to(dtype), weight.to(dtype)
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight, dtype=torch.float32)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        total = torch.zeros(2, device=hidden.device)
        for start in range(0, rows, block):
            here = slice(start, start + block)
            x = low_hidden[here]
            logits = F.linear(x, low_weight)  # [K, V]
            total += mixed_gradient(logits, bias, targets[here], words[here], shares[here], mix, temperature, grad_bias)
            grad_hidden[here] = logits @ low_weight
            grad_weight += logits.t() @ x
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.rows = rows
        loss, entropy = total / rows
        ctx.mark_non_differentiable(entropy)
        return loss, entropy

    @staticmethod
    def backward(ctx, grad, _):
        return *_LinearCrossEntropy.backward(ctx, grad)[:3], None, None, None, None, None, None, None


def mixed_gradient(logits, bias, targets, words, shares, mix, temperature, grad_bias):
    """Turns logits [K, V] into the gradient of their summed loss in place, in fp32 a few rows at a time.

    Adds the gradient, summed over the rows, to `grad_bias` [V].

    Returns:
        The sums of the losses and of the cross entropies in them [2].
    """
    losses = logits.new_zeros(2, dtype=torch.float32)
    few = len(logits) if logits.is_cuda else max(1, CACHED // logits.shape[1])
    hard, soft = 1 - mix, mix * temperature  # T² of the loss, 1/T from the softmax
    for part, y, top, q in zip(*(x.split(few) for x in (logits, targets, words, shares)), strict=True):
        power = part.float() if bias is None else part.float().add_(bias)
        power.sub_(power.amax(dim=1, keepdim=True))
        own, leading = power.gather(1, y[:, None]), power.gather(1, top) / temperature
        warm = power if temperature == 1 else power / temperature
        warm.exp_()
        # The sum of the other words is made without those of the target, as a difference would leave nothing of it.
        powers = leading.exp()
        others = warm.scatter_(1, top, 0).sum(dim=1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny)
        total = others + powers.sum(dim=1, keepdim=True)
        inverse, rest = total.reciprocal(), q[:, -1:]
        divergence = torch.xlogy(q, q).sum() - (q[:, :-1] * leading).sum() - (rest * others.log()).sum()
        divergence += total.log().sum()
        of_others = soft * (inverse - rest / others)
        if temperature == 1:
            entropy = total.log().sum() - own.sum()
            power.mul_(of_others + hard * inverse)
            slope = powers * inverse  # (hard + soft = 1)
        else:
            sums = power.exp_().sum(dim=1, keepdim=True)
            entropy = sums.log().sum() - own.sum()
            power.mul_(hard / sums).addcmul_(warm, of_others)
            slope = powers * (inverse * soft)
        power.scatter_add_(1, top, slope - soft * q[:, :-1])
        power.scatter_add_(1, y[:, None], torch.full_like(own, -hard))
        if grad_bias is not None:
            grad_bias += power.sum(dim=0)
        part.copy_(power)
        losses += torch.stack([hard * entropy + mix * temperature**2 * divergence, entropy])
    return losses


def linear_distillation(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    words: torch.Tensor,
    shares: torch.Tensor,
    mix: float,
    temperature: float,
    block: int = BLOCK,
    dtype: torch.dtype = torch.float32,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`distillation` of the logits hidden weightᵀ + bias, whose arguments are as there; the others as above."""
    return _LinearDistillation.apply(hidden, weight, bias, targets, words, shares, mix, temperature, block, dtype)


def distillation(
    logits: torch.Tensor,
    targets: torch.Tensor,
    words: torch.Tensor,
    shares: torch.Tensor,
    mix: float,
    temperature: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(1 - mix) times the cross entropy, plus mix T² times the divergence from a soft target (Hinton et al. 2015).

    The divergence is KL(target || softmax(logits / T)) over S words and one class for all others.

    Args:
        logits: [N, V]. targets: [N], ids below V.
        words: [N, S], S < V, different ones in a row. shares: [N, S + 1], their probabilities and that of all others.
        mix: 0 to 1.
        temperature: T.

    Returns:
        The mean loss, and the cross entropy in it without gradient; nats.
    """
    scores = F.log_softmax(logits / temperature, dim=1)
    others = scores.scatter(1, words, -torch.inf).logsumexp(dim=1, keepdim=True)
    known = torch.cat([scores.gather(1, words), others], dim=1)  # [N, S + 1]
    divergence = (torch.xlogy(shares, shares) - shares * known).sum(dim=1).mean()
    entropy = F.cross_entropy(logits, targets)
    return (1 - mix) * entropy + mix * temperature**2 * divergence, entropy.detach()
