"""The two tasks of the zoo, told apart by their data: language modelling on a corpus, labels of reviews.

A corpus is a `zoo.corpora.Corpus`, reviews are `zoo.reviews.Reviews`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.corpora import Corpus, load_corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForCausalLM, RnnLmForSequenceClassification
from zoo.review_sources import SOURCES
from zoo.reviews import Reviews, Split, load_reviews
from zoo.scoring import score_stream
from zoo.text_scoring import ClassScores, score_texts
from zoo.tokenization import UNK

from .objective import mean_loss
from .recipe import Recipe
from .streams import Stripes

STRIPES = 10  # that a validation text is cut into
WORDS = 20_000  # of reviews, where a recipe does not say
Data = Corpus | Reviews


def load_data(recipe: Recipe, data: str | None, tokenizer: Any = None) -> Data:
    """The data of a recipe.

    Args:
        data: folder of the corpora; None: the environment variable ZOO_DATA.
        tokenizer: of the parent; None: words are those of the training text.

    Raises:
        CorpusError, VocabularyError: missing, damaged or of no use. RecipeError: no training or validation text.
    """
    if recipe.corpus in SOURCES:
        return load_reviews(recipe.corpus, data, tokenizer, max_vocabulary=recipe.max_vocabulary or WORDS)
    corpus = load_corpus(recipe.corpus, data, tokenizer=tokenizer, max_vocabulary=recipe.max_vocabulary or None)
    if missing := [split for split in ("train", "valid") if split not in corpus.splits]:
        raise RecipeError(
            f"the corpus {corpus.name} has no {' and no '.join(missing)} text, and a recipe learns "
            "from the one and measures on the other; give a folder with train.txt and valid.txt"
        )
    return corpus


def model_class(data: Data) -> type[RnnLmForCausalLM] | type[RnnLmForSequenceClassification]:
    """What is trained on them."""
    return RnnLmForCausalLM if isinstance(data, Corpus) else RnnLmForSequenceClassification


def config_of(recipe: Recipe, corpus: Data, base: RnnLmConfig | None = None) -> RnnLmConfig:
    """The config of the model that a recipe trains on these data."""
    if isinstance(corpus, Corpus):
        return recipe.config(corpus.vocab_size, corpus.eos_id, base)
    config = recipe.config(corpus.vocab_size, corpus.pad_id, base)
    config.id2label, config.problem_type = dict(corpus.id2label), corpus.problem_type
    config.label2id = {label: number for number, label in corpus.id2label.items()}
    config.bos_token_id = config.eos_token_id = None
    return config


def validation_loss(model: Any, data: Data) -> float:
    """Nats per word of the validation text; or the mean loss of the validation reviews."""
    if isinstance(data, Corpus):
        valid = data.splits["valid"]
        return mean_loss(model, Stripes(valid, data.eos_id, min(STRIPES, len(valid))))
    return review_quality(model, data.splits["valid"])[0]


def review_quality(model: Any, split: Split) -> tuple[float, dict[str, float]]:
    """The mean loss of whole reviews, and their `accuracy`, or `mse` and `rmse` of ratings."""
    scores = score_texts(model, split.texts, split.labels)
    if isinstance(scores, ClassScores):
        return scores.loss, {"accuracy": scores.accuracy}
    return scores.mse, {"mse": scores.mse, "rmse": scores.rmse}


def measure_in(row: Mapping[str, Any]) -> str:
    """The measure that a row of quality is told by."""
    return next(name for name in ("perplexity", "accuracy", "rmse") if name in row)


def validation_quality(model: Any, data: Data, on_tokens: Any = None) -> dict[str, float]:
    """What a table tells of a model: `valid_perplexity`, read word by word, or the quality of validation reviews."""
    if isinstance(data, Corpus):
        scores = score_stream(model, data.splits["valid"], data.eos_id, on_tokens=on_tokens)
        return {"valid_perplexity": round(scores.perplexity, 4)}
    return {f"valid_{key}": round(value, 6) for key, value in review_quality(model, data.splits["valid"])[1].items()}


def fingerprint(splits: Mapping[str, Any]) -> str:
    """A hash of the ids that are trained and validated on, labels with them: of texts and vocabulary in one."""
    digest = hashlib.sha256()
    for name in ("train", "valid"):
        part = splits[name]
        for array in (*part.texts, np.asarray(part.labels)) if isinstance(part, Split) else (part,):
            digest.update(f"{len(array)} {array.dtype} ".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def observations(data: Data) -> int:
    """What the likelihood of the training data is a product over: words of a text, or reviews."""
    train = data.splits["train"]
    return len(train) if isinstance(data, Corpus) else len(train.labels)  # type: ignore[union-attr]


def narrowed(data: Data, words: Sequence[int]) -> Data:
    """Reviews in a smaller vocabulary: ids of the words that stay, ascending; the others become `<unk>`."""
    if isinstance(data, Corpus):
        return data
    vocabulary = [data.vocabulary[word] for word in words]
    table = np.full(len(data.vocabulary), vocabulary.index(UNK), np.int32)
    table[list(words)] = np.arange(len(words), dtype=np.int32)
    splits = {name: Split([table[text] for text in split.texts], split.labels) for name, split in data.splits.items()}
    return dataclasses.replace(data, vocabulary=vocabulary, splits=splits, given=None)
