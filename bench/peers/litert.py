"""LiteRT (TensorFlow Lite) on the CPU, its products carried out by XNNPACK: fp32, and dynamic 8 and 4 bits."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.contenders import files_in
from bench.touched import touched_bytes

EXTRA = "litert"
VARIANTS = ("fp32", "int8", "int4")
FILE = "model.tflite"
FORMATS = {
    "fp32": "fp32",
    "int8": "dynamic_wi8_afp32: int8 weights per row, activations quantized on the way",
    "int4": "dynamic_wi4_afp32: int4 weights per row, activations quantized on the way",
}


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Writes `model.tflite`, whose one signature takes the token [1] and the states."""
    import litert_torch
    import torch

    from .network import one_step

    step = one_step(folder)
    converted = litert_torch.convert(step, step.example(torch.int32))
    converted.export(str(work / FILE))
    if variant != "fp32":
        from ai_edge_quantizer import quantizer, recipe

        small = quantizer.Quantizer(str(work / FILE))
        small.load_quantization_recipe(recipe.dynamic_wi8_afp32() if variant == "int8" else recipe.dynamic_wi4_afp32())
        (work / FILE).write_bytes(small.quantize().quantized_model)


class LiteRtStep:
    """A step of the interpreter; the states are copied from its outputs to its inputs."""

    def __init__(self, folder: Path, work: Path, variant: str, threads: int):
        self.folder, self.work, self.variant = folder, work, variant
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(str(work / FILE), num_threads=threads)
        self.interpreter.allocate_tensors()
        (signature,) = self.interpreter._get_full_signature_list().values()
        inputs, outputs = signature["inputs"], signature["outputs"]
        place = self.interpreter.tensor
        self.token = place(inputs["args_0"])
        self.values, self.ids = place(outputs["output_0"]), place(outputs["output_1"])
        self.states = [
            (place(inputs[f"args_{number}"]), place(outputs[f"output_{number + 1}"]))
            for number in range(1, len(inputs))
        ]
        self.reset()

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        self.token()[0] = token
        self.interpreter.invoke()
        for before, after in self.states:
            np.copyto(before(), after())
        return self.ids()[0].tolist(), self.values()[0].tolist()

    def reset(self) -> None:
        for before, _ in self.states:
            before()[...] = 0

    def describe(self) -> dict[str, Any]:
        bits = {"fp32": 32, "int8": 8, "int4": 4}[self.variant]
        return {
            "format": FORMATS[self.variant],
            "versions": {"ai-edge-litert": version("ai-edge-litert")},
            "file_bytes": files_in(self.work),
            "touched_bytes": touched_bytes(self.folder, bits),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> LiteRtStep:
    """The step over `model.tflite`."""
    return LiteRtStep(folder, work, variant, threads)
