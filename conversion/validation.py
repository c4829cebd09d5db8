"""The validation loss of a model on the data of its task: a corpus, or labelled reviews."""

from __future__ import annotations

from typing import Any

from zoo.corpora import Corpus

from .objective import mean_loss
from .streams import Stripes

STRIPES = 10  # the validation text is cut into


def validation_loss(model: Any, data: Any) -> float:
    """Nats per word of the validation text, or the mean loss of the validation reviews."""
    if isinstance(data, Corpus):
        valid = data.splits["valid"]
        return mean_loss(model, Stripes(valid, data.eos_id, min(STRIPES, len(valid))))
    from .classification import mean_review_loss  # it trains with the parts of this package that call here

    return mean_review_loss(model, data.splits["valid"])


def observations(data: Any) -> int:
    """What the likelihood of the training data is a product over: words of a text, or reviews."""
    train = data.splits["train"]
    return len(train) if isinstance(data, Corpus) else len(train.labels)
