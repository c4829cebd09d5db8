"""The network that the libraries are fed with: a step with dense matrices, as few and as large as can be.

8-bit, 4-bit and sparse matrices are written out, as no library reads these forms; products of factors stay factored.

Letters: V vocabulary, N columns, O layer output, H hidden.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.contenders import TOP
from conversion.exporters.torch_step import unpacked
from zoo.loading import load
from zoo.plain_network import check_plain
from zoo.weights_rnnlm import FORMS


def joined(folder: Path) -> Any:
    """The model of a folder, where the two products of a layer are one, [W U] [x h], if that is the same; see `cell`.

    Each such layer has `joined`, a dense matrix [G*H, N+O] with the bias, else None.

    Raises:
        ZooError: a model with Mogrifier gating or several softmaxes.
    """
    model: Any
    model, _ = load(folder)
    check_plain(model.config, "the network of this library", "take the contender numpy, torch or torch-step")
    model = unpacked(model)
    dense = FORMS["dense"]
    linear = type(dense.build({}, 1, 1, False, False))
    for layer in model.model.layers:
        layer.joined = None
        # A GRU resets what the second product reads or gives.
        if layer.cell != "gru" and type(layer.input) is type(layer.recurrent) is linear:
            both = torch.cat([layer.input.weight, layer.recurrent.weight], dim=1)
            layer.joined = dense.build({}, *both.shape, True, False)
            layer.joined.weight, layer.joined.bias = nn.Parameter(both, False), layer.bias
            layer.input = layer.recurrent = layer.bias = None
    return model.eval().requires_grad_(False)


class OneStep(nn.Module):
    """token [1] and the states h [1, O], c [1, H] (LSTM only) of each layer -> the logits [1, TOP] and the ids
    [1, TOP] of the best words, and the states after it; or the logits [1, V] in place of both.

    Its matrices are torch's own `nn.Linear`, which quantizers look for.
    """

    def __init__(self, model: Any, top: bool = True):
        super().__init__()
        self.lm, self.top = model, min(TOP, model.config.vocab_size) if top else 0
        for name, form in list(model.named_modules()):
            if isinstance(form, nn.Linear) and not name.startswith("model.embed_tokens"):
                plain = nn.Linear(form.in_features, form.out_features, form.bias is not None, device="meta")
                plain.weight, plain.bias = form.weight, form.bias
                model.set_submodule(name, plain)
        self.eval()

    def forward(self, token: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        left, after = list(states), []
        x = self.lm.model.embed_tokens(token)
        for layer in self.lm.model.layers:
            h = left.pop(0)
            c = left.pop(0) if layer.state_sizes[1] else h[:, :0]
            if layer.joined is None:
                h, c = layer.step(layer.input(x) + layer.bias, h, c, layer.recurrent, layer.candidate)
            else:
                h, c = layer.step(layer.joined(torch.cat([x, h], dim=1)), h, c, _nothing, None)
            x = h
            after += [h, c] if layer.state_sizes[1] else [h]
        if self.lm.output_projection is not None:
            x = self.lm.output_projection(x)
        logits = self.lm.lm_head(x)
        return *(logits.topk(self.top) if self.top else [logits]), *after

    def example(self, kind: torch.dtype = torch.int64) -> tuple[torch.Tensor, ...]:
        """A word and the states before it."""
        return torch.zeros(1, dtype=kind), *(torch.zeros(1, size) for size in state_sizes(self.lm))


def _nothing(h: torch.Tensor) -> float:
    """The second product, where the first holds both."""
    return 0.0


def state_sizes(model: Any) -> list[int]:
    """Widths of the states, in order."""
    return [size for layer in model.model.layers for size in layer.state_sizes if size]


def one_step(folder: Path, top: bool = True) -> OneStep:
    """The step of a folder's model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OneStep(joined(folder), top)
