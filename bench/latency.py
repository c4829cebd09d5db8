"""Latency of one suggestion: a token in, the three most probable next words out, batch 1.

The protocol of Grachev et al. 2019, section 5: 100 warm-up steps, 1000 timed ones. The contenders take turns in blocks,
so that a disturbance of the machine falls on all of them, and are timed only after they have given the same answers.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ZooError
from zoo.hub import folder_of
from zoo.layout import read_layout

from .report import RESULTS, cpu_name, name_of, slug, versions, write

if TYPE_CHECKING:
    import torch

WARM_UP, TIMED, BLOCK = 100, 1000, 100
CHECKED = 50
TOP = 3
# A contender's step: id of the word read -> ids and log probabilities of the TOP words; the state stays inside.
Step = Callable[[int], tuple[list[int], list[float]]]


def best(logits: torch.Tensor) -> tuple[list[int], list[float]]:
    """Logits [V] -> ids and log probabilities of the TOP words; the same work for every contender in torch."""
    top = logits.log_softmax(-1).topk(TOP)
    return top.indices.tolist(), top.values.tolist()


def zoo_torch(folder: Path) -> Step:
    """RnnLmForCausalLM as `from_pretrained` gives it, one word at a time through its cache."""
    import torch

    from zoo import RnnLmCache
    from zoo.loading import load

    model, _ = load(folder)
    cache = RnnLmCache(model.config)

    @torch.no_grad()
    def step(token: int) -> tuple[list[int], list[float]]:
        return best(model(torch.tensor([[token]]), past_key_values=cache).logits[0, -1])

    return step


def zoo_torch_step(folder: Path) -> Step:
    """RnnLmForCausalLM.step, the same model without the library's wrappers."""
    import torch

    from zoo.loading import load

    model, _ = load(folder)
    states = None

    @torch.no_grad()
    def step(token: int) -> tuple[list[int], list[float]]:
        nonlocal states
        logits, states = model.step(torch.tensor([token]), states)
        return best(logits[0])

    return step


def plain_torch(folder: Path) -> Step:
    """The same arithmetic written by hand on bare dense tensors: what a user would write; LSTM only."""
    import torch

    from zoo.loading import load

    model: Any
    model, _ = load(folder)
    config = model.config
    if config.cell != "lstm" or config.output_projection_size is not None:
        raise ZooError("plain-torch is written for an LSTM without output projection; leave it out")
    table, head = (form.to_dense().detach() for form in (model.model.embed_tokens, model.lm_head))
    head, head_bias = head.T, model.lm_head.bias.detach()
    layers = [
        (layer.input.to_dense().detach(), layer.recurrent.to_dense().detach(), layer.bias.detach())
        for layer in model.model.layers
    ]
    projections = [
        None if layer.projection is None else layer.projection.to_dense().detach() for layer in model.model.layers
    ]
    O, H = config.layer_output_size, config.hidden_size
    state = [(torch.zeros(1, O), torch.zeros(1, H)) for _ in layers]

    @torch.no_grad()
    def step(token: int) -> tuple[list[int], list[float]]:
        x = table[token][None]
        for number, ((W, U, b), P) in enumerate(zip(layers, projections, strict=True)):
            h, c = state[number]
            i, f, g, o = (torch.addmm(b, x, W.T) + h @ U.T).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            x = torch.sigmoid(o) * torch.tanh(c)
            x = x if P is None else x @ P.T
            state[number] = (x, c)
        return best(torch.addmm(head_bias, x, head)[0])

    return step


def zoo_numpy(folder: Path) -> Step:
    """The step behind `zoo suggest`, which needs no torch."""
    from zoo.runtime import NumpyModel

    model = NumpyModel(folder)
    state = model.initial_state()

    def step(token: int) -> tuple[list[int], list[float]]:
        nonlocal state
        log_probs, state = model.step(token, state)
        top = np.argpartition(-log_probs, TOP)[:TOP]
        top = top[np.argsort(-log_probs[top])]
        return top.tolist(), log_probs[top].tolist()

    return step


