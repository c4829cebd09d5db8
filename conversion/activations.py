"""What a model's matrices meet on training text: second moments of their inputs, and how much their outputs matter.

Letters: V vocabulary, M rows and N columns of a matrix, B stripes, T time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from zoo.cache_rnnlm import RnnLmCache
from zoo.corpora import Corpus
from zoo.errors import CorpusError, RecipeError, VocabularyError
from zoo.modeling_rnnlm import RnnLmForCausalLM

from .matrices import matrix_of
from .streams import Stripes

BATCH = 50  # stripes, spread over the whole text
WINDOW = 35  # time steps whose inputs are in memory together, and that gradients reach back


@dataclass(frozen=True, eq=False)
class Activations:
    """What `second_moments` (inputs) and `sensitivities` (outputs) found; empty: nothing is known."""

    inputs: dict[str, torch.Tensor] = field(default_factory=dict)
    outputs: dict[str, torch.Tensor] = field(default_factory=dict)


def measure(model: RnnLmForCausalLM, data: Corpus | None) -> Activations:
    """Both of them; to be handed to several conversions of one model."""
    return Activations(second_moments(model, data), sensitivities(model, data))


def second_moments(
    model: RnnLmForCausalLM, data: Corpus | None, positions: int = 50_000, progress: bool = True
) -> dict[str, torch.Tensor]:
    """What the model's matrices are multiplied with, in eval mode with carried state; the model stays as it is.

    Args:
        data: its split `train` is read, in stripes from all over the text.
        positions: tokens to run the model on, at most.
        progress: a bar on a terminal, where it takes long.

    Returns:
        name of a matrix -> E[x xᵀ] [N, N] of its inputs x; for `embed` the share of every word in the whole training
        text [V] instead; for `head` the moments of the features, also where it is tied to `embed`. Float64, on the CPU.

    Raises:
        RecipeError: no data. CorpusError: data without training text.
        VocabularyError: text with ids that the model has not.
    """
    tokens = training_text(model, data)
    names = [name for name in model.config.shapes if name not in ("embed", "head")]
    sums: dict[str, torch.Tensor] = {}
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in (*names, "head")}
    state, count = RnnLmCache(model.config), 0

    def watch(name: str, x: torch.Tensor, _: torch.Tensor) -> None:
        seen[name].append(x)

    with watched(model, names, watch), torch.inference_mode():
        for inputs, _ in windows(model, tokens, data, positions, "activations" if progress else ""):
            output = model.model(inputs, past_key_values=state, use_cache=True)
            watch("head", model.readout(output.last_hidden_state), inputs)
            for name, parts in seen.items():
                x = torch.cat([part.flatten(0, -2) for part in parts]).float()  # [B*T, N]
                product = (x.T @ x).double().cpu()
                sums[name] = sums[name] + product if name in sums else product
                parts.clear()
            count += inputs.numel()
    moments = {name: total / count for name, total in sums.items()}
    return {"embed": word_shares(tokens, model.config.vocab_size), **moments}


def sensitivities(
    model: RnnLmForCausalLM, data: Corpus | None, positions: int = 10_000, progress: bool = True
) -> dict[str, torch.Tensor]:
    """How much every output of every matrix matters: the mean square of the loss's derivative by it.

    To second order the loss grows with the square of an output's error times this (the diagonal of the output side of
    the Fisher matrix; Martens and Grosse 2015, section 3). Arguments and errors as in `second_moments`.

    Returns:
        name of a matrix -> [M], float64, on the CPU; for `embed` and `head` the share of every word in the whole
        training text, which is that of a logit for a model whose mean prediction is right.
    """
    tokens = training_text(model, data)
    names = [name for name in model.config.shapes if name not in ("embed", "head")]
    sums = {name: torch.zeros(model.config.shapes[name][0], dtype=torch.float64) for name in names}
    state, count = RnnLmCache(model.config), 0

    def watch(name: str, _: torch.Tensor, y: torch.Tensor) -> None:
        def add(gradient: torch.Tensor) -> None:
            sums[name] += gradient.flatten(0, -2).square().sum(0).double().cpu()

        y.register_hook(add)

    with watched(model, names, watch), torch.enable_grad():
        for inputs, targets in windows(model, tokens, data, positions, "sensitivities" if progress else ""):
            x = model.model.embed(inputs).detach().requires_grad_()  # where the gradient ends: none for parameters
            output = model.model(inputs_embeds=x, past_key_values=state, use_cache=True)
            logits = model.logits(model.readout(output.last_hidden_state))
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
            torch.autograd.grad(loss, x)
            state.detach()
            count += inputs.numel()
    shares = word_shares(tokens, model.config.vocab_size)
    return {"embed": shares, **{name: total / count for name, total in sums.items()}, "head": shares}


def training_text(model: RnnLmForCausalLM, data: Corpus | None) -> np.ndarray:
    """The ids of the training text, checked against the model's vocabulary."""
    if data is None:
        raise RecipeError(
            "this step needs training text; give a corpus (--corpus), or weighted = false (low rank), "
            "criterion = 'magnitude' (prune), rounding = 'nearest' (quantize)"
        )
    if model.config.num_softmaxes > 1:
        raise RecipeError(
            f"this model has num_softmaxes {model.config.num_softmaxes}, and activations are measured of one softmax "
            "only; give weighted = false (low_rank), criterion = 'magnitude' (prune), or quantize"
        )
    tokens = data.splits.get("train", np.zeros(0, dtype=np.int32))
    if len(tokens) == 0:
        raise CorpusError(
            f"{data.name} has no training text; give a folder with train.txt, or weighted = false, "
            "criterion = 'magnitude', rounding = 'nearest'"
        )
    if (largest := int(tokens.max())) >= model.config.vocab_size:
        raise VocabularyError(
            f"the text has the id {largest}; this model's {model.config.vocab_size} words have ids 0 to "
            f"{model.config.vocab_size - 1}: load the corpus with the model's own tokenizer"
        )
    return tokens


