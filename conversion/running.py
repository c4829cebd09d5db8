"""What every training carries from update to update: position, weights, the best of them, history."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import torch

from .constraint import Constraint, NoConstraint
from .interruption import Requests
from .learner import Learner, copy_of
from .optim import averaging_starts
from .position import Position
from .progress import Progress
from .recipe import Recipe, Stage
from .recurrence import train_with_kernel
from .resume import collapse, divergence, refuse_changes
from .state import load_state, random_states, set_random_states

DIVERGED = 100.0  # nats per word or text; no vocabulary needs as many
COLLAPSED = 0.3  # nats above the stage's best, a third more perplexity; overfitting takes many evaluations for as much


class Running:
    """A run of a recipe's stages.

    Args:
        model: at its initial weights; put on the device.
        folder: of state.pt, log.jsonl and curve.png.
        stop: asked to stop through this.
        constraint: what the weights are kept to.
        rank: of this process among those that share the batch.
        texts: a hash of what is learnt.
    """

    progress: Progress

    def __init__(
        self,
        recipe: Recipe,
        model: Any,
        folder: Path,
        device: torch.device,
        stop: Requests,
        constraint: Constraint | None,
        rank: int = 0,
        texts: str = "",
    ):
        self.recipe, self.options, self.model = recipe, recipe.training, model
        self.path, self.device, self.requests = folder / "state.pt", device, stop
        self.constraint, self.rank, self.texts = constraint or NoConstraint(), rank, texts
        self.position = Position()
        self.best: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.generator = torch.Generator().manual_seed(recipe.seed)
        torch.manual_seed(recipe.seed + rank)
        model.to(device)
        train_with_kernel(model)
        self.learner = Learner(model, self.stage, self.constraint)
        self.started = time.monotonic()

    def resume(self) -> None:
        """Goes on from the state in the run's folder, if there is one."""
        if (state := load_state(self.path)) is not None:
            self.restore(state)

    @property
    def stage(self) -> Stage:
        return self.recipe.stage[self.position.stage]

    @property
    def epochs(self) -> float:
        """Passes of this stage, with fraction where it is known."""
        return float(self.position.epoch)

    @property
    def seconds(self) -> float:
        """Time that the run has taken, the resumed parts together."""
        return self.position.seconds + time.monotonic() - self.started

    def done(self, share: float = 0.0) -> float:
        """Share of all stages' epochs that is over, with a share of an epoch more."""
        lengths = [stage.epochs for stage in self.recipe.stage]
        return (sum(lengths[: self.position.stage]) + self.epochs + share) / sum(lengths)

    def next_stage(self) -> bool:
        """Goes to the next stage; False where there is none."""
        if self.position.stage + 1 == len(self.recipe.stage):
            return False
        self.position = self.position.next_stage(self.epochs)
        if self.stage.start == "best" and self.best:
            self.model.load_state_dict(self.best["weights"])
        self.learner = Learner(self.model, self.stage, self.constraint)
        return True

    def judge(self, loss: float, train_loss: float) -> bool:
        """Counts an evaluation of `learner.evaluated`, keeps the best and moves the schedules; True: the stage's best.

        A loss that jumps up is said once; it is no error, as the run may recover.

        Raises:
            RecipeError: a loss is no number any more.
        """
        p, stage = self.position, self.stage
        if not (loss < DIVERGED and train_loss < DIVERGED):
            raise divergence(self.recipe, self.path.parent, p.tokens, f"the loss is {loss:.4g} ({train_loss:.4g})")
        counts = self.constraint.complete(self.done())
        if counts and loss - min(p.losses, default=math.inf) > COLLAPSED >= p.losses[-1] - min(p.losses):
            self.progress.say(collapse(loss, min(p.losses), self.path.parent))
        better = counts and p.judge(loss, stage)
        if counts and loss < self.best.get("loss", math.inf):
            weights, epochs = copy_of(self.learner.evaluated), p.epochs_before + self.epochs
            self.best = {"loss": loss, "weights": weights, "epochs": epochs, "tokens": p.tokens}
        if stage.average == "asgd" and not self.learner.average and averaging_starts(p.losses, stage.nonmonotone):
            self.learner.start_averaging()
            self.progress.say("averaging starts")
        return better

    def record(
        self, found: dict[str, float], better: bool, rate: float, norm: torch.Tensor, speed: float, ahead: float
    ) -> None:
        """Writes an evaluation to history and log.

        Args:
            found: what was measured.
            rate: learning rate of the last update.
            norm: of its gradient.
            speed: tokens a second.
            ahead: seconds until the stage ends.
        """
        p = self.position
        entry = {
            "stage": p.stage + 1,
            "epoch": round(self.epochs, 6),
            "epochs": self.stage.epochs,
            "updates": p.updates,
            "tokens": p.tokens,
            **found,
            "best": better,
            "lr": rate,
            "gradient_norm": float(norm),
            "tokens_per_second": round(speed, 1),
            "seconds": round(self.seconds, 1),
            **self.constraint.report(self.learner.evaluated),
        }
        self.history.append(entry)
        self.progress.record(entry, self.history, ahead)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        self.position.seconds, self.started = self.seconds, time.monotonic()
        return {
            "recipe": dataclasses.asdict(self.recipe),
            "texts": self.texts,
            "position": dataclasses.asdict(self.position),
            "history": self.history,
            "best": self.best,
            "generator": self.generator.get_state(),
            "rng": [random_states()],
            **self.learner.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Puts everything where `state` says."""
        refuse_changes(state, self.recipe, self.path.parent, self.texts)
        self.position, self.history, self.best = Position(**state["position"]), state["history"], state["best"]
        self.learner = Learner(self.model, self.stage, self.constraint)
        self.learner.restore(state)
        self.generator.set_state(state["generator"])
        if self.rank < len(state["rng"]):
            set_random_states(state["rng"][self.rank])
