"""ncnn on the CPU: fp32, weights in fp16 (its own default), and dynamic 8 bits.

Letters: V vocabulary.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.contenders import TOP, best_of, files_in
from zoo.errors import ZooError
from zoo.layout import read_layout

EXTRA = "ncnn"
VARIANTS = ("fp32", "fp16", "int8")
LAYERS, WEIGHTS = "model.param", "model.bin"
FORMATS = {
    "fp32": "fp32",
    "fp16": "fp16 weights",
    "int8": "int8 weights per row, activations quantized on the way; the projection of an LSTM in fp32",
}


def prepare(folder: Path, work: Path, variant: str) -> None:
    """Writes `model.param` and `model.bin`: `token` [1] and `before.*` -> `logits` [1, V] and `after.*`.

    ncnn has no layer that chooses the best words.
    """
    from .ncnn_network import network

    layers, weights = network(folder, variant)
    (work / LAYERS).write_text(layers, encoding="utf-8")
    (work / WEIGHTS).write_bytes(weights)


def touched(work: Path, width: int) -> int:
    """Bytes that one word reads of the weights: all but the other words' rows, of numbers of `width` bytes."""
    lines = (work / LAYERS).read_text(encoding="utf-8").splitlines()
    embed = next(line.split() for line in lines if line.startswith("Embed "))
    told = dict(word.split("=") for word in embed if "=" in word)
    return (work / WEIGHTS).stat().st_size - width * (int(told["3"]) - int(told["0"]))


class NcnnStep:
    """A step of the network; what comes out as its states goes in again."""

    def __init__(self, folder: Path, work: Path, variant: str, threads: int):
        import ncnn

        self.work, self.variant = work, variant
        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads = threads
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = variant == "fp16"
        if self.net.load_param(str(work / LAYERS)) or self.net.load_model(str(work / WEIGHTS)):
            raise ZooError(f"ncnn cannot load {work / LAYERS}")
        layout = read_layout(folder)
        sizes = {"h": layout.layer_output_size} | ({"c": layout.cell_size} if layout.cell_size else {})
        states = [(number, letter) for number in range(layout.num_hidden_layers) for letter in sizes]
        self.before = [f"before.{number}.{letter}" for number, letter in states]
        self.after = [f"after.{number}.{letter}" for number, letter in states]
        # A Mat is a view: the arrays have to stay.
        self.word = np.zeros(1, np.int32)
        self.arrays = [np.zeros((1, sizes[letter]), np.float32) for _, letter in states]
        self.token, self.zeros = ncnn.Mat(self.word), [ncnn.Mat(array) for array in self.arrays]
        self.state, self.top = self.zeros, min(TOP, layout.vocab_size)

    def __call__(self, token: int) -> tuple[list[int], list[float]]:
        self.word[0] = token
        run = self.net.create_extractor()
        run.input("token", self.token)
        for name, state in zip(self.before, self.state, strict=True):
            run.input(name, state)
        _, logits = run.extract("logits")
        self.state = [run.extract(name)[1] for name in self.after]
        return best_of(np.asarray(logits)[0], self.top)

    def reset(self) -> None:
        self.state = self.zeros

    def describe(self) -> dict[str, Any]:
        return {
            "format": FORMATS[self.variant],
            "versions": {"ncnn": version("ncnn")},
            "file_bytes": files_in(self.work),
            "touched_bytes": touched(self.work, 2 if self.variant == "fp16" else 4),
        }


def open_step(folder: Path, work: Path, variant: str, threads: int) -> NcnnStep:
    """The step over `model.param`.

    Raises:
        ZooError: ncnn refuses the files.
    """
    return NcnnStep(folder, work, variant, threads)
