"""Optimizers, learning rates and weight averages of a stage."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from .recipe import Stage


def make_optimizer(stage: Stage, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of a stage; its learning rate is set anew before every update."""
    parameters = list(parameters)
    fused = parameters[0].device.type in ("cpu", "cuda")
    if stage.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=stage.lr, weight_decay=stage.weight_decay, fused=fused)
    kind = torch.optim.Adam if stage.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=stage.lr, betas=stage.betas, weight_decay=stage.weight_decay, fused=fused)


def learning_rate(stage: Stage, updates: int, epochs: float, drops: int) -> float:
    """The learning rate of the next update.

    Args:
        updates: updates of this stage so far.
        epochs: passes of this stage so far, with fraction.
        drops: times that validation has stalled.
    """
    rate = stage.lr
    if stage.schedule == "plateau":
        rate *= stage.factor**drops
    elif stage.schedule == "decay":
        rate *= stage.factor ** max(0, int(epochs) + 1 - stage.decay_after)
    elif stage.schedule == "linear":
        rate *= max(0.0, 1 - epochs / stage.epochs)
    elif stage.schedule == "cosine":
        rate *= (1 + math.cos(math.pi * min(1.0, epochs / stage.epochs))) / 2
    return rate * min(1.0, (updates + 1) / stage.warmup) if stage.warmup else rate


def make_average(stage: Stage, model: nn.Module) -> AveragedModel:
    """An average over the coming updates: exponential, or the plain mean."""
    if stage.average == "asgd":
        return AveragedModel(model)

    def ema(averages, current, number):
        # Shorter at first, so that the random start does not stay in the average for thousands of updates.
        decay = min(stage.decay, (1 + int(number)) / (10 + int(number)))
        learn = [pair for pair in zip(averages, current, strict=True) if pair[0].is_floating_point()]
        if learn:  # columns and row starts of a sparse matrix come by themselves
            torch._foreach_lerp_([average for average, _ in learn], [weight for _, weight in learn], 1 - decay)

    return AveragedModel(model, multi_avg_fn=ema)


def averaging_starts(losses: list[float], nonmonotone: int) -> bool:
    """Whether NT-ASGD begins: the last loss is worse than the best but for the `nonmonotone` evaluations before it."""
    return len(losses) > nonmonotone + 1 and losses[-1] > min(losses[: -nonmonotone - 1])
