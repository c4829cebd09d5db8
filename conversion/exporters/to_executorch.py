"""An ExecuTorch program of a model's step, its products carried out by XNNPACK on the CPU.

Letters: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

from zoo import RnnLmForCausalLM

from .check import Run, as_json, compare, refuse
from .text import CheckText
from .torch_step import Step

FILE = "model.pte"


def write(model: RnnLmForCausalLM, text: CheckText, folder: Path, variants: Sequence[str]) -> dict[str, Any]:
    """Writes `model.pte`, whose method `forward` takes input_ids [1, 1] and states; what the check showed.

    Raises:
        CheckpointError: the file does not compute what torch computes.
    """
    step = Step(model)
    with torch.no_grad():
        exported = torch.export.export(step, step.example())
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    (folder / FILE).write_bytes(program.buffer)
    zeros = [state.numpy() for state in step.example()[1:]]
    found = compare(model, text, {FILE: runner(folder / FILE)}, zeros, {FILE})
    refuse(FILE, found[FILE], exact=True)
    return {"text": text.source, "files": as_json(found), "versions": {"executorch": version("executorch")}}


def runner(file: Path) -> Run:
    """Runs a file: ids [1, 1] and states -> logits [1, 1, V] and states."""
    method = Runtime.get().load_program(file).load_method("forward")

    def run(ids: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        given = [torch.from_numpy(array) for array in (ids, *states)]
        logits, *after = (tensor.numpy().copy() for tensor in method.execute(given))  # the runtime reuses its memory
        return logits, after

    return run
