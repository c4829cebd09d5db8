"""How much faster a model is after `conversion.bayes.shrink`, beside the share of its multiplications that is left.

Groups of numbers are set to zero at random: units and elements of word vectors that nobody reads, gates that are
constant, single numbers. Before and after are timed in turns, one thread, only if their outputs are the same: one word
(`step`), and a text at once (`window`), for which sparse matrices are multiplied out.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from conversion.bayes.shrink import shrink
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.modeling_rnnlm import RnnLmForCausalLM, RnnLmForSequenceClassification

from .report import RESULTS, cpu_name, slug, versions, write

WARM_UP, TEXT = 20, 200  # words of a text
BLOCKS = {"step": 20, "window": 1}  # calls before it is the other model's turn


@dataclass(frozen=True)
class Shares:
    """What is zero: of all units, elements of word vectors, gates of what is left, numbers of the layers."""

    units: float = 0.0
    inputs: float = 0.0
    gates: float = 0.0
    numbers: float = 0.0


CASES = {
    "nothing": Shares(),
    "half of the units": Shares(units=0.5),
    "half of the units and inputs": Shares(units=0.5, inputs=0.5),
    "90 % of the units and inputs": Shares(units=0.9, inputs=0.9),
    "half of the gates": Shares(gates=0.5),
    "90 % of the gates": Shares(gates=0.9),
    "half of the units, inputs and gates": Shares(units=0.5, inputs=0.5, gates=0.5),
    "60 % of the numbers": Shares(numbers=0.6),
    "90 % of the numbers": Shares(numbers=0.9),
    "99 % of the numbers": Shares(numbers=0.99),
}


@torch.no_grad()
def sparsified(model: Any, shares: Shares) -> Any:
    """The model with zeros: groups chosen at random, the same number in every layer."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.1)
    last = model.score.weight if hasattr(model, "score") else model.lm_head.weight
    model.model.layers[0].input.weight[:, _some(model.config.embedding_size, shares.inputs)] = 0
    for number, layer in enumerate(model.model.layers):
        read = [model.model.layers[number + 1].input.weight] if number + 1 < len(model.model.layers) else [last]
        idle = _some(model.config.hidden_size, shares.units)
        constant = _some(len(layer.bias), shares.gates)
        for matrix in (layer.recurrent.weight, *read):
            matrix[:, idle] = 0
        for matrix in (layer.input.weight, layer.recurrent.weight):
            matrix[constant] = 0
            matrix[torch.rand(matrix.shape) < shares.numbers] = 0
    return model.eval()


def _some(count: int, share: float) -> torch.Tensor:
    """A share of the numbers below `count`."""
    return torch.randperm(count)[: round(share * count)]


def multiplications(model: Any) -> int:
    """Of one word in the layers and the output layer: numbers of dense matrices, stored ones of sparse matrices."""
    config, count = model.config, 0
    for name, (rows, columns) in config.shapes.items():
        role, _, layer = name.partition(".")
        if role == "embed" or (role == "head" and hasattr(model, "score")):
            continue
        count += config.form_of(role, layer or None).get("nonzeros", rows * columns)
    return count


def stored_bytes(model: Any) -> int:
    """Bytes of all tensors, floats in 16 bits."""
    return sum(p.numel() * (2 if p.is_floating_point() else p.element_size()) for p in model.parameters())


