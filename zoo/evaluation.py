"""`zoo evaluate`: perplexity of a language model on a split of a corpus, or what a text classifier makes of labels."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, CorpusError, ZooError
from .hub import folder_of
from .layout import read_layout
from .review_sources import SOURCES
from .tokenization import UNK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .corpora import Corpus
    from .modeling_rnnlm import RnnLmForCausalLM, RnnLmForSequenceClassification
    from .reviews import Reviews


TOLD = {"single_label_classification": "classes", "regression": "ratings"}
ADAPTING = ("dynamic", "cache")


def add_adapting(parser: ArgumentParser) -> None:
    """The options of an evaluation that learns from the text it has scored."""
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--dynamic",
        nargs="*",
        metavar="KEY=NUMBER",
        help="(after NAME) the weights follow the text (dynamic evaluation): lr, decay, floor, window; published apart",
    )
    ways.add_argument(
        "--cache",
        nargs="*",
        metavar="KEY=NUMBER",
        help="(after NAME) a neural cache of the last words: size, theta, weight; published apart",
    )
    parser.add_argument(
        "--tune",
        action="store_true",
        help="choose these settings on the valid split first, lr and decay on its first 20,000 words",
    )


def evaluate(given: Namespace) -> int:
    """Quality and time on one split of a corpus; returns the exit code."""
    from transformers.utils import logging

    from .loading import load_any, set_threads
    from .modeling_rnnlm import RnnLmForCausalLM

    logging.disable_progress_bar()  # of loading; the bar here counts tokens
    set_threads(given.threads)
    model, tokenizer = load_any(given.name)
    score = _language_model if isinstance(model, RnnLmForCausalLM) else _classifier
    kinds = [kind for kind in ADAPTING if getattr(given, kind) is not None]
    if kinds and score is _classifier:
        raise ZooError(f"{given.name} is a text classifier, and --{kinds[0]} is of language models; leave it out")
    if given.tune and not kinds:
        raise ZooError("--tune is of the settings of --dynamic or --cache; give one of them too")
    score = _adapting if kinds else score
    corpus, numbers, lines = score(model, tokenizer, given)
    if given.json:
        print(json.dumps({"model": given.name, "corpus": corpus, "split": given.split, **numbers}), flush=True)
    else:
        print("\n".join(lines))
    return 0


def reviews_of(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    corpus: str | None,
    data_dir: str | Path | None,
    splits: Sequence[str],
) -> Reviews:
    """The reviews that a text classifier is measured on.

    Args:
        corpus: a name of reviews; None: those that it was trained on, as its metrics.json says.

    Raises:
        CheckpointError: its metrics.json does not say what it was trained on.
        CorpusError: no such reviews, or their files are not there.
    """
    from .reviews import load_reviews

    if corpus is None:
        corpus = trained_on(folder)
    if corpus not in SOURCES:
        raise CorpusError(
            f"{folder.name} is a text classifier, which needs labelled texts, and the corpus is {corpus!r}; "
            f"allowed: --corpus {' or '.join(SOURCES)}"
        )
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("problem_type")
    kind = kind or ("regression" if read_layout(folder).labels == 1 else "single_label_classification")
    if kind != SOURCES[corpus].problem_type:
        fitting = [name for name, source in SOURCES.items() if source.problem_type == kind]
        raise CorpusError(
            f"{folder.name} is trained for {TOLD.get(kind, kind)}, and {corpus} has "
            f"{TOLD[SOURCES[corpus].problem_type]}; allowed: --corpus {' or '.join(fitting) or 'none of ours'}"
        )
    return load_reviews(corpus, data_dir, tokenizer=tokenizer, splits=splits)


def language_corpus(folder: Path) -> str:
    """The corpus that a language model is measured on where none is named: the public one of its training, else ptb."""
    from .sources import KNOWN

    try:
        corpus = trained_on(folder)
    except CheckpointError:
        return "ptb"
    return corpus if corpus in KNOWN else "ptb"


def trained_on(folder: Path) -> str:
    """The corpus that metrics.json of a checkpoint folder names.

    Raises:
        CheckpointError: it names none.
    """
    path = folder / "metrics.json"
    try:
        corpus = json.loads(path.read_text(encoding="utf-8"))["corpus"]
    except (OSError, ValueError, KeyError, TypeError):
        corpus = None
    if not isinstance(corpus, str):
        raise CheckpointError(f"{path} does not say on which corpus {folder.name} was trained; give --corpus NAME")
    return corpus


def _language_model(
    model: RnnLmForCausalLM, tokenizer: PreTrainedTokenizerBase, given: Namespace
) -> tuple[str, dict[str, Any], list[str]]:
    """Name of the corpus, numbers and lines of a language model."""
    import torch
    from tqdm import tqdm

    from .corpora import load_corpus
    from .scoring import score_stream

    name = given.corpus or language_corpus(folder_of(given.name))
    stripes = 1 if given.batch_size is None else given.batch_size
    if name in SOURCES:
        raise CorpusError(
            f"{given.name} is a language model and {name} are labelled texts for a text classifier; give another "
            "--corpus: ptb, wikitext-2, a folder, a text file or hub:owner/name"
        )
    corpus = load_corpus(name, given.data, tokenizer=tokenizer, splits=(given.split,))
    tokens = corpus.splits[given.split]
    with tqdm(total=len(tokens), unit=" tokens", unit_scale=True, delay=2, disable=None, leave=False) as bar:
        scores = score_stream(model, tokens, corpus.eos_id, batch_size=stripes, on_tokens=bar.update)
    lines = [
        f"{given.name} on {name} {given.split}: {scores.targets:,} targets{unknown_words(corpus, given.split)}",
        f"perplexity    {scores.perplexity:.2f} +- {scores.standard_error:.2f} (standard error)",
        f"next word     {100 * scores.top1:.2f} % top-1, {100 * scores.top3:.2f} % top-3",
        f"1/perplexity  {scores.reciprocal_perplexity:.4f} (the paper's accuracy, for comparison only)",
        f"time          {scores.ms_per_token:.3f} ms per token, {torch.get_num_threads()} threads",
    ]
    if stripes > 1:
        lines.append(f"Scored in {stripes} stripes; published numbers use --batch-size 1.")
    return name, {**scores.summary(), "unknown_words": corpus.unknown[given.split]}, lines


def unknown_words(corpus: Corpus, split: str) -> str:
    """What is to be said of the words of a split that the vocabulary has not."""
    count, total = corpus.unknown[split], len(corpus.splits[split])
    return f", {count:,} of them ({count / total:.1%}) not in the vocabulary and read as {UNK}" if count else ""


def _adapting(
    model: RnnLmForCausalLM, tokenizer: PreTrainedTokenizerBase, given: Namespace
) -> tuple[str, dict[str, Any], list[str]]:
    """As `_language_model`, with weights or a cache that follow the text."""
    import torch
    from tqdm import tqdm

    from .adapting import NAMES, score_adapting, settings_of, splits_for, summary

    kind = next(kind for kind in ADAPTING if getattr(given, kind) is not None)
    settings = settings_of(kind, getattr(given, kind))
    if given.batch_size not in (None, 1):
        raise ZooError(f"--batch-size is {given.batch_size}; with --{kind} a text is one stream, so leave it out")
    name = given.corpus or language_corpus(folder_of(given.name))
    splits = splits_for(kind, (given.split,), given.tune)
    corpus = _with_training(name, splits, tokenizer, given)
    with tqdm(unit=" tokens", unit_scale=True, delay=2, disable=None, leave=False) as bar:
        found = score_adapting(kind, model, corpus, (given.split,), settings, given.tune, on_tokens=bar.update)
    scores, chosen = found.scores[given.split], summary(found)
    told = ", ".join(f"{key} {value:g}" for key, value in chosen["settings"].items())
    lines = [
        f"{given.name} on {name} {given.split}, {NAMES[kind]}: {scores.targets:,} targets"
        f"{unknown_words(corpus, given.split)}",
        f"perplexity    {scores.perplexity:.2f} +- {scores.standard_error:.2f} (standard error)",
        f"next word     {100 * scores.top1:.2f} % top-1, {100 * scores.top3:.2f} % top-3",
        f"settings      {told}{', tuned on valid' if given.tune else ''}",
        f"time          {scores.ms_per_token:.3f} ms per token, {torch.get_num_threads()} threads",
    ]
    return name, {kind: chosen | scores.summary(), "unknown_words": corpus.unknown[given.split]}, lines


def _with_training(name: str, splits: Sequence[str], tokenizer: PreTrainedTokenizerBase, given: Namespace) -> Corpus:
    """Splits of a corpus; its training text, where it has none, is that which the checkpoint was trained on."""
    from .corpora import load_corpus

    try:
        return load_corpus(name, given.data, tokenizer=tokenizer, splits=splits)
    except CorpusError as error:
        trained = language_corpus(folder_of(given.name))
        if "train" not in splits or trained == name:
            raise
        try:
            corpus = load_corpus(name, given.data, tokenizer=tokenizer, splits=[s for s in splits if s != "train"])
        except CorpusError:
            raise error from None
    try:
        usual = load_corpus(trained, given.data, tokenizer=tokenizer, splits=("train",))
    except CorpusError as error:
        raise CorpusError(
            f"--dynamic scales its steps by the gradients on training text, and {name} has none, nor is that of the "
            f"checkpoint here: {error}; or give a folder with train.txt too, or --cache, which needs none"
        ) from error
    corpus.splits["train"] = usual.splits["train"]
    return corpus


def _classifier(
    model: RnnLmForSequenceClassification, tokenizer: PreTrainedTokenizerBase, given: Namespace
) -> tuple[str, dict[str, Any], list[str]]:
    """Name of the corpus, numbers and lines of a text classifier."""
    import torch
    from tqdm import tqdm

    from .text_scoring import BATCH, ClassScores, score_texts

    reviews = reviews_of(folder_of(given.name), tokenizer, given.corpus, given.data, (given.split,))
    split, batch = reviews.splits[given.split], BATCH if given.batch_size is None else given.batch_size
    with tqdm(total=len(split), unit=" texts", unit_scale=True, delay=2, disable=None, leave=False) as bar:
        scores = score_texts(model, split.texts, split.labels, batch, on_texts=bar.update)
    lines = [f"{given.name} on {reviews.name} {given.split}: {scores.texts:,} texts"]
    if isinstance(scores, ClassScores):
        lines.append(f"accuracy  {scores.accuracy:.4f} +- {scores.standard_error:.4f} (standard error)")
    else:
        lines += [
            f"rmse      {scores.rmse:.4f} +- {scores.standard_error:.4f} (standard error)",
            f"mse       {scores.mse:.4f}; {scores.variance:.4f} where the mean is always predicted",
        ]
    lines.append(f"time      {scores.ms_per_text:.3f} ms per text, {torch.get_num_threads()} threads")
    return reviews.name, scores.summary(), lines
