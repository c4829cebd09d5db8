"""A LiteRT (TensorFlow Lite) file of a model's step.

Letters: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

from zoo import RnnLmForCausalLM

from .check import Run, as_json, compare, refuse
from .text import CheckText
from .torch_step import Step

FILE = "model.tflite"


def write(model: RnnLmForCausalLM, text: CheckText, folder: Path, variants: Sequence[str]) -> dict[str, Any]:
    """Writes `model.tflite`, whose one signature takes input_ids [1, 1] int32 and states; what the check showed.

    Raises:
        CheckpointError: the file does not compute what torch computes.
    """
    step = Step(model)
    example = step.example(torch.int32)
    litert_torch.convert(step, example).export(str(folder / FILE))
    zeros = [state.numpy() for state in example[1:]]
    found = compare(model, text, {FILE: runner(folder / FILE)}, zeros, {FILE})
    refuse(FILE, found[FILE], exact=True)
    packages = ("litert-torch", "ai-edge-litert")
    return {"text": text.source, "files": as_json(found), "versions": {name: version(name) for name in packages}}


def runner(file: Path) -> Run:
    """Runs a file on one CPU thread: ids [1, 1] and states -> logits [1, 1, V] and states."""
    step = Interpreter(str(file), num_threads=1).get_signature_runner()

    def run(ids: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        given = {f"args_{place}": array for place, array in enumerate([ids.astype(np.int32), *states])}
        found = step(**given)
        logits, *after = (found[f"output_{place}"] for place in range(len(given)))
        return logits, after

    return run
