"""A recipe: one TOML file that says what to train, on what, and how; read and checked here.

name, corpus, seed ...: the fields of `Recipe`.
[model]: fields of RnnLmConfig; words and token ids come from the corpus.
[training]: the fields of `Training`.
[[stage]]: the fields of `Stage`; one table per stage, run in this order.
[built]: written beside a finished checkpoint, what it was made with; read by nobody here.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).with_name("recipes")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
FROM_CORPUS = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")
T = TypeVar("T")


def _number(default: Any = dataclasses.MISSING, least: float = 0, most: float = float("inf")) -> Any:
    """A field whose values lie between `least` and `most`."""
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True)
class Stage:
    """One stretch of training with one optimizer.

    Args:
        optimizer: `adam` with betas (0, 0.999) is RMSProp with bias correction (Melis et al. 2017); its weight decay is
            an L2 penalty, that of `adamw` is decoupled.
        lr: learning rate at a full window; a shorter or longer window scales it (Merity et al. 2017).
        epochs: passes over the training text, at most.
        betas: of adam and adamw.
        weight_decay: per update.
        schedule: `constant`; `plateau`: times `factor` after `plateau` evaluations without a new best; `decay`: times
            `factor` for every epoch after `decay_after`; `linear` or `cosine`: to zero at the end of the stage.
        warmup: updates over which lr rises from zero.
        average: weights that are evaluated and kept: `none`: the current ones; `ema`: an exponential average with
            `decay`, shorter at first; `asgd`: from the first evaluation that is worse than the best of those more than
            `nonmonotone` evaluations ago, the mean of all since (NT-ASGD).
        patience: evaluations without a new best after which the stage ends; 0: never.
        start: `best`: from the best weights so far; `last`: from those that the stage before ended with.
    """

    optimizer: Literal["sgd", "adam", "adamw"]
    lr: float = _number(least=1e-12)
    epochs: int = _number(least=1)
    betas: tuple[float, float] = _number((0.9, 0.999), most=0.999999)
    weight_decay: float = _number(0.0)
    schedule: Literal["constant", "plateau", "decay", "linear", "cosine"] = "constant"
    factor: float = _number(0.25, least=1e-6, most=1)
    plateau: int = _number(1, least=1)
    decay_after: int = _number(0)
    warmup: int = _number(0)
    average: Literal["none", "ema", "asgd"] = "none"
    decay: float = _number(0.999, most=0.9999999)
    nonmonotone: int = _number(5, least=1)
    patience: int = _number(0)
    start: Literal["best", "last"] = "best"


@dataclass(frozen=True)
class Training:
    """What all stages share.

    Args:
        batch_size: stripes that the text is cut into, all processes together.
        window: time steps of truncated back-propagation.
        window_jitter: standard deviation of a window's length.
        short_window: share of windows of half the length.
        clip: largest norm of the gradient; 0: no limit.
        ar, tar: penalties on the size of the features and on the change of the state (Merity et al. 2017).
        reset_state: share of the stripes that start a window from a zero state.
        precision: `bf16`: products in bfloat16 with fp32 weights; `no`: fp32; `auto`: bf16 where the device has it.
        evaluate_every: updates between evaluations inside an epoch; 0: at its end only.
        save_every: seconds between saved states.
    """

    batch_size: int = _number(32, least=1)
    window: int = _number(35, least=1)
    window_jitter: float = _number(0.0)
    short_window: float = _number(0.0, most=1)
    clip: float = _number(0.25)
    ar: float = _number(0.0)
    tar: float = _number(0.0)
    reset_state: float = _number(0.0, most=1)
    precision: Literal["auto", "bf16", "no"] = "auto"
    evaluate_every: int = _number(0)
    save_every: float = _number(60.0)


@dataclass(frozen=True)
class Recipe:
    """A whole recipe.

    Args:
        name: of the run and of the checkpoint folder.
        stage: the stages in order.
        corpus: as `zoo.corpora.load_corpus` takes it.
        description: one line for people.
        seed: of initial weights, dropout and windows.
        priority: the queue builds the highest first.
        parent: a checkpoint whose weights are the start and whose config `[model]` changes; empty: random weights.
        max_vocabulary: the most words when the vocabulary is made from the corpus; 0: all.
        model: fields of RnnLmConfig.
        training: what all stages share.
        text: the TOML text without the table `[built]`.
    """

    name: str
    stage: tuple[Stage, ...]
    corpus: str = "ptb"
    description: str = ""
    seed: int = _number(1, most=2**63 - 1)
    priority: int = _number(0, least=float("-inf"))
    parent: str = ""
    max_vocabulary: int = _number(0)
    model: dict = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    text: str = field(default="", repr=False, compare=False)

    def config(self, vocab_size: int, eos_id: int, base: RnnLmConfig | None = None) -> RnnLmConfig:
        """The model's config for a corpus; `base`: the parent's, of which `[model]` changes fields."""
        fields = {} if base is None else {name: getattr(base, name) for name in _model_fields()}
        ids = dict(bos_token_id=eos_id, eos_token_id=eos_id, pad_token_id=eos_id)
        try:
            return RnnLmConfig(**{**fields, **self.model, "vocab_size": vocab_size, **ids})
        except Exception as error:  # the library's own classes of errors, with messages of several lines
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise RecipeError(f"recipe {self.name}, [model]: {' '.join(lines)}") from error


def read_recipe(path: str | Path) -> Recipe:
    """The recipe in a TOML file, or the one of that name in conversion/recipes.

    Raises:
        RecipeError: no such file, no TOML, or unknown, missing, wrong-typed or impossible values.
    """
    file = Path(path)
    if not file.is_file() and NAME.fullmatch(str(path)):
        file = RECIPES / f"{path}.toml"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
        raise RecipeError(f"no recipe {str(path)!r}; give a TOML file or one of: {known}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{file} is no TOML: {error}") from error
    table.pop("built", None)
    recipe = _read(Recipe, table, str(file))
    recipe = dataclasses.replace(recipe, text=re.split(r"(?m)^\[built\]", text)[0].rstrip() + "\n")
    if not NAME.fullmatch(recipe.name):
        raise RecipeError(f"{file}: name is {recipe.name!r}; allowed: small letters, digits, . _ and -")
    if not recipe.stage:
        raise RecipeError(f"{file}: it has no stage; add a table [[stage]] with optimizer, lr and epochs")
    allowed = tuple(name for name in _model_fields() if name not in FROM_CORPUS)
    _refuse_unknown(recipe.model, allowed, f"{file}, [model]")
    if not recipe.parent:
        recipe.config(vocab_size=2, eos_id=0)  # the sizes that matter are known already
    return recipe


def _model_fields() -> list[str]:
    """The names of RnnLmConfig's own fields."""
    return [name for name in RnnLmConfig.__annotations__ if name != "use_cache"]