CONTENDERS = {"torch": zoo_torch, "torch-step": zoo_torch_step, "plain-torch": plain_torch, "numpy": zoo_numpy}


def check(steps: dict[str, Step], tokens: list[int]) -> None:
    """Refuses contenders whose three best words or their log probabilities differ (ZooError)."""
    for token in tokens:
        answers = {name: step(token) for name, step in steps.items()}
        first, expected = next(iter(answers.items()))
        for name, (_, values) in answers.items():
            if not np.allclose(values, expected[1], atol=1e-3):  # equal values, as two words may tie
                raise ZooError(f"{name} and {first} disagree after the id {token}: {answers[name]} against {expected}")


def step_memory(folder: str | Path) -> dict[str, int]:
    """Bytes of one step of the model in torch: its tensors, and those that the step makes and holds at once at most."""
    import torch

    from zoo.loading import load

    from .memory import Memory

    model, _ = load(folder)
    tensors = {tensor.data_ptr(): tensor for tensor in model.state_dict().values()}.values()
    with torch.no_grad():
        _, states = model.step(torch.tensor([0]))
        with Memory() as memory:
            model.step(torch.tensor([1]), states)
    return {
        "weights": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        "step_peak": memory.peak,
        "step_largest": memory.largest,
    }


def measure(folder: str | Path, contenders: list[str] | None = None, threads: int = 1) -> dict:
    """Times the contenders side by side; milliseconds per step: mean, median, p95, p99.

    Raises:
        ZooError: an unknown contender, or two that do not give the same answers.
    """
    names = contenders or list(CONTENDERS)
    if threads < 1:
        raise ZooError(f"threads is {threads}; give at least 1")
    unknown = sorted(set(names) - set(CONTENDERS))
    if unknown:
        raise ZooError(f"no contender {', '.join(unknown)}; there are {', '.join(CONTENDERS)}")
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    steps = {name: CONTENDERS[name](Path(folder)) for name in names}
    tokens = np.random.default_rng(0).integers(0, read_layout(folder).vocab_size, WARM_UP + TIMED).tolist()
    check(steps, tokens[:CHECKED])
    times: dict[str, list[float]] = {name: [] for name in names}
    with threadpool_limits(threads):  # numpy's
        for start in range(0, WARM_UP + TIMED, BLOCK):
            for name, step in steps.items():
                for token in tokens[start : start + BLOCK]:
                    begin = time.perf_counter()
                    step(token)
                    times[name].append(1000 * (time.perf_counter() - begin))
    memory = step_memory(folder)
    timed = {name: np.array(values[WARM_UP:]) for name, values in times.items()}
    return {
        "protocol": {"warm_up": WARM_UP, "timed": TIMED, "block": BLOCK, "batch": 1, "top": TOP, "threads": threads},
        "memory": memory,
        "milliseconds": {
            name: {
                "mean": float(values.mean()),
                "median": float(np.median(values)),
                "p95": float(np.percentile(values, 95)),
                "p99": float(np.percentile(values, 99)),
            }
            for name, values in timed.items()
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Measures one checkpoint on this machine's CPU; writes `results/<name>/latency-<device>.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("checkpoint", help="name of a shipped checkpoint, folder, or owner/name on the Hub")
    parser.add_argument("--backend", nargs="+", metavar="NAME", help=f"any of {', '.join(CONTENDERS)} (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: bench/results)")
    given = parser.parse_args(arguments)
    try:
        device, folder = cpu_name(), folder_of(given.checkpoint)
        result = measure(folder, given.backend, given.threads)
        sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        name = name_of(given.checkpoint)
        write(
            given.out / name / f"latency-{slug(device)}.json",
            {"name": name, "sha256": sha256, "device": device, "versions": versions()} | result,
        )
    except (ZooError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    width = max(map(len, result["milliseconds"]))
    print(f"{name} on {device}, {given.threads} thread(s), ms per step")
    for contender, ms in result["milliseconds"].items():
        print(f"{contender:<{width}}  " + "  ".join(f"{what} {value:.3f}" for what, value in ms.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
