"""Evaluation that learns from the text it has scored: by its weights, or by a cache; tuned on validation text."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .dynamic import Dynamic, score_dynamic, usual_gradients
from .errors import CheckpointError, ZooError
from .neural_cache import NeuralCache, score_cached, tune_cache
from .scoring import Scores

if TYPE_CHECKING:
    from .corpora import Corpus
    from .modeling_rnnlm import RnnLmForCausalLM

KINDS: dict[str, Any] = {"dynamic": Dynamic, "cache": NeuralCache}
NAMES = {"dynamic": "dynamic evaluation", "cache": "neural cache"}
TUNED = 20_000  # validation tokens that a step size is chosen on
FACTORS = {"lr": 2.0, "decay": 2.5}  # by which they are changed


@dataclass(frozen=True)
class Adapted:
    """Scores of the splits, the settings they were got with, and what was tried on validation text to find these."""

    scores: dict[str, Scores]
    settings: Any
    trials: list[dict[str, float]] = field(default_factory=list)


def settings_of(kind: str, given: Sequence[str]) -> Any:
    """The settings that NAME=NUMBER on a command line say, the others at their defaults.

    Args:
        kind: `dynamic` or `cache`.

    Raises:
        ZooError: an unknown name, or no number.
    """
    fields = {name: type(value) for name, value in dataclasses.asdict(KINDS[kind]()).items()}
    found: dict[str, Any] = {}
    for word in given:
        name, _, value = word.partition("=")
        if name in found:
            raise ZooError(f"--{kind} was given {name} twice; give it once")
        try:
            found[name] = fields[name](value)
        except (KeyError, ValueError):
            takes = ", ".join(f"{name}=NUMBER" for name in fields)
            raise ZooError(f"--{kind} was given {word!r}; it takes {takes}, after the checkpoint's name") from None
    settings = KINDS[kind](**found)
    settings.check()
    return settings


def splits_for(kind: str, splits: Sequence[str], tune: bool) -> tuple[str, ...]:
    """The splits of a corpus that are read to score some of them."""
    read = [*(["train"] if kind == "dynamic" else []), *(["valid"] if tune else []), *splits]
    return tuple(dict.fromkeys(read))


def score_adapting(
    kind: str,
    model: RnnLmForCausalLM,
    corpus: Corpus,
    splits: Sequence[str],
    settings: Any,
    tune: bool = False,
    on_tokens: Callable[[int], object] | None = None,
) -> Adapted:
    """Scores splits, each from the trained weights and an empty cache; each word by what came before it only.

    Weights that are stored in integers follow as the floats that they stand for.

    Args:
        kind: `dynamic` or `cache`.
        corpus: with the splits of `splits_for`.
        settings: a Dynamic or NeuralCache; where to start from with `tune`.
        tune: choose them on validation text.
        on_tokens: called with the number of tokens done since the last call, those of training and tuning too.

    Raises:
        CheckpointError, ZooError: this model cannot follow a text, or a setting is out of range.
    """
    from .floats import in_floats

    trials: list[dict[str, float]] = []
    valid = corpus.splits["valid"] if tune else None
    if kind == "cache":
        if valid is not None:
            settings, trials = tune_cache(model, valid, corpus.eos_id, on_tokens)
        found = {name: score_cached(model, corpus.splits[name], corpus.eos_id, settings, on_tokens) for name in splits}
        return Adapted(found, settings, trials)
    model = in_floats(model)
    usual = usual_gradients(model, corpus.splits["train"], corpus.eos_id, settings.window, on_tokens=on_tokens)

    def score(tokens: Any, how: Dynamic) -> Scores:
        try:
            return score_dynamic(model, tokens, corpus.eos_id, usual, how, on_tokens)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; or lr={how.lr:g} is too large a step for this text: give less") from error

    if valid is not None:
        settings, trials = _steps(settings, lambda how: score(valid[:TUNED], how).perplexity)
    return Adapted({name: score(corpus.splits[name], settings) for name in splits}, settings, trials)


def _steps(start: Dynamic, perplexity: Callable[[Dynamic], float]) -> tuple[Dynamic, list[dict[str, float]]]:
    """Multiplies and divides each of FACTORS as long as that helps; the best, and what was tried."""
    tried: dict[Dynamic, float] = {}

    def measured(how: Dynamic) -> float:
        rounded: dict[str, Any] = {name: float(f"{getattr(how, name):.3g}") for name in FACTORS}
        how = dataclasses.replace(how, **rounded)
        if how not in tried:
            try:
                tried[how] = perplexity(how)
            except CheckpointError:  # the step is so large that the weights leave every bound
                tried[how] = math.inf
        return tried[how]

    before = math.inf
    measured(start)
    while min(tried.values()) < before:
        before = min(tried.values())
        for name, factor in FACTORS.items():
            best = min(tried, key=lambda how: tried[how])
            for way in (factor, 1 / factor):
                change: dict[str, Any] = {name: getattr(best, name) * way}
                changed = dataclasses.replace(best, **change)
                if name != "decay" or changed.decay <= 1:
                    measured(changed)
    rows = [
        {"lr": how.lr, "decay": how.decay, "perplexity": found} for how, found in tried.items() if math.isfinite(found)
    ]
    return min(tried, key=lambda how: tried[how]), rows


def summary(adapted: Adapted) -> dict[str, Any]:
    """Settings and trials of a result, for JSON."""
    return {"settings": dataclasses.asdict(adapted.settings), **({"trials": adapted.trials} if adapted.trials else {})}
