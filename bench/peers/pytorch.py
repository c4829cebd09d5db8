"""torch on the CPU: the zoo's model, its bare step, a step written by hand, and torch.ao's 8 bits.

Letters: O layer output, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.contenders import TOP, files_in
from bench.touched import dense_bytes, loaded_bytes, touched_bytes
from zoo.errors import ZooError
from zoo.layout import read_layout
from zoo.plain_network import check_plain

EXTRA = "bench"
VARIANTS = ("model", "step", "plain", "int8")
TRACED = "model.pt"

# token and state (None at the beginning) -> logits [V] and state
Run = Callable[[int, Any], tuple[torch.Tensor, Any]]


def prepare(folder: Path, work: Path, variant: str) -> None:
    """For int8 the traced network with its matrices in 8 bits; nothing for the others."""
    if variant == "int8":
        from torch.ao.quantization import quantize_dynamic

        from .network import one_step

        step = one_step(folder)
        small = quantize_dynamic(step, {torch.nn.Linear}, torch.qint8)
        torch.jit.freeze(torch.jit.trace(small, step.example())).save(str(work / TRACED))


def by_model(model: Any) -> Run:
    """RnnLmForCausalLM as `from_pretrained` gives it, through its cache."""
    from zoo import RnnLmCache

    def run(token: int, cache: Any) -> tuple[torch.Tensor, Any]:
        cache = RnnLmCache(model.config) if cache is None else cache
        return model(torch.tensor([[token]]), past_key_values=cache).logits[0, -1], cache

    return run


def by_step(model: Any) -> Run:
    """RnnLmForCausalLM.step, the same model without the library's wrappers."""

    def run(token: int, states: Any) -> tuple[torch.Tensor, Any]:
        logits, states = model.step(torch.tensor([token]), states)
        return logits[0], states

    return run


def by_hand(model: Any) -> Run:
    """The same arithmetic on bare dense tensors: what a user would write; LSTM only."""
    config = model.config
    check_plain(config, "plain-torch", "take the contender numpy, torch or torch-step")
    if config.cell != "lstm" or config.output_projection_size is not None:
        raise ZooError("plain-torch is written for an LSTM without output projection; leave it out")
    table, head = (form.to_dense() for form in (model.model.embed_tokens, model.lm_head))
    head, head_bias = head.T, torch.zeros(()) if model.lm_head.bias is None else model.lm_head.bias
    layers = [(layer.input.to_dense(), layer.recurrent.to_dense(), layer.bias) for layer in model.model.layers]
    projections = [None if layer.projection is None else layer.projection.to_dense() for layer in model.model.layers]
    O, H = config.layer_output_size, config.hidden_size

    def run(token: int, states: Any) -> tuple[torch.Tensor, Any]:
        states, after = states or [(torch.zeros(1, O), torch.zeros(1, H))] * len(layers), []
        x = table[token][None]
        for (h, c), (W, U, b), P in zip(states, layers, projections, strict=True):
            i, f, g, o = (torch.addmm(b, x, W.T) + h @ U.T).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            x = torch.sigmoid(o) * torch.tanh(c)
            x = x if P is None else x @ P.T
            after.append((x, c))
        return torch.addmm(head_bias, x, head)[0], after

    return run


class TorchStep:
    """A step in torch with its state."""

    def __init__(self, run: Run, top: int, description: dict[str, Any]):
        self.run, self.top, self.description = run, top, description
        self.state: Any = None

    @torch.inference_mode()
    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        logits, self.state = self.run(token, self.state)
        best = logits.topk(self.top)
        return best.indices.tolist(), best.values.tolist()

    def reset(self) -> None:
        self.state = None

    def describe(self) -> dict[str, Any]:
        return {"versions": {"torch": torch.__version__}, **self.description}


class TracedStep(TorchStep):
    """A traced step, which chooses the best words itself."""

    def __init__(self, folder: Path, file: Path, description: dict[str, Any]):
        self.traced = torch.jit.load(str(file))
        layout = read_layout(folder)
        sizes = [layout.layer_output_size] + ([layout.cell_size] if layout.cell_size else [])
        self.zeros = [torch.zeros(1, size) for size in sizes * layout.num_hidden_layers]
        super().__init__(self.traced, TOP, description)
        self.reset()

    @torch.inference_mode()
    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        values, ids, *self.state = self.traced(torch.tensor([token]), *self.state)
        return ids[0].tolist(), values[0].tolist()

    def reset(self) -> None:
        self.state = self.zeros


def open_step(folder: Path, work: Path, variant: str, threads: int) -> TorchStep:
    """The step of a variant.

    Raises:
        ZooError: plain-torch of another cell than an LSTM.
    """
    torch.set_num_threads(threads)
    if variant == "int8":
        return TracedStep(
            folder,
            work / TRACED,
            {
                "format": "int8 weights, activations quantized on the way",
                "file_bytes": files_in(work),
                "touched_bytes": touched_bytes(folder, 8),
            },
        )
    from zoo.loading import load

    model, _ = load(folder)
    model.requires_grad_(False)
    run = {"model": by_model, "step": by_step, "plain": by_hand}[variant](model)
    description: dict[str, Any] = {
        "format": "dense fp32" if variant == "plain" else "as stored, floats as fp32",
        "file_bytes": sum((folder / name).stat().st_size for name in ("config.json", "model.safetensors")),
        "touched_bytes": dense_bytes(folder) if variant == "plain" else loaded_bytes(folder),
    }
    return TorchStep(run, min(TOP, model.config.vocab_size), description)
