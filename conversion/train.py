"""Truncated-BPTT training of one recipe, resumable at every update.

Letters: B batch, T time, O layer output, H hidden.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.modeling_rnnlm import RnnLmForCausalLM

from .constraint import Constraint
from .crew import Crew
from .distillation import SoftTargets, check_targets
from .interruption import Interrupted, Requests, requests_to_stop
from .objective import Objective, States, keep_states, mean_loss, product_dtype
from .optim import learning_rate
from .progress import Progress
from .recipe import Recipe
from .resume import divergence
from .running import Running
from .state import random_states, save_state
from .streams import Stripes, window_length
from .tasks import fingerprint

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


class Trainer(Running):
    """The loop over stripes of a text."""

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
        check_targets(recipe, targets, len(splits["train"]))
        super().__init__(recipe, model, run, crew.device, stop, constraint, crew.rank, fingerprint(splits))
        self.crew, self.targets = crew, targets
        self.text = Stripes(splits["train"], eos_id, self.options.batch_size, crew.rows)
        self.valid = Stripes(splits["valid"], eos_id, min(VALID_BATCH, len(splits["valid"])))
        self.carried: States = []  # after the last window
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)  # since the last evaluation
        self.loss_count = 0
        self.rate, self.norm = 0.0, torch.zeros(())  # of the last update
        self.resume()
        dtype = product_dtype(self.options.precision, self.device)
        self.objective = crew.share(Objective(model, self.options, dtype))
        self.progress = Progress(run, recipe.name, self.history, crew.is_main)
        self.saved = self.started = self.rated = time.monotonic()
        self.rated_tokens = self.position.tokens

    @property
    def epochs(self) -> float:
        """Passes of this stage, with fraction."""
        return self.position.epochs(self.text.length)

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
        """As `Running`; the state does not go over."""
        is_one = super().next_stage()
        self.carried = [] if is_one else self.carried
        return is_one

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
        self.norm = self.learner.descend(self.rate * T / options.window, options.clip, self.done())

    def evaluate(self) -> None:
        """Validation with the weights that would be kept; moves the schedules."""
        p, stage = self.position, self.stage
        speed = (p.tokens - self.rated_tokens) / max(time.monotonic() - self.rated, 1e-9)
        self.learner.evaluated.eval()  # before the constraint, which may have other weights in force in training
        with self.constraint.in_force(self.learner.evaluated):
            found = [mean_loss(self.learner.evaluated, self.valid), self.loss_sum.item() / max(self.loss_count, 1)]
        loss, train_loss = self.crew.follow(found)
        better = self.judge(loss, train_loss)
        perplexities = {"train_perplexity": math.exp(train_loss), "valid_perplexity": math.exp(loss)}
        ahead = (stage.epochs - self.epochs) * self.text.length * self.options.batch_size / speed
        self.record(perplexities, better, self.rate, self.norm, speed, ahead)
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
        return {
            **super().state(),
            "carried": self.crew.side_by_side(self.carried),
            "rng": self.crew.gather(random_states()),
            "loss": [self.loss_sum.item(), self.loss_count],
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
        super().restore(state)
        self.carried = self.crew.own(state["carried"])
        self.loss_sum += state["loss"][0]
        self.loss_count = state["loss"][1]
