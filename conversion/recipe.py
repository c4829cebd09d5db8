"""A recipe: one TOML file that says what to train, on what, and how; read and checked here.

name, corpus, seed ...: the fields of `Recipe`.
[model]: fields of RnnLmConfig; words and token ids come from the corpus.
[training]: the fields of `Training`.
[[stage]]: the fields of `Stage`; one table per stage, run in this order.
[[compress]]: what is done to what the stages have made, or where there are none to the parent (or random weights), in
  this order; `method` and the fields of its `Spec`, and [[compress.stage]]: the fine-tuning that belongs to it.
[built]: written beside a finished checkpoint, what it was made with; read by nobody here.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.errors import RecipeError

from .tables import number, read_table, refuse_unknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).with_name("recipes")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
RATES = ("input_dropout", "layer_dropout", "output_dropout", "embedding_dropout", "weight_drop", "variational")
FROM_CORPUS = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")


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
    lr: float = number(least=1e-12)
    epochs: int = number(least=1)
    betas: tuple[float, float] = number((0.9, 0.999), most=0.999999)
    weight_decay: float = number(0.0)
    schedule: Literal["constant", "plateau", "decay", "linear", "cosine"] = "constant"
    factor: float = number(0.25, least=1e-6, most=1)
    plateau: int = number(1, least=1)
    decay_after: int = number(0)
    warmup: int = number(0)
    average: Literal["none", "ema", "asgd"] = "none"
    decay: float = number(0.999, most=0.9999999)
    nonmonotone: int = number(5, least=1)
    patience: int = number(0)
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
        teachers: checkpoints of the same vocabulary, by name or folder, whose mean distribution is learnt beside the
            words of the text (Hinton et al. 2015); none: the text alone.
        teacher_weight: share of the teachers in the loss.
        teacher_temperature: softmax temperature of teachers and model in that part.
        teacher_top: words of the teachers' distribution that are told apart; all others are one.
        teacher_text: tokens that are drawn from the teachers and read after the text, in every epoch; 0: none.
        evaluate_every: updates between evaluations inside an epoch; 0: at its end only.
        save_every: seconds between saved states.
    """

    batch_size: int = number(32, least=1)
    window: int = number(35, least=1)
    window_jitter: float = number(0.0)
    short_window: float = number(0.0, most=1)
    clip: float = number(0.25)
    ar: float = number(0.0)
    tar: float = number(0.0)
    reset_state: float = number(0.0, most=1)
    precision: Literal["auto", "bf16", "no"] = "auto"
    teachers: tuple[str, ...] = ()
    teacher_weight: float = number(0.5, most=1)
    teacher_temperature: float = number(1.0, least=0.1)
    teacher_top: int = number(32, least=1)
    teacher_text: int = number(0)
    evaluate_every: int = number(0)
    save_every: float = number(60.0)


@dataclass(frozen=True)
class Step:
    """One step of compression.

    Args:
        method: a key of `conversion.methods.METHODS`.
        spec: what it takes.
        stage: fine-tuning; before the conversion where the method trains under a constraint (pruning, quantization),
            after it where it makes parameters that learn.
    """

    method: str
    spec: Any
    stage: tuple[Stage, ...] = ()

    def describe(self) -> str:
        """The method and what was asked of it, in one line."""
        fields = dataclasses.fields(self.spec)
        given = {entry.name: getattr(self.spec, entry.name) for entry in fields}
        told = [_told(entry.name, given[entry.name]) for entry in fields if given[entry.name] != entry.default]
        epochs = sum(stage.epochs for stage in self.stage)
        tuned = [f"{epochs} epochs of fine-tuning"] if epochs else []
        return ", ".join([self.method.replace("_", " "), *told, *tuned])


