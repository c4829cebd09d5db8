"""The training loss of a window: a module, so that distributed wrappers see one forward per step.

Letters: B batch, T time, V vocabulary, D features, O layer output, H hidden, K words of a soft target, S softmaxes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from zoo.cache_rnnlm import RnnLmCache
from zoo.modeling_rnnlm import RnnLmForCausalLM

from .fused_loss import distillation, linear_cross_entropy, linear_distillation
from .recipe import Training
from .streams import Stripes

States = list[tuple[torch.Tensor, torch.Tensor]]  # per layer h [B, O], c [B, H or 0]
Soft = tuple[
    torch.Tensor, torch.Tensor
]  # words [B, T, K] and their shares [B, T, K + 1], of all other words at the end


class Objective(nn.Module):
    """Cross entropy with carried state, and the activation penalties of Merity et al. 2017.

    Args:
        model: the language model.
        options: `ar`: weight of the mean square of the features, after their dropout; `tar`: weight of the mean square
            change of the last layer's output, before it; `teacher_weight` and `teacher_temperature`.
        dtype: of the products; bfloat16 runs under autocast.
    """

    def __init__(self, model: RnnLmForCausalLM, options: Training | None = None, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.model, self.dtype, self.options = model, dtype, options or Training()

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor, states: States, soft: Soft | None = None):
        """Of one window.

        Args:
            inputs, targets: [B, T].
            states: after the window before; empty: zeros.
            soft: teachers' distributions of the targets.

        Returns:
            The loss to differentiate, the cross entropy in it (nats per token), the states after.
        """
        config = self.model.config
        cache = RnnLmCache.from_states(config, states) if states else RnnLmCache(config)
        with self.autocast(inputs):
            hidden = self.model.model(inputs, past_key_values=cache, use_cache=True).last_hidden_state  # [B, T, O]
            features = self.model.readout(hidden)  # [B, T, D]
        if soft is None:
            loss = entropy = self.cross_entropy(features.flatten(0, 1), targets.flatten())
        else:
            loss, entropy = self.distillation(
                features.flatten(0, 1), targets.flatten(), *(x.flatten(0, 1) for x in soft)
            )
        if self.options.ar:
            loss = loss + self.options.ar * features.float().pow(2).mean()
        if self.options.tar and hidden.shape[1] > 1:
            loss = loss + self.options.tar * (hidden[:, 1:] - hidden[:, :-1]).float().pow(2).mean()
        return loss, entropy.detach(), cache.detach().states()

    def cross_entropy(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """features [N, D], targets [N] -> mean nats; blockwise where the head is one matrix."""
        head = self.model.lm_head
        if self.is_one_matrix() and torch.is_grad_enabled():  # else the gradients would be made for nothing
            return linear_cross_entropy(features, head.weight, head.bias, targets, dtype=self.dtype)
        if self.model.prior is not None:
            return self.mixture_cross_entropy(features, targets)
        return F.cross_entropy(self.logits(features), targets)

    def mixture_cross_entropy(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """As `cross_entropy` of the logits; of each softmax the target only: their mixture [N, V] is dear."""
        S = self.model.config.num_softmaxes
        with self.autocast(features):
            logits = self.model.lm_head(features[:, :-S].reshape(len(features) * S, -1)).float()
            shares = features[:, -S:].float().log_softmax(-1)  # [N, S]
        losses = F.cross_entropy(logits, targets.repeat_interleave(S), reduction="none").view(-1, S)
        return -(shares - losses).logsumexp(-1).mean()

    def distillation(self, features: torch.Tensor, targets: torch.Tensor, words: torch.Tensor, shares: torch.Tensor):
        """features [N, D], targets [N], words [N, K], shares [N, K + 1] -> loss and cross entropy, mean nats."""
        head = self.model.lm_head
        soft = words, shares, self.options.teacher_weight, self.options.teacher_temperature
        if self.is_one_matrix():
            return linear_distillation(features, head.weight, head.bias, targets, *soft, dtype=self.dtype)
        return distillation(self.logits(features), targets, *soft)

    def autocast(self, x: torch.Tensor) -> torch.autocast:
        """Products in `dtype` on the device of x."""
        return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def is_one_matrix(self) -> bool:
        """Whether the logits are one product with a dense matrix, as the blockwise losses take it."""
        return isinstance(self.model.lm_head, nn.Linear) and self.model.prior is None

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """features [N, D] -> fp32 logits [N, V]."""
        with self.autocast(features):
            return self.model.logits(features).float()


def keep_states(states: States, keep: torch.Tensor) -> States:
    """The states, zeroed where `keep` [B] is False."""
    return [(h * keep[:, None], c * keep[:, None]) for h, c in states]


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What a recipe's `precision` means on a device; `auto` is bfloat16 where the hardware multiplies it."""
    if precision == "auto":
        on_cpu = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        able = torch.cuda.is_bf16_supported() if device.type == "cuda" else on_cpu()
        precision = "bf16" if able else "no"
    return torch.bfloat16 if precision == "bf16" else torch.float32


@torch.no_grad()
def mean_loss(model: RnnLmForCausalLM, stripes: Stripes, window: int = 70) -> float:
    """Nats per token over all stripes side by side, in fp32 with carried state and without dropout."""
    model.eval()
    objective, device = Objective(model), next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    states: States = []
    for column in range(0, stripes.length, window):
        inputs, targets = (ids.to(device) for ids in stripes.window(column, window))
        _, entropy, states = objective(inputs, targets, states)
        total += entropy.double() * inputs.shape[1]
    return total.item() / stripes.length
