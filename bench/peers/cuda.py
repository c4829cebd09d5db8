"""torch on an NVIDIA GPU: eager, as a CUDA graph, and with cuDNN's LSTM; all in fp32.

Letters: V vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.contenders import TOP
from bench.touched import dense_bytes, touched_bytes
from zoo.errors import ZooError
from zoo.plain_network import check_plain

EXTRA = "bench"
VARIANTS = ("eager", "graph", "cudnn")


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Nothing: the checkpoint is read as it is."""


class CudnnStep(nn.Module):
    """As `network.OneStep`, its layers one `nn.LSTM`, which runs in cuDNN."""

    def __init__(self, model: Any):
        super().__init__()
        config = model.config
        check_plain(config, "cudnn", "take the contender numpy, torch or torch-step")
        if config.cell != "lstm":
            raise ZooError(f"cudnn is written for an LSTM, not for a {config.cell.upper()}; leave it out")
        P, layers = config.projection_size, model.model.layers
        self.lstm = nn.LSTM(config.embedding_size, config.hidden_size, len(layers), proj_size=P or 0)
        self.embed, self.head, self.mapping = model.model.embed_tokens, model.lm_head, model.output_projection
        self.top = min(TOP, config.vocab_size)
        for number, layer in enumerate(layers):
            weights = {"weight_ih": layer.input.to_dense(), "weight_hh": layer.recurrent.to_dense()}
            weights |= {"bias_ih": layer.bias, "bias_hh": torch.zeros_like(layer.bias)}
            weights |= {} if P is None else {"weight_hr": layer.projection.to_dense()}
            for name, value in weights.items():
                getattr(self.lstm, f"{name}_l{number}").data.copy_(value)

    def forward(self, token: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, (h, c) = self.lstm(self.embed(token)[None], (h, c))
        x = x[0] if self.mapping is None else self.mapping(x[0])
        return *self.head(x).topk(self.top), h, c


class CudaStep:
    """A step on the GPU; the word goes there and the best ones come back, the state stays."""

    def __init__(self, folder: Path, variant: str):
        if not torch.cuda.is_available():
            raise ZooError("torch finds no CUDA GPU here; leave out torch-cuda, torch-cuda-graph and cudnn")
        torch.backends.cudnn.allow_tf32 = False  # fp32 is fp32
        self.variant, self.folder = variant, folder
        network: nn.Module
        if variant == "cudnn":
            from zoo.loading import load

            from .network import unpacked

            network = CudnnStep(unpacked(load(folder)[0]))
            layers = network.lstm.num_layers
            widths = (network.lstm.proj_size or network.lstm.hidden_size, network.lstm.hidden_size)
            sizes: list[tuple[int, ...]] = [(layers, 1, width) for width in widths]
        else:
            from .network import one_step, state_sizes

            network = one_step(folder)
            sizes = [(1, size) for size in state_sizes(network.lm)]
        self.network = network.cuda().eval().requires_grad_(False)
        self.token = torch.zeros(1, dtype=torch.int64, device="cuda")
        self.state = [torch.zeros(size, device="cuda") for size in sizes]
        self.graph = self._captured() if variant == "graph" else None

    def _captured(self) -> torch.cuda.CUDAGraph:
        """The step as one launch, which also puts the new state in the place of the old one."""

        def step() -> None:
            values, ids, *after = self.network(self.token, *self.state)
            for before, new in zip(self.state, after, strict=True):
                before.copy_(new)
            self.best = values, ids

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(3):  # libraries choose and allocate in their first calls
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            step()
        self.reset()
        return graph

    @torch.inference_mode()
    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        self.token.fill_(token)
        if self.graph is None:
            values, ids, *self.state = self.network(self.token, *self.state)
        else:
            self.graph.replay()
            values, ids = self.best
        return ids[0].tolist(), values[0].tolist()

    @torch.inference_mode()
    def reset(self) -> None:
        for state in self.state:
            state.zero_()

    def describe(self) -> dict[str, Any]:
        return {
            "format": "fp32",
            "versions": {
                "torch": torch.__version__,
                "cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(),
            },
            "file_bytes": sum((self.folder / name).stat().st_size for name in ("config.json", "model.safetensors")),
            "touched_bytes": dense_bytes(self.folder) if self.variant == "cudnn" else touched_bytes(self.folder),
            "device_type": "gpu",
            "device": torch.cuda.get_device_name(),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> CudaStep:
    """The step of a variant.

    Raises:
        ZooError: no CUDA GPU, or cudnn with another cell than an LSTM.
    """
    return CudaStep(folder, variant)
