"""Truncated-BPTT training of one recipe, resumable at every update.

Letters: B batch, T time, O layer output, H hidden.
"""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.modeling_rnnlm import RnnLmForCausalLM

from .constraint import Constraint, NoConstraint
from .crew import Crew
from .distillation import SoftTargets, check_targets
from .interruption import Interrupted, Requests, requests_to_stop
from .learner import Learner, copy_of
from .objective import Objective, States, keep_states, mean_loss, product_dtype
from .optim import averaging_starts, learning_rate
from .position import Position
from .progress import Progress
from .recipe import Recipe, Stage
from .resume import divergence, refuse_changes
from .state import load_state, random_states, save_state, set_random_states
from .streams import Stripes, window_length

DIVERGED = 100.0  # nats per token; no vocabulary needs as many
Splits = dict[str, np.ndarray]
VALID_BATCH = 10  # stripes of the validation text while training; final numbers are made at batch 1


def train(
    recipe: Recipe,
    model: RnnLmForCausalLM,
    splits: Splits,
    eos_id: int,
    run: Path,
    device: str = "auto",
    constraint: Constraint | None = None,
    targets: SoftTargets | None = None,
) -> dict[str, Any]:
    """Trains until the recipe is done, going on from the state in the run's folder if there is one.

    Args:
        model: at its initial weights; it ends with the last ones, the best are in the state.
        splits: ids of `train` [N] and `valid` [M].
        eos_id: input before the first token.
        run: folder for state.pt, log.jsonl and curve.png.
        device: `auto`, `cpu` or `cuda`; the processes of `accelerate launch` share the batch.
        constraint: what the weights are kept to; the best ones kept are the latent ones, as the optimizer sees them.
        targets: the teachers' distributions of the training text, where the recipe names teachers.

    Returns:
        The final state, as `load_state(run / "state.pt")` gives it.

    Raises:
        Interrupted: a signal came; the state is saved and the same call goes on.
        RecipeError: the recipe was changed since the run began, or the loss is no number any more.
        CorpusError: a text shorter than the batch.
    """
    run.mkdir(parents=True, exist_ok=True)
    with requests_to_stop() as requests:
        crew = Crew(device, recipe.training.batch_size)
        trainer = Trainer(recipe, model, splits, eos_id, run, crew, requests, constraint, targets)
        trainer.run_stages()
        return trainer.state()


