"""OpenVINO on the CPU: fp32, and weights compressed to 8 bits."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.contenders import files_in
from bench.touched import touched_bytes

from .onnx_runtime import build

EXTRA = "openvino"
VARIANTS = ("fp32", "int8")
FILE = "model.xml"
FORMATS = {"fp32": "fp32", "int8": "nncf.compress_weights, int8 weights per row"}


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Writes `model.xml` and `model.bin`."""
    import onnx
    import openvino

    source = work / "model.onnx"
    onnx.save(build(folder), source)
    model = openvino.convert_model(source)
    source.unlink()
    if variant == "int8":
        import nncf

        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(model, work / FILE, compress_to_fp16=False)


class OpenVinoStep:
    """Two requests that take turns: the states that one writes are those that the other reads."""

    def __init__(self, folder: Path, work: Path, variant: str, threads: int):
        import openvino

        self.folder, self.work, self.variant = folder, work, variant
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        model = openvino.Core().compile_model(work / FILE, "CPU", options)
        self.token = np.zeros(1, np.int64)
        self.states = [[np.zeros(given.shape, np.float32) for given in model.inputs[1:]] for _ in range(2)]
        self.requests = []
        for turn in range(2):
            request = model.create_infer_request()
            for place, array in enumerate([self.token, *self.states[turn]]):
                request.set_input_tensor(place, openvino.Tensor(array, shared_memory=True))
            for place, array in enumerate(self.states[1 - turn]):
                request.set_output_tensor(place + 2, openvino.Tensor(array, shared_memory=True))
            best = [request.get_output_tensor(place).data for place in range(2)]
            self.requests.append((request, *best))
        self.turn = 0

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        self.token[0] = token
        request, values, ids = self.requests[self.turn]
        request.infer()
        self.turn = 1 - self.turn
        return ids[0].tolist(), values[0].tolist()

    def reset(self) -> None:
        for state in self.states[self.turn]:
            state[...] = 0

    def describe(self) -> dict[str, Any]:
        return {
            "format": FORMATS[self.variant],
            "versions": {"openvino": version("openvino")},
            "file_bytes": files_in(self.work),
            "touched_bytes": touched_bytes(self.folder, 8 if self.variant == "int8" else 32),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> OpenVinoStep:
    """The step over `model.xml`."""
    return OpenVinoStep(folder, work, variant, threads)
