"""Chooses the form of every matrix for a budget, from what each form of each matrix costs on the validation text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.weights_rnnlm import FORMS

from . import low_rank, quantize
from .activations import Activations, measure
from .matrices import DENSE, matrix_of, spec_of, untied, with_forms
from .objective import mean_loss
from .pipeline import bytes_in_file, stored_bytes
from .saliency import largest, scores
from .streams import Stripes

Steps = tuple[tuple[str, tuple[tuple[str, object], ...]], ...]  # (method, fields of its spec but roles)

RANKS = (0.75, 0.5, 0.35, 0.25, 0.15, 0.1)  # shares of the full rank
SPARSITIES = (0.5, 0.7, 0.8, 0.9)
TOKENS = 20_000  # of the validation text, per form and matrix
STRIPES = 10
HEADER = 8_000  # bytes of a file beside its tensors


@dataclass(frozen=True)
class Choice:
    """A form of one matrix.

    Args:
        name: of the matrix.
        steps: that lead to it; none: it stays as it is.
        bytes: of its tensors in a checkpoint.
        cost: loss that it adds alone, nats per token.
        matrix: the numbers that it stands for [M, N], in float16.
    """

    name: str
    steps: Steps
    bytes: int
    cost: float
    matrix: torch.Tensor = field(repr=False, compare=False)

    def describe(self) -> str:
        """The form in words."""
        words = {"low_rank": "rank", "prune": "sparsity", "quantize": "bits"}
        told = [f"{words[method]} {dict(fields)[words[method]]}" for method, fields in self.steps]
        return ", ".join(told) or "as it is"


def choose(
    model: RnnLmForCausalLM, corpus: Corpus, max_mb: float | None, max_loss: float | None, untie: bool = False
) -> list[tuple[str, dict[str, object]]]:
    """The steps of compression that meet a budget, printed with what they are expected to cost.

    The costs of the matrices are taken to add up, which the model with all of them together then has to confirm on the
    same text; if it costs more, the choice is made again with as much less to spend.

    Args:
        max_mb: most 10⁶ bytes of weights. max_loss: largest share of perplexity that may be lost, e.g. 0.03.
        untie: a tied head gets a matrix of its own first.

    Returns:
        Steps (method, fields of its spec).

    Raises:
        RecipeError: no choice meets the budget, with the nearest one that does.
    """
    model = untied(model) if untie else model
    text = Stripes(corpus.splits["valid"][:TOKENS], corpus.eos_id, STRIPES)
    base = mean_loss(model, text)
    options = sweep(model, corpus, text, base)
    fixed = stored_bytes(model) - sum(forms[0].bytes for forms in options) + HEADER
    most = math.inf if max_mb is None else max_mb * 1e6 - fixed
    allowed = math.inf if max_loss is None else math.log1p(max_loss)
    spend = allowed
    for _ in range(6):
        chosen = pick(front(options), most, spend, fixed)
        found = loss_together(model, chosen, text) - base
        if found <= allowed:
            break
        spend *= 0.9 * allowed / found
    else:
        raise RecipeError(
            f"no choice loses at most {max_loss:.1%} of perplexity; the last one tried loses {math.expm1(found):.1%}: "
            "give a larger --max-ppl-loss, or --fine-tune EPOCHS with a --max-mb"
        )
    report(options, chosen, fixed, found)
    steps = steps_of(chosen)
    if untie and steps:
        steps[0][1]["untie"] = True
    return steps


def sweep(model: RnnLmForCausalLM, corpus: Corpus, text: Stripes, base: float) -> list[list[Choice]]:
    """For every matrix its forms, the present one first, each with what it costs when all others stay as they are."""
    foreign = [name for name in model.config.shapes if spec_of(model.config, name) != DENSE]
    if foreign:
        raise RecipeError(f"{foreign[0]} is compressed already; a budget needs a parent that is dense")
    known, names = measure(model, corpus), list(model.config.shapes)
    factored = full_rank(model, corpus, known)
    worth = scores(model, names, "curvature", corpus)
    options = []
    with tqdm(total=len(names), desc="sensitivity", unit=" matrices", disable=None, leave=False) as bar:
        for name in names:
            weight = matrix_of(model, name).weight
            dense = weight.detach().clone()
            forms = [Choice(name, (), bytes_of(model, name), 0.0, dense.half())]
            for steps, made in candidates(model, factored, known, worth[name], name):
                size = bytes_of(made, name)
                if size < forms[0].bytes:
                    weight.data.copy_(matrix_of(made, name).to_dense())
                    cost = mean_loss(model, text) - base
                    forms.append(Choice(name, steps, size, cost, weight.detach().half()))
            weight.data.copy_(dense)
            options.append(forms)
            bar.update()
    return options


def full_rank(model: RnnLmForCausalLM, corpus: Corpus, known: Activations) -> RnnLmForCausalLM:
    """The model with all matrices in factors of full rank, whose leading parts are the best ones of lower rank."""
    shapes, made = model.config.shapes, model
    for rank in sorted({min(shape) for shape in shapes.values()}):
        names = tuple(name for name, shape in shapes.items() if min(shape) == rank)
        part = low_rank.compress(model, low_rank.Spec(names, rank=rank), corpus, known)
        forms = {name: ({"form": "low_rank", "rank": rank}, tensors_of(part, name)) for name in names}
        made = with_forms(made, forms)
    return made


def tensors_of(model: RnnLmForCausalLM, name: str) -> dict[str, torch.Tensor]:
    """The tensors of a matrix but its bias, by their names below its prefix."""
    return {key: tensor for key, tensor in matrix_of(model, name).state_dict().items() if key != "bias"}


def candidates(
    model: RnnLmForCausalLM, factored: RnnLmForCausalLM, known: Activations, worth: torch.Tensor, name: str
) -> Iterator[tuple[Steps, RnnLmForCausalLM]]:
    """(steps, model) for every form of a matrix that is tried; `worth` is what its numbers are worth [M, N]."""
    eight, fields = quantize.Spec((name,), bits=8), {"bits": 4, "limits": "error", "rounding": "compensated"}
    int8: Steps = (("quantize", (("bits", 8),)),)
    yield int8, quantize.compress(model, eight)
    four = quantize.Spec((name,), **fields)  # type: ignore[arg-type]
    yield (("quantize", tuple(fields.items())),), quantize.compress(model, four, known=known)
    left, right = tensors_of(factored, name)["left.weight"], tensors_of(factored, name)["right.weight"]
    for share in RANKS:
        rank = max(1, round(share * len(right)))
        tensors = {"left.weight": left[:, :rank], "right.weight": right[:rank]}
        made = with_forms(model, {name: ({"form": "low_rank", "rank": rank}, tensors)})
        yield (("low_rank", (("rank", rank),)), *int8), quantize.compress(made, eight)
    for sparsity in SPARSITIES:
        kept = matrix_of(model, name).weight * largest({name: worth}, sparsity, "matrix")[name]
        form = {"form": "sparse", "nonzeros": int(kept.count_nonzero())}
        made = with_forms(model, {name: (form, FORMS["sparse"].from_dense(kept, form))})
        pruned = (("sparsity", sparsity), ("criterion", "curvature"))
        yield (("prune", pruned), *int8), quantize.compress(made, eight)


def bytes_of(model: RnnLmForCausalLM, name: str) -> int:
    """Bytes of a matrix's tensors in a checkpoint, a bias not counted."""
    return bytes_in_file(tensors_of(model, name).values())