class Trainer:
    """The loop and everything that it carries from update to update."""

    def __init__(
        self,
        recipe: Recipe,
        model: RnnLmForCausalLM,
        splits: Splits,
        eos_id: int,
        run: Path,
        crew: Crew,
        stop: Requests,
        constraint: Constraint | None = None,
        targets: SoftTargets | None = None,
    ):
        self.recipe, self.options, self.model = recipe, recipe.training, model
        self.path, self.requests, self.crew, self.device = run / "state.pt", stop, crew, crew.device
        self.text = Stripes(splits["train"], eos_id, self.options.batch_size, self.crew.rows)
        self.valid = Stripes(splits["valid"], eos_id, min(VALID_BATCH, len(splits["valid"])))
        self.constraint, self.targets = constraint or NoConstraint(), targets
        check_targets(recipe, targets, len(splits["train"]))

        self.position = Position()
        self.best: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.carried: States = []  # after the last window
        self.generator = torch.Generator().manual_seed(recipe.seed)
        torch.manual_seed(recipe.seed + self.crew.rank)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)  # since the last evaluation
        self.loss_count = 0
        self.rate, self.norm = 0.0, torch.zeros(())  # of the last update
        model.to(self.device)  # type: ignore[arg-type]
        self.learner = Learner(model, self.stage, self.constraint)
        if (state := load_state(self.path)) is not None:
            self.restore(state)
        dtype = product_dtype(self.options.precision, self.device)
        self.objective = self.crew.share(Objective(model, self.options, dtype))
        self.progress = Progress(run, recipe.name, self.history, self.crew.is_main)
        self.saved = self.started = self.rated = time.monotonic()
        self.rated_tokens = self.position.tokens

    @property
    def stage(self) -> Stage:
        return self.recipe.stage[self.position.stage]

    @property
    def epochs(self) -> float:
        """Passes of this stage, with fraction."""
        return self.position.epochs(self.text.length)

    @property
    def done(self) -> float:
        """Share of all stages' epochs that is over."""
        lengths = [stage.epochs for stage in self.recipe.stage]
        return (sum(lengths[: self.position.stage]) + self.epochs) / sum(lengths)

    @property
    def seconds(self) -> float:
        """Time that the run has taken, the resumed parts together."""
        return self.position.seconds + time.monotonic() - self.started

    def run_stages(self) -> None:
        """Updates, evaluations and saves until the last stage is over."""
        if self.position.tokens:
            self.progress.say(f"goes on in stage {self.position.stage + 1}, epoch {self.epochs:.3f}")
        while not self.position.is_over(self.stage) or self.next_stage():
            self.update()
            every, p = self.options.evaluate_every, self.position
            if p.column == 0 or (every and p.updates % every == 0):
                self.evaluate()
                self.save()
            self.control()

    def next_stage(self) -> bool:
        """Goes to the next stage; False where there is none."""
        if self.position.stage + 1 == len(self.recipe.stage):
            return False
        self.position, self.carried = self.position.next_stage(self.epochs), []
        if self.stage.start == "best" and self.best:
            self.model.load_state_dict(self.best["weights"])
        self.learner = Learner(self.model, self.stage, self.constraint)
        return True

    def update(self) -> None:
        """One window: forward, backward, and a step of the optimizer and the average."""
        p, options = self.position, self.options
        length = window_length(self.generator, options.window, options.window_jitter, options.short_window)
        inputs, targets = (ids.to(self.device) for ids in self.text.window(p.column, length))
        T = inputs.shape[1]
        self.rate = learning_rate(self.stage, p.updates, self.epochs, p.drops)
        if options.reset_state:
            keep = torch.rand(options.batch_size, generator=self.generator)[self.crew.rows] >= options.reset_state
            self.carried = keep_states(self.carried, keep.to(self.device))
        self.model.train()
        soft = None if self.targets is None else self.targets.at(self.text.places(p.column, T), self.device)
        with self.constraint.in_force(self.model):
            loss, entropy, self.carried = self.objective(inputs, targets, self.carried, soft)
            loss.backward()
        self.loss_sum += entropy.double() * T
        self.loss_count += T
        p.updates += 1
        p.column += T
        p.tokens += T * options.batch_size
        self.progress.advance(f"{p.epoch + 1}/{self.stage.epochs}", p.column, self.text.length, options.batch_size)
        if p.column >= self.text.length:
            p.epoch, p.column, self.carried = p.epoch + 1, 0, []
            self.progress.epoch_ends()
        self.norm = self.learner.descend(self.rate * T / options.window, options.clip, self.done)

    def evaluate(self) -> None:
        """Validation with the weights that would be kept; moves the schedules."""
        p, stage = self.position, self.stage
        speed = (p.tokens - self.rated_tokens) / max(time.monotonic() - self.rated, 1e-9)
        self.learner.evaluated.eval()  # before the constraint, which may have other weights in force in training
        with self.constraint.in_force(self.learner.evaluated):
            found = [mean_loss(self.learner.evaluated, self.valid), self.loss_sum.item() / max(self.loss_count, 1)]
        loss, train_loss = self.crew.follow(found)
        if not (loss < DIVERGED and train_loss < DIVERGED):
            raise divergence(self.recipe, self.path.parent, p.tokens, f"the loss is {loss:.4g} ({train_loss:.4g})")
        counts = self.constraint.complete(self.done)
        better = counts and p.judge(loss, stage)
        if counts and loss < self.best.get("loss", math.inf):
            epochs = p.epochs_before + self.epochs
            self.best = {"loss": loss, "weights": copy_of(self.learner.evaluated), "epochs": epochs, "tokens": p.tokens}
        if stage.average == "asgd" and not self.learner.average and averaging_starts(p.losses, stage.nonmonotone):
            self.learner.start_averaging()
            self.progress.say("averaging starts")
        entry = {
            "stage": p.stage + 1,
            "epoch": round(self.epochs, 6),
            "epochs": stage.epochs,
            "updates": p.updates,
            "tokens": p.tokens,
            "train_perplexity": math.exp(train_loss),
            "valid_perplexity": math.exp(loss),
            "best": better,
            "lr": self.rate,
            "gradient_norm": float(self.norm),
            "tokens_per_second": round(speed, 1),
            "seconds": round(self.seconds, 1),
            **self.constraint.report(self.learner.evaluated),
        }
        self.history.append(entry)
        ahead = (stage.epochs - self.epochs) * self.text.length * self.options.batch_size / speed
        self.progress.record(entry, self.history, ahead)
        self.loss_sum.zero_()
        self.loss_count = 0
        self.rated, self.rated_tokens = time.monotonic(), p.tokens

    def control(self) -> None:
        """Saves when it is time and stops when asked to, all processes at the same update."""
        due = time.monotonic() - self.saved >= self.options.save_every
        number, save = self.crew.agree(self.position.updates, self.requests.number, int(due))
        if number or save:
            self.save()
        if number:
            self.progress.epoch_ends()
            raise Interrupted(number)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on; of all processes, on all of them."""
        self.position.seconds, self.started = self.seconds, time.monotonic()
        return {
            "recipe": dataclasses.asdict(self.recipe),
            "position": dataclasses.asdict(self.position),
            "history": self.history,
            "best": self.best,
            "carried": self.crew.side_by_side(self.carried),
            "generator": self.generator.get_state(),
            "rng": self.crew.gather(random_states()),
            "loss": [self.loss_sum.item(), self.loss_count],
            **self.learner.state(),
        }

    def save(self) -> None:
        """Writes the state, from the main process."""
        if not torch.isfinite(self.norm):
            raise divergence(self.recipe, self.path.parent, self.position.tokens, f"the gradient is {self.norm:.4g}")
        state = self.state()
        if self.crew.is_main:
            save_state(self.path, state)
        self.saved = time.monotonic()

    def restore(self, state: dict[str, Any]) -> None:
        """Puts everything where `state` says."""
        refuse_changes(state, self.recipe, self.path.parent)
        self.position, self.history, self.best = Position(**state["position"]), state["history"], state["best"]
        self.learner = Learner(self.model, self.stage, self.constraint)
        self.learner.restore(state)
        self.carried = self.crew.own(state["carried"])
        self.generator.set_state(state["generator"])
        if self.crew.rank < len(state["rng"]):
            set_random_states(state["rng"][self.crew.rank])
        self.loss_sum += state["loss"][0]
        self.loss_count = state["loss"][1]