def _refuse_unknown(table: dict, allowed: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in allowed:
            close = difflib.get_close_matches(key, allowed, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise RecipeError(f"{where}: unknown key {key!r}; {hint}allowed: {', '.join(allowed)}")


def _read(cls: type[T], table: dict[str, Any], where: str) -> T:
    """A dataclass from a TOML table, every key and type checked."""
    fields = {entry.name: entry for entry in dataclasses.fields(cls) if entry.name != "text"}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    _refuse_unknown(table, tuple(fields), where)
    values = {}
    for name, entry in fields.items():
        if name in table:
            value = _value(table[name], hints[name], f"{where}: {name}")
            if entry.metadata:
                least, most = entry.metadata["least"], entry.metadata["most"]
                if not all(least <= number <= most for number in (value if isinstance(value, tuple) else (value,))):
                    bounds = f"at least {least}" + (f", at most {most}" if most < float("inf") else "")
                    raise RecipeError(f"{where}: {name} is {table[name]}; allowed: {bounds}")
            values[name] = value
        elif entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
            raise RecipeError(f"{where}: {name} is missing; it takes {_name_of(hints[name])}")
    return cls(**values)


def _value(value: Any, hint: Any, where: str) -> Any:
    """One value of a TOML table as the type that its field declares."""
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _read(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is tuple and isinstance(value, list):
        kind, *rest = get_args(hint)
        if rest[0] is Ellipsis or len(value) == len(get_args(hint)):
            return tuple(_value(item, kind, f"{where}[{i}]") for i, item in enumerate(value))
    elif get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is hint:
        return value
    raise RecipeError(f"{where} is {value!r}; it takes {_name_of(hint)}")


def _name_of(hint: Any) -> str:
    """What a reader of an error message calls a type."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    if get_origin(hint) is tuple:
        return "an array of tables" if dataclasses.is_dataclass(get_args(hint)[0]) else "an array of two numbers"
    names = {int: "a whole number", float: "a number", str: "a text", dict: "a table"}
    return names.get(hint, "a table")