def front(options: list[list[Choice]]) -> list[tuple[int, float, tuple[Choice, ...]]]:
    """All combinations of forms that none beats in both bytes and cost, the smallest first."""
    best: list[tuple[int, float, tuple[Choice, ...]]] = [(0, 0.0, ())]
    for forms in options:
        sums = [
            (size + form.bytes, cost + max(0.0, form.cost), (*chosen, form))
            for size, cost, chosen in best
            for form in forms
        ]
        best, least = [], math.inf
        for entry in sorted(sums, key=lambda entry: entry[:2]):
            if entry[1] < least - 1e-6:
                best.append(entry)
                least = entry[1]
        if len(best) > 20_000:
            best = best[:: len(best) // 20_000 + 1]
    return best


def pick(
    best: list[tuple[int, float, tuple[Choice, ...]]], most: float, allowed: float, fixed: int
) -> tuple[Choice, ...]:
    """The cheapest combination of at most `most` bytes; where only the cost is limited, the smallest one."""
    fitting = [entry for entry in best if entry[0] <= most and entry[1] <= allowed]
    if not fitting:
        size, cost, _ = best[0]
        raise RecipeError(
            f"no choice meets the budget; the smallest one has {(size + fixed) / 1e6:.2f} MB at an expected "
            f"{math.expm1(cost):.1%} more perplexity: give a larger --max-mb or --max-ppl-loss"
        )
    return fitting[0][2] if most == math.inf else min(fitting, key=lambda entry: entry[1])[2]


@torch.no_grad()
def loss_together(model: RnnLmForCausalLM, chosen: tuple[Choice, ...], text: Stripes) -> float:
    """The loss with all matrices as chosen; the model is left as it was."""
    weights = [matrix_of(model, choice.name).weight for choice in chosen]
    kept = [weight.detach().clone() for weight in weights]
    for weight, choice in zip(weights, chosen, strict=True):
        weight.copy_(choice.matrix)
    loss = mean_loss(model, text)
    for weight, before in zip(weights, kept, strict=True):
        weight.copy_(before)
    return loss


def report(options: list[list[Choice]], chosen: tuple[Choice, ...], fixed: int, found: float) -> None:
    """Prints the choice, what each part costs by itself, and the next larger and smaller form that was not taken."""
    print(f"{'matrix':<20} {'chosen':<26} {'MB':>7} {'alone':>8}   next larger, next smaller")
    for forms, choice in zip(options, chosen, strict=True):
        larger = min((form for form in forms if form.bytes > choice.bytes), key=lambda form: form.bytes, default=None)
        smaller = max((form for form in forms if form.bytes < choice.bytes), key=lambda form: form.bytes, default=None)
        told = [
            "none" if form is None else f"{form.describe()} ({form.bytes / 1e6:.2f} MB, {math.expm1(form.cost):+.2%})"
            for form in (larger, smaller)
        ]
        cost = f"{math.expm1(choice.cost):+8.2%}"
        print(f"{choice.name:<20} {choice.describe():<26} {choice.bytes / 1e6:>7.3f} {cost}   {', '.join(told)}")
    size, alone = fixed + sum(choice.bytes for choice in chosen), sum(choice.cost for choice in chosen)
    print(
        f"together {size / 1e6:.2f} MB; perplexity {math.expm1(found):+.2%} on {TOKENS:,} validation tokens, "
        f"{math.expm1(alone):+.2%} if the costs just added up",
        flush=True,
    )


def steps_of(chosen: tuple[Choice, ...]) -> list[tuple[str, dict[str, object]]]:
    """The choice as steps in the order of the pipeline, those that are alike taken together."""
    steps: dict[tuple[str, tuple[tuple[str, object], ...]], list[str]] = {}
    for method in ("low_rank", "prune", "quantize"):
        for choice in chosen:
            for step in choice.steps:
                if step[0] == method:
                    steps.setdefault(step, []).append(choice.name)
    return [(method, {"roles": names, **dict(fields)}) for (method, fields), names in steps.items()]
