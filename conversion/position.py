"""Where a run stands: all that its schedules need in order to go on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .recipe import Stage


@dataclass
class Position:
    """Counters of a run; those not marked "in all" begin anew with every stage."""

    stage: int = 0  # in all
    epoch: int = 0  # whole passes
    column: int = 0  # tokens of every stripe read in this pass
    updates: int = 0
    drops: int = 0  # of the learning rate
    waiting: int = 0  # evaluations since the best or the last drop
    stalled: int = 0  # evaluations since the best
    losses: list[float] = field(default_factory=list)  # validation, nats per token
    epochs_before: float = 0.0  # passes of the stages before
    tokens: int = 0  # read, in all
    seconds: float = 0.0  # of training in all, the resumed parts together

    def epochs(self, length: int) -> float:
        """Passes of this stage with fraction, over stripes of `length` tokens."""
        return self.epoch + self.column / length

    def is_over(self, stage: Stage) -> bool:
        """Whether the stage has had its epochs or its patience is at its end."""
        return self.epoch >= stage.epochs or 0 < stage.patience <= self.stalled

    def next_stage(self, epochs: float) -> Position:
        """The beginning of the next stage; `epochs`: passes of this one, with fraction."""
        before = self.epochs_before + epochs
        return Position(stage=self.stage + 1, epochs_before=before, tokens=self.tokens, seconds=self.seconds)

    def judge(self, loss: float, stage: Stage) -> bool:
        """Counts an evaluation and drops the learning rate on a plateau; True: the best of the stage."""
        better = loss < min(self.losses, default=math.inf)
        self.losses.append(loss)
        self.stalled = 0 if better else self.stalled + 1
        self.waiting = 0 if better else self.waiting + 1
        if stage.schedule == "plateau" and self.waiting >= stage.plateau:
            self.drops, self.waiting = self.drops + 1, 0
        return better
