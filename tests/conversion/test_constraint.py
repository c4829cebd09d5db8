"""Constraints by themselves, and what the trainer makes of them: see also test_train.py."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conversion.constraint import Constraint, KeepZeros, NoConstraint, Together
from conversion.learner import Learner
from conversion.recipe import Stage

STAGE = Stage(optimizer="adam", lr=0.1, epochs=1, betas=(0.9, 0.99), weight_decay=0.01, average="ema", decay=0.9)


class Tied(nn.Module):
    """A table [5, 3] that is also the last matrix."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(5, 3), nn.Linear(3, 5)
        self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(ids))


def updates(model: nn.Module, constraint: Constraint, count: int, learner: Learner | None = None) -> Learner:
    """As the trainer makes them."""
    learner = learner or Learner(model, STAGE, constraint)
    for number in range(count):
        ids = torch.arange(5)
        with constraint.in_force(model):
            F.cross_entropy(model(ids), ids.roll(1)).backward()
        learner.descend(0.1, 1.0, (number + 1) / count)
    return learner


@pytest.mark.parametrize("name", ["table.weight", "head.weight"])
def test_zeros_stay_zero_and_others_move(name: str):
    torch.manual_seed(0)
    model = Tied()
    learner = updates(model, NoConstraint(), 3)  # the optimizer has momentum everywhere
    before = model.table.weight.detach().clone()
    zero = torch.rand(5, 3) < 0.5
    with torch.no_grad():
        model.table.weight[zero] = 0
    learner.constraint = KeepZeros([name])
    updates(model, learner.constraint, 5, learner)
    assert (model.table.weight[zero] == 0).all()
    assert (learner.average.module.table.weight[zero] == 0).all()
    assert (model.table.weight[~zero] != before[~zero]).all()
    assert (model.head.bias != 0).all()


def test_masked_gradients_do_not_count_in_the_norm():
    torch.manual_seed(0)
    model, ids = Tied(), torch.arange(5)
    with torch.no_grad():
        model.table.weight[2:] = 0
    with KeepZeros(["table.weight"]).in_force(model):
        F.cross_entropy(model(ids), ids).backward()
    assert (model.table.weight.grad[2:] == 0).all()
    assert (model.table.weight.grad[:2] != 0).all()


def test_tied_tensor_once():
    assert len(KeepZeros(["table.weight", "head.weight", "head.bias"]).tensors(Tied())) == 2


def test_unknown_name_is_named():
    with pytest.raises(AttributeError, match="nothing"):
        KeepZeros(["head.nothing"]).tensors(Tied())


def test_together_nests_and_agrees():
    calls = []

    class Told(Constraint):
        def __init__(self, name: str, share: float):
            self.name, self.share = name, share

        @contextmanager
        def in_force(self, model):
            calls.append(f"in {self.name}")
            yield
            calls.append(f"out {self.name}")

        def after_update(self, model, done):
            calls.append(f"after {self.name} {done}")

        def complete(self, done):
            return done >= self.share

    both = Together(Told("a", 0.2), Told("b", 0.6))
    with both.in_force(Tied()):
        calls.append("here")
    both.after_update(Tied(), 0.5)
    assert calls == ["in a", "in b", "here", "out b", "out a", "after a 0.5", "after b 0.5"]
    assert [both.complete(done) for done in (0.1, 0.5, 0.6)] == [False, False, True]
