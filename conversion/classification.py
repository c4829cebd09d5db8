"""Training of a text classifier on labelled reviews, resumable at every epoch.

Letters: B texts of a batch, T words of its longest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForSequenceClassification
from zoo.reviews import Reviews, Split
from zoo.text_scoring import side_by_side

from .constraint import Constraint
from .crew import Crew, PartialState
from .interruption import Interrupted, Requests, requests_to_stop
from .optim import learning_rate
from .progress import Progress
from .recipe import Recipe
from .running import Running
from .state import save_state
from .tasks import fingerprint, review_quality

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


class ReviewTrainer(Running):
    """The loop over labelled texts."""

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
        super().__init__(
            recipe, model, run, Crew(device, 1).device, stop, constraint, texts=fingerprint(reviews.splits)
        )
        self.reviews = reviews
        self.resume()
        self.progress = Progress(run, recipe.name, self.history, True)
        self.started = time.monotonic()

    def run_stages(self) -> None:
        """Epochs, evaluations and saves until the last stage is over."""
        while not self.position.is_over(self.stage) or self.next_stage():
            self.epoch()
            save_state(self.path, self.state())

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
        model = self.learner.evaluated
        model.eval()
        finite = bool(torch.isfinite(norm)) and all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
        with self.constraint.in_force(model):
            loss, quality = review_quality(model, self.reviews.splits["valid"]) if finite else (math.nan, {})
        better = self.judge(loss, train_loss)
        found = {"train_loss": train_loss, "valid_loss": loss}
        found |= {f"valid_{name}": value for name, value in quality.items()}
        ahead = (self.stage.epochs - self.position.epoch) * self.seconds / (len(self.history) + 1)
        self.record(found, better, rate, norm, speed, ahead)


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
