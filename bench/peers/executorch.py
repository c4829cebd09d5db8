"""ExecuTorch on the CPU, its products carried out by XNNPACK: fp32, and dynamic 8 bits.

Letters: V vocabulary.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bench.contenders import TOP, files_in
from bench.touched import touched_bytes
from zoo.layout import read_layout

EXTRA = "executorch"
VARIANTS = ("fp32", "int8")
FILE = "model.pte"
FORMATS = {"fp32": "fp32", "int8": "XNNPACKQuantizer, dynamic: int8 weights per row"}


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Writes `model.pte`: token [1] and states -> logits [1, V] and states."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from .network import one_step

    step = one_step(folder, top=False)  # choosing the best is slow in its portable operations
    with torch.no_grad():
        exported = torch.export.export(step, step.example())
        if variant == "int8":
            exported = torch.export.export(_small(exported.module(), step.example()), step.example())
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    (work / FILE).write_bytes(program.buffer)


def _small(module: Any, example: tuple[torch.Tensor, ...]) -> Any:
    """The network with its matrices in 8 bits."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    prepared = prepare_pt2e(module, quantizer)
    prepared(*example)
    return convert_pt2e(prepared)


class ExecuTorchStep:
    """A step of the program; it copies what it is given, so the states go in as they came out."""

    def __init__(self, folder: Path, work: Path, variant: str, threads: int):
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        portable_lib._unsafe_reset_threadpool(threads)
        self.folder, self.work, self.variant = folder, work, variant
        self.method = Runtime.get().load_program(work / FILE).load_method("forward")
        layout = read_layout(folder)
        sizes = [layout.layer_output_size] + ([layout.cell_size] if layout.cell_size else [])
        self.zeros = [torch.zeros(1, size) for size in sizes * layout.num_hidden_layers]
        self.state, self.top = self.zeros, min(TOP, layout.vocab_size)

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        logits, *after = self.method.execute([torch.tensor([token]), *self.state])
        self.state = [state.clone() for state in after]  # the runtime uses its memory again
        best = logits[0].topk(self.top)
        return best.indices.tolist(), best.values.tolist()

    def reset(self) -> None:
        self.state = self.zeros

    def describe(self) -> dict[str, Any]:
        return {
            "format": FORMATS[self.variant],
            "versions": {"executorch": version("executorch"), "torch": torch.__version__},
            "file_bytes": files_in(self.work),
            "touched_bytes": touched_bytes(self.folder, 8 if self.variant == "int8" else 32),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> ExecuTorchStep:
    """The step over `model.pte`."""
    return ExecuTorchStep(folder, work, variant, threads)