def windows(
    model: RnnLmForCausalLM, tokens: np.ndarray, data: Corpus | None, positions: int, label: str
) -> Iterator[tuple[Any, torch.Tensor]]:
    """Inputs and targets [B, T] on the model's device, about `positions` tokens in all; a bar with `label`."""
    assert data is not None
    stripes = Stripes(tokens, data.eos_id, min(BATCH, len(tokens)))
    B = len(stripes.starts)
    steps = min(stripes.length, max(1, positions // B))
    with tqdm(total=steps * B, desc=label, unit="tok", leave=False, disable=None if label else True, delay=2) as bar:
        for column in range(0, steps, WINDOW):
            inputs, targets = stripes.window(column, min(WINDOW, steps - column))
            yield inputs.to(model.device), targets.to(model.device)
            bar.update(inputs.numel())


def word_shares(tokens: np.ndarray, vocab_size: int) -> torch.Tensor:
    """The share of every word in a text of ids -> [V]."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    for start in range(0, len(tokens), 1 << 24):  # a text may be larger than memory
        counts += np.bincount(tokens[start : start + (1 << 24)], minlength=vocab_size)
    return torch.from_numpy(counts / len(tokens))


@contextmanager
def watched(
    model: RnnLmForCausalLM, names: list[str], watch: Callable[[str, torch.Tensor, torch.Tensor], None]
) -> Iterator[None]:
    """While it lasts, the model is in eval mode and `watch` gets name, input [..., N] and output [..., M] of products.

    A layer whose matrices are watched runs step by step instead of in the fused kernel, which calls none of them.
    """
    was_training, hooks = model.training, []

    def hook_of(name: str) -> Callable[[nn.Module, tuple, torch.Tensor], None]:
        return lambda _, given, output: watch(name, given[0], output)

    try:
        model.eval()
        for name in names:
            hooks.append(matrix_of(model, name).register_forward_hook(hook_of(name)))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        model.train(was_training)


def square_root(moments: torch.Tensor, ridge: float = 1e-6) -> tuple[torch.Tensor, torch.Tensor]:
    """C [N, N] -> its symmetric square root and the inverse of that, after adding `ridge` of its mean diagonal to C.

    The ridge keeps directions that the text never showed from being free.
    """
    C = moments.double()
    level = C.diagonal().mean()
    if not level > 0:  # an input that is always zero: no direction counts more than another
        return torch.eye(len(C), dtype=C.dtype), torch.eye(len(C), dtype=C.dtype)
    values, vectors = torch.linalg.eigh(C)
    roots = (values.clamp(min=0) + ridge * level).sqrt()
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T
