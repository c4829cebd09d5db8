import dataclasses

import pytest
import torch
from torch import nn

from conversion.optim import averaging_starts, learning_rate, make_average, make_optimizer
from conversion.position import Position
from conversion.recipe import Stage

STAGE = Stage(optimizer="sgd", lr=8.0, epochs=4)


def rates(stage: Stage, drops: int = 0) -> list[float]:
    return [round(learning_rate(stage, 1000, epochs, drops), 6) for epochs in (0.0, 1.0, 2.0, 3.5)]


def test_schedules():
    assert rates(STAGE) == [8, 8, 8, 8]
    assert rates(dataclasses.replace(STAGE, schedule="linear")) == [8, 6, 4, 1]
    assert rates(dataclasses.replace(STAGE, schedule="cosine")) == [
        8,
        pytest.approx(6.828427),
        4,
        pytest.approx(0.304482),
    ]
    # Zaremba et al. 2014: divided after every epoch from the third on.
    assert rates(dataclasses.replace(STAGE, schedule="decay", factor=0.5, decay_after=2)) == [8, 8, 4, 2]
    assert rates(dataclasses.replace(STAGE, schedule="plateau", factor=0.25), drops=2) == [0.5] * 4


def test_warmup_rises_from_the_first_update():
    stage = dataclasses.replace(STAGE, warmup=4)
    assert [learning_rate(stage, updates, 0.0, 0) for updates in range(6)] == [2, 4, 6, 8, 8, 8]


def test_plateau_drops_after_patience_and_stage_ends():
    stage = dataclasses.replace(STAGE, schedule="plateau", plateau=2, patience=5, epochs=100)
    position = Position()
    drops = []
    for loss in (5.0, 4.0, 4.5, 4.2, 4.1, 4.1, 4.1):
        assert not position.is_over(stage)
        position.judge(loss, stage)
        drops.append(position.drops)
    assert drops == [0, 0, 0, 1, 1, 2, 2]
    assert position.is_over(stage)


def test_asgd_triggers_as_published():
    """The condition of Merity's program: history of earlier losses longer than n, and worse than all but the last n."""
    losses = [9.0, 7.0, 6.0, 5.5, 5.6, 5.4, 5.7, 5.8, 5.9]
    for n in (1, 2, 5):
        for count in range(1, len(losses) + 1):
            before, last = losses[: count - 1], losses[count - 1]
            expected = len(before) > n and last > min(before[:-n])
            assert averaging_starts(losses[:count], n) == expected


def test_ema_is_short_at_first_and_asgd_is_the_mean():
    model = nn.Linear(1, 1, bias=False)
    ema = make_average(dataclasses.replace(STAGE, average="ema", decay=0.9), model)
    mean = make_average(dataclasses.replace(STAGE, average="asgd"), model)
    expected, values = 0.0, torch.linspace(1, 3, 60).tolist()
    for number, value in enumerate(values):
        nn.init.constant_(model.weight, value)
        ema.update_parameters(model)
        mean.update_parameters(model)
        decay = min(0.9, (1 + number) / (10 + number)) if number else 0.0
        expected = decay * expected + (1 - decay) * value
    assert ema.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert mean.module.weight.item() == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_adam_without_first_moment_is_rmsprop():
    """Melis et al. 2017: steps of lr * g / sqrt(v), v bias-corrected."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer(Stage(optimizer="adam", lr=0.1, epochs=1, betas=(0.0, 0.5)), [weight])
    expected, v = 0.0, 0.0
    for step, gradient in enumerate((2.0, -1.0, 0.5), start=1):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        v = 0.5 * v + 0.5 * gradient**2
        expected -= 0.1 * gradient / (v / (1 - 0.5**step)) ** 0.5
    assert weight.item() == pytest.approx(expected, rel=1e-5)


def test_kinds():
    kinds = [type(make_optimizer(Stage(optimizer=name, lr=1.0, epochs=1), [nn.Parameter(torch.zeros(1))])) for name in
             ("sgd", "adam", "adamw")]  # fmt: skip
    assert kinds == [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW]
