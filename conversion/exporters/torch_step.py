"""A step of the model as `torch.export` takes it, for the runtimes that are fed from there.

Letters: V vocabulary, O layer output, H hidden.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from zoo import RnnLmForCausalLM
from zoo.weights_rnnlm import FORMS

PACKED = (FORMS["int8"], FORMS["int4"], FORMS["sparse"])


class Step(nn.Module):
    """input_ids [1, 1] and the states h [1, O], c [1, H] (LSTM only) of each layer -> logits [1, 1, V] and states."""

    def __init__(self, model: RnnLmForCausalLM):
        super().__init__()
        self.lm = unpacked(model)

    def forward(self, input_ids: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        left = list(states)
        paired = []
        for layer in self.lm.model.layers:
            h = left.pop(0)
            paired.append((h, left.pop(0) if layer.state_sizes[1] else h[:, :0]))  # type: ignore[index]
        logits, after = self.lm.step(input_ids[:, 0], paired)
        return logits[:, None], *(state for pair in after for state in pair if state.shape[-1])

    def example(self, kind: torch.dtype = torch.int64) -> tuple[torch.Tensor, ...]:
        """A word and the states before it."""
        sizes = [size for layer in self.lm.model.layers for size in layer.state_sizes if size]  # type: ignore[union-attr]
        return torch.zeros(1, 1, dtype=kind), *(torch.zeros(1, size) for size in sizes)


def unpacked(model: RnnLmForCausalLM) -> RnnLmForCausalLM:
    """A copy whose 8-bit, 4-bit and sparse matrices are written out; products of factors stay factored."""
    model = copy.deepcopy(model).requires_grad_(False)
    for name, form in list(model.named_modules()):
        if isinstance(form, PACKED):
            M, N = form.num_rows, form.num_columns
            dense = FORMS["dense"].build({}, M, N, form.bias is not None, form.lookup)
            dense.weight = nn.Parameter(form.to_dense(), requires_grad=False)
            if form.bias is not None:
                dense.bias = form.bias
            model.set_submodule(name, dense)
    return model.eval()