def calls(model: Any, text: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
    """What is timed, by name; each gives logits."""
    found: dict[str, Callable[[], torch.Tensor]] = {"window": lambda: model(text, use_cache=False).logits}
    if hasattr(model, "step"):
        _, states = model.step(text[:, 0])
        found["step"] = lambda: model.step(text[:, 1], states)[0]
    return found


@torch.inference_mode()
def measure(model: Any, shares: Shares, passes: int, timed: int) -> dict[str, Any]:
    """Sizes and median microseconds before and after, and their ratios.

    Raises:
        AssertionError: the small model's outputs are not those of the large one.
    """
    model = sparsified(model, shares)
    shrunk = shrink(model)
    text = torch.randint(0, model.config.vocab_size, (1, TEXT))
    before, after = calls(model, text), calls(shrunk.model, shrunk.translated(text))
    row: dict[str, Any] = {"multiplications": [multiplications(m) for m in (model, shrunk.model)]}
    row["bytes"] = [stored_bytes(m) for m in (model, shrunk.model)]
    for name in before:
        torch.testing.assert_close(after[name](), before[name](), atol=1e-4, rtol=1e-4)
        row[f"{name}_us"] = [round(t * 1e6, 1) for t in _times(before[name], after[name], passes, timed, name)]
    row["ratios"] = {key.removesuffix("_us"): round(small / large, 4) for key, (large, small) in row.items()}
    row["sparse"] = sorted(name for name, spec in (shrunk.model.config.weights or {}).items() if "nonzeros" in spec)
    return {**row, "hidden": shrunk.structure["hidden"], "input": shrunk.structure["input"]}


def _times(
    large: Callable[[], torch.Tensor], small: Callable[[], torch.Tensor], passes: int, timed: int, name: str
) -> tuple[float, float]:
    """Median seconds of both, taking turns; of several passes the median of their medians."""
    found: tuple[list[float], list[float]] = ([], [])
    block, count = BLOCKS[name], timed if name == "step" else max(3, timed // 20)
    for _ in range(passes):
        taken: tuple[list[float], list[float]] = ([], [])
        for call in (large, small):
            for _ in range(WARM_UP if name == "step" else 2):
                call()
        while len(taken[0]) < count:
            for call, times in zip((large, small), taken, strict=True):
                for _ in range(block):
                    start = time.perf_counter()
                    call()
                    times.append(time.perf_counter() - start)
        for medians, times in zip(found, taken, strict=True):
            medians.append(median(times))
    return median(found[0]), median(found[1])


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = [f"{result['device']}, one thread; what is left of the model before, as ratios."]
    for name, rows in result["models"].items():
        lines += [
            "",
            f"**{name}**",
            "",
            "| zero | multiplications | bytes | time of a word | time of a text | sparse |",
        ]
        lines += ["|---|---:|---:|---:|---:|---|"]
        for case, row in rows.items():
            r = row["ratios"]
            word = f"{r['step']:.2f}" if "step" in r else "–"
            sparse = ", ".join(row["sparse"]) or "–"
            lines.append(
                f"| {case} | {r['multiplications']:.3f} | {r['bytes']:.3f} | {word} | {r['window']:.2f} | {sparse} |"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints a table and writes `results/shrinking/<device>.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.shrinking", description=__doc__)
    parser.add_argument("--hidden", type=int, default=650, help="units of a layer (default: 650)")
    parser.add_argument("--embedding", type=int, default=650, help="elements of a word vector (default: 650)")
    parser.add_argument("--layers", type=int, default=2, help="default: 2")
    parser.add_argument("--vocabulary", type=int, default=10000, help="words (default: 10000)")
    parser.add_argument("--cell", choices=("lstm", "gru", "rnn"), default="lstm", help="default: lstm")
    for name in Shares.__annotations__:
        parser.add_argument(f"--{name}", type=float, help="share that is zero, instead of a series of cases")
    parser.add_argument("--passes", type=int, default=5, help="median of so many (default: 5)")
    parser.add_argument("--timed", type=int, default=200, help="words timed in a pass (default: 200)")
    parser.add_argument("--out", type=Path, default=RESULTS / "shrinking", help="default: bench/results/shrinking")
    given = parser.parse_args(arguments)
    shares = {name: share for name in Shares.__annotations__ if (share := getattr(given, name)) is not None}
    if wrong := [name for name, share in shares.items() if not 0 <= share <= 1]:
        parser.error(f"--{wrong[0]} is {shares[wrong[0]]}; it must be from 0 to 1")
    if least := [name for name in ("passes", "timed", "hidden", "layers") if getattr(given, name) < 1]:
        parser.error(f"--{least[0]} is {getattr(given, least[0])}; it must be at least 1")
    torch.set_num_threads(1)
    cases = {"as given": Shares(**shares)} if shares else CASES
    config = RnnLmConfig(
        vocab_size=given.vocabulary, embedding_size=given.embedding, hidden_size=given.hidden, cell=given.cell,
        num_hidden_layers=given.layers, tie_word_embeddings=False,
    )  # fmt: skip
    words = f"{given.layers} x {given.cell.upper()} {given.hidden}, word vectors of {given.embedding}"
    kinds = {
        f"Language model, {words}, {given.vocabulary:,} words": RnnLmForCausalLM,
        f"Text classifier, {words}": RnnLmForSequenceClassification,
    }
    models: dict[str, dict[str, Any]] = {name: {} for name in kinds}
    result = {"device": cpu_name(), "threads": 1, "passes": given.passes, "timed": given.timed, "text": TEXT}
    result |= {"versions": versions(), "models": models}
    for name, kind in kinds.items():
        for case, chosen in cases.items():
            found = measure(kind(config), chosen, given.passes, given.timed)
            models[name][case] = {"zero": asdict(chosen), **found}
    write(given.out / f"{slug(cpu_name())}.json", result)
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
