"""Training of a text classifier on labelled reviews, resumable at every epoch.

Letters: B texts of a batch, T words of its longest.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch.nn import functional as F

from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForSequenceClassification
from zoo.reviews import Reviews, Split
from zoo.text_scoring import side_by_side

from .constraint import Constraint, NoConstraint
from .crew import Crew
from .interruption import Interrupted, Requests, requests_to_stop
from .learner import Learner, copy_of
from .optim import averaging_starts, learning_rate
from .position import Position
from .progress import Progress
from .recipe import Recipe, Stage
from .resume import divergence, refuse_changes
from .state import load_state, random_states, save_state, set_random_states
from .tasks import review_quality

DIVERGED = 100.0  # mean loss of a text; ln 2 is that of no knowledge of two classes
POOL = 40  # batches whose texts are sorted by length together
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # ids [B, T], mask [B, T], labels [B]


def train_reviews(
    recipe: Recipe,
    model: RnnLmForSequenceClassification,
    reviews: Reviews,
    run: Path,
    device: str = "auto",
    constraint: Constraint | None = None,
) -> dict[str, Any]:
    """Trains until the recipe is done, going on from the state in the run's folder if there is one.

    Of the recipe's `training`, `batch_size` counts texts and `window` is the number of last words of a text that are
    read; penalties, teachers and jitter do not apply.

    Args, Returns, Raises: as `conversion.train.train`, with reviews in place of splits.
    """
    if PartialState().num_processes > 1:
        raise RecipeError("a text classifier trains in one process; start it without accelerate launch")
    run.mkdir(parents=True, exist_ok=True)
    with requests_to_stop() as requests:
        trainer = ReviewTrainer(recipe, model, reviews, run, device, requests, constraint)
        trainer.run_stages()
        return trainer.state()


class ReviewTrainer:
    """The loop and everything that it carries from epoch to epoch."""

    def __init__(
        self,
        recipe: Recipe,
        model: RnnLmForSequenceClassification,
        reviews: Reviews,
        run: Path,
        device: str,
        stop: Requests,
        constraint: Constraint | None = None,
    ):
        self.recipe, self.options, self.model, self.reviews = recipe, recipe.training, model, reviews
        self.path, self.requests, self.constraint = run / "state.pt", stop, constraint or NoConstraint()
        self.device = Crew(device, 1).device
        self.position = Position()
        self.best: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.generator = torch.Generator().manual_seed(recipe.seed)
        torch.manual_seed(recipe.seed)
        model.to(self.device)  # type: ignore[arg-type]
        self.learner = Learner(model, self.stage, self.constraint)
        if (state := load_state(self.path)) is not None:
            self.restore(state)
        self.progress = Progress(run, recipe.name, self.history, True)
        self.started = time.monotonic()

    @property
    def stage(self) -> Stage:
        return self.recipe.stage[self.position.stage]

    @property
    def seconds(self) -> float:
        """Time that the run has taken, the resumed parts together."""
        return self.position.seconds + time.monotonic() - self.started

    def done(self, share: float = 0.0) -> float:
        """Share of all stages' epochs that is over, with a share of the present one."""
        lengths = [stage.epochs for stage in self.recipe.stage]
        return (sum(lengths[: self.position.stage]) + self.position.epoch + share) / sum(lengths)

    def run_stages(self) -> None:
        """Epochs, evaluations and saves until the last stage is over."""
        while True:
            while not self.position.is_over(self.stage):
                self.epoch()
                self.save()
            if self.position.stage + 1 == len(self.recipe.stage):
                return
            self.position = self.position.next_stage(self.position.epoch)
            if self.stage.start == "best" and self.best:
                self.model.load_state_dict(self.best["weights"])
            self.learner = Learner(self.model, self.stage, self.constraint)

    def epoch(self) -> None:
        """All texts once, and an evaluation."""
        p, split, started = self.position, self.reviews.splits["train"], time.monotonic()
        losses, words, norm, rate = [], 0, torch.zeros(()), 0.0
        batches = list(order_of(split, self.options.batch_size, self.generator))
        for number, places in enumerate(batches):
            ids, mask, labels = (x.to(self.device) for x in batch_of(split, places, self.options.window))
            self.model.train()
            with self.constraint.in_force(self.model):
                loss = loss_of(self.model, ids, mask, labels).mean()
                loss.backward()
            share = (number + 1) / len(batches)
            rate = learning_rate(self.stage, p.updates, p.epoch + share, p.drops)
            norm = self.learner.descend(rate, self.options.clip, self.done(share))
            losses.append(loss.detach() * len(labels))
            words += int(mask.sum())
            p.updates += 1
            if self.requests.number:
                raise Interrupted(self.requests.number)
        p.epoch += 1
        p.tokens += words
        self.evaluate(float(torch.stack(losses).sum()) / len(split), norm, rate, words / (time.monotonic() - started))

    def evaluate(self, train_loss: float, norm: torch.Tensor, rate: float, speed: float) -> None:
        """Validation with the weights that would be kept; moves the schedules."""
        p, stage, model = self.position, self.stage, self.learner.evaluated
        model.eval()
        finite = all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
        with self.constraint.in_force(model):
            loss, quality = review_quality(model, self.reviews.splits["valid"]) if finite else (math.nan, {})
        if not (loss < DIVERGED and train_loss < DIVERGED and torch.isfinite(norm)):
            raise divergence(self.recipe, self.path.parent, p.tokens, f"the loss is {loss:.4g} ({train_loss:.4g})")
        counts = self.constraint.complete(self.done())
        better = counts and p.judge(loss, stage)
        if counts and loss < self.best.get("loss", math.inf):
            epochs = p.epochs_before + p.epoch
            self.best = {"loss": loss, "weights": copy_of(model), "epochs": epochs, "tokens": p.tokens}
        if stage.average == "asgd" and not self.learner.average and averaging_starts(p.losses, stage.nonmonotone):
            self.learner.start_averaging()
        entry = {
            "stage": p.stage + 1,
            "epoch": float(p.epoch),
            "epochs": stage.epochs,
            "updates": p.updates,
            "tokens": p.tokens,
            "train_loss": train_loss,
            "valid_loss": loss,
            **{f"valid_{name}": value for name, value in quality.items()},
            "best": better,
            "lr": rate,
            "gradient_norm": float(norm),
            "tokens_per_second": round(speed, 1),
            "seconds": round(self.seconds, 1),
            **self.constraint.report(model),
        }
        self.history.append(entry)
        ahead = (stage.epochs - p.epoch) * self.seconds / max(1, len(self.history))
        self.progress.record(entry, self.history, ahead)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        self.position.seconds, self.started = self.seconds, time.monotonic()
        return {
            "recipe": dataclasses.asdict(self.recipe),
            "position": dataclasses.asdict(self.position),
            "history": self.history,
            "best": self.best,
            "generator": self.generator.get_state(),
            "rng": [random_states()],
            **self.learner.state(),
        }

    def save(self) -> None:
        """Writes the state."""
        save_state(self.path, self.state())

    def restore(self, state: dict[str, Any]) -> None:
        """Puts everything where `state` says."""
        refuse_changes(state, self.recipe, self.path.parent)
        self.position, self.history, self.best = Position(**state["position"]), state["history"], state["best"]
        self.learner = Learner(self.model, self.stage, self.constraint)
        self.learner.restore(state)
        self.generator.set_state(state["generator"])
        set_random_states(state["rng"][0])


def order_of(split: Split, batch_size: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """Batches of places in a split in random order, of texts of about equal length."""
    lengths = np.array([len(text) for text in split.texts])
    order = torch.randperm(len(lengths), generator=generator).numpy()
    batches: list[np.ndarray] = []
    for first in range(0, len(order), batch_size * POOL):
        pool = order[first : first + batch_size * POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += np.array_split(pool, max(1, round(len(pool) / batch_size)))
    for number in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[number]


def batch_of(split: Split, places: np.ndarray, longest: int) -> Batch:
    """The last `longest` words of texts side by side, padded on the left."""
    ids, mask = side_by_side([split.texts[place][-longest:] for place in places], np.arange(len(places)))
    return torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(np.asarray(split.labels)[places])


def loss_of(model: Any, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy, or squared error of ratings, of every text [B]."""
    logits = model(ids, attention_mask=mask, use_cache=False).logits.float()
    if model.config.num_labels == 1:
        return (logits[:, 0] - labels).square()
    return F.cross_entropy(logits, labels, reduction="none")
