"""The weights of a run and what moves them: optimizer, and the average that is evaluated in their place."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from zoo.modeling_rnnlm import RnnLmForCausalLM

from .constraint import Constraint, NoConstraint
from .optim import make_average, make_optimizer
from .recipe import Stage


class Learner:
    """Of one stage of a run.

    Args:
        model: on its device; learns.
        stage: names optimizer and average.
        constraint: what weights and average are kept to.
    """

    def __init__(self, model: RnnLmForCausalLM, stage: Stage, constraint: Constraint | None = None):
        self.model, self.stage, self.constraint = model, stage, constraint or NoConstraint()
        self.optimizer = make_optimizer(stage, model.parameters())
        self.average: AveragedModel | None = None
        if stage.average == "ema":
            self.start_averaging()

    def start_averaging(self) -> None:
        """From now on the average of the coming weights is what is evaluated."""
        self.average = make_average(self.stage, self.model)

    @property
    def evaluated(self) -> Any:
        """The model that validation sees and that is kept."""
        return self.model if self.average is None else self.average.module

    def descend(self, rate: float, clip: float, done: float = 0.0) -> torch.Tensor:
        """One update along the gradients that are there, which are gone afterwards.

        Args:
            rate: learning rate.
            clip: largest norm of the gradient; 0: no limit.
            done: share of the run that is over after this update, for the constraint.

        Returns:
            The norm of the gradient before clipping.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.constraint.after_update(self.model, done)
        if self.average is not None:
            self.average.update_parameters(self.model)
            self.constraint.after_update(self.average.module, done)
        return norm

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        average = None if self.average is None else self.average.state_dict()
        return {
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": average,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to where `state` was taken, in the same stage."""
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["average"] is not None:
            self.average = make_average(self.stage, self.model)
            self.average.load_state_dict(state["average"])


def copy_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The model's tensors, copied to the CPU; a tied one stays one."""
    copies: dict[tuple, torch.Tensor] = {}
    weights = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in copies:
            copies[key] = tensor.detach().to("cpu", copy=True)
        weights[name] = copies[key]
    return weights