@dataclass(frozen=True)
class Recipe:
    """A whole recipe.

    Args:
        name: of the run and of the checkpoint folder.
        stage: the stages in order.
        compress: the steps in order.
        corpus: as `zoo.corpora.load_corpus` takes it, or the name of reviews (`zoo.reviews`), whose labels are learnt.
        description: one line for people.
        seed: of initial weights, dropout and windows.
        priority: the queue builds the highest first.
        gpu_only: whether the queue leaves it out where there is no GPU.
        parent: a checkpoint whose weights are the start and whose config `[model]` changes; empty: random weights.
            Numbers that it stores as integers are floats where the stages, or those of a step, train it.
        max_vocabulary: the most words when the vocabulary is made from the corpus; 0: all.
        model: fields of RnnLmConfig.
        training: what all stages share.
        text: the TOML text without the table `[built]`.
    """

    name: str
    stage: tuple[Stage, ...] = ()
    compress: tuple[Step, ...] = ()
    corpus: str = "ptb"
    description: str = ""
    seed: int = number(1, most=2**63 - 1)
    priority: int = number(0, least=float("-inf"))
    gpu_only: bool = False
    parent: str = ""
    max_vocabulary: int = number(0)
    model: dict = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    text: str = field(default="", repr=False, compare=False)

    @property
    def learns(self) -> bool:
        """Whether anything is trained: stages of its own, or of a step."""
        return bool(self.stage) or any(step.stage for step in self.compress)

    def config(self, vocab_size: int, eos_id: int, base: RnnLmConfig | None = None) -> RnnLmConfig:
        """The model's config for a corpus; `base`: the parent's, of which `[model]` changes fields."""
        fields = {} if base is None else {name: getattr(base, name) for name in model_fields()}
        ids = dict(bos_token_id=eos_id, eos_token_id=eos_id, pad_token_id=eos_id)
        try:
            return RnnLmConfig(**{**fields, **self.model, "vocab_size": vocab_size, **ids})
        except Exception as error:  # the library's own classes of errors, with messages of several lines
            raise RecipeError(f"recipe {self.name}, [model]: {' '.join(str(error).split())}") from error


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
    return parse_recipe(text, str(file))


def parse_recipe(text: str, where: str) -> Recipe:
    """The recipe in a TOML text; `where` is what errors call it."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where} is no TOML: {error}") from error
    table.pop("built", None)
    steps = table.pop("compress", [])
    recipe = read_table(Recipe, table, where)
    recipe = dataclasses.replace(recipe, text=re.split(r"(?m)^\[built\]", text)[0].rstrip() + "\n")
    if not NAME.fullmatch(recipe.name):
        raise RecipeError(f"{where}: name is {recipe.name!r}; allowed: small letters, digits, . _ and -")
    allowed = tuple(name for name in model_fields() if name not in FROM_CORPUS)
    if steps:
        allowed = RATES if recipe.parent else allowed
        if not isinstance(steps, list):
            raise RecipeError(f"{where}: compress is one table; write [[compress]], an array of tables")
        read = tuple(_read_step(step, f"{where}, compress {number}") for number, step in enumerate(steps, 1))
        recipe = dataclasses.replace(recipe, compress=read)
    elif not recipe.stage:
        raise RecipeError(f"{where}: it has no stage; add a table [[stage]] with optimizer, lr and epochs")
    refuse_unknown(recipe.model, allowed, f"{where}, [model]")
    if not isinstance(recipe.model.get("weights", {}), dict):
        raise RecipeError(
            f"{where}, [model]: weights is {recipe.model['weights']!r}; write tables [model.weights.ROLE]"
        )
    if not recipe.parent:
        # All sizes are known but those of the vocabulary.
        weights = {
            role: form for role, form in recipe.model.get("weights", {}).items() if role not in ("embed", "head")
        }
        known = dataclasses.replace(recipe, model={**recipe.model, "weights": weights})
        known.config(vocab_size=2, eos_id=0)
    return recipe


def _read_step(table: dict[str, Any], where: str) -> Step:
    """One table of [[compress]]."""
    from .methods import METHODS  # they need torch, the recipes of a queue do not

    if not isinstance(table, dict):
        raise RecipeError(f"{where} is {table!r}; write tables [[compress]]")
    table = dict(table)
    method = table.pop("method", None)
    if not isinstance(method, str) or method not in METHODS:
        raise RecipeError(f"{where}: method is {method!r}; allowed: {', '.join(METHODS)}")
    where = f"{where} ({method})"
    stages = table.pop("stage", [])
    if not isinstance(stages, list):
        raise RecipeError(f"{where}: stage is one table; write [[compress.stage]], an array of tables")
    read = tuple(read_table(Stage, stage, f"{where}, stage {number}") for number, stage in enumerate(stages, 1))
    return Step(method, read_table(METHODS[method].Spec, table, where), read)


def _told(name: str, value: Any) -> str:
    """A field of a spec in words."""
    if isinstance(value, tuple):
        return f"{name} {' '.join(map(str, value))}"
    return name if value is True else f"no {name}" if value is False else f"{name} {value}"


def model_fields() -> list[str]:
    """The names of RnnLmConfig's own fields."""
    return [name for name in RnnLmConfig.__annotations__ if name != "use_cache"]
