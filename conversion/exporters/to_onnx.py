"""ONNX files of a model: a single step and a whole sequence, each in fp32, fp16 and int8.

Letters: B batch, T time, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from zoo import RnnLmForCausalLM

from .builder import BLOCK, Storage
from .check import Run, agrees, as_json, compare, refuse
from .network import build, zero_states
from .rounding import Rounding, choose, dense_weights
from .text import CheckText

SUFFIXES = {"fp32": "", "fp16": "_fp16", "int8": "_int8"}
STEMS = {"model": False, "model_sequence": True}  # file name -> whether it takes sequences


def write(model: RnnLmForCausalLM, text: CheckText, folder: Path, variants: Sequence[str]) -> dict[str, Any]:
    """Writes `model{,_fp16,_int8}.onnx` and `model_sequence{...}.onnx`; what the check showed.

    Raises:
        CheckpointError: a file does not compute what torch computes.
        ZooError: a weight that fp16 cannot hold.
    """
    rounding = choose(model, text.ids) if "int8" in variants else None
    found = check(model, text, folder, variants, rounding)
    while rounding is not None and rounding.kept < len(rounding.order):
        if all(agrees(one, exact=False) for file, one in found.items() if file.endswith("_int8.onnx")):
            break
        rounding = dataclasses.replace(rounding, kept=rounding.kept + 1)
        found |= check(model, text, folder, ["int8"], rounding)
    for file, agreement in found.items():
        refuse(file, agreement, exact=not file.endswith(("_fp16.onnx", "_int8.onnx")))
    report: dict[str, Any] = {"text": text.source, "files": as_json(found)}
    if rounding is not None:
        rows = rounding.rows_kept(model)
        report["int8"] = {
            "columns_per_scale": BLOCK,
            "in_8_bits": {name: {"rows_in_16_bits": len(kept)} for name, kept in rows.items()},
            "in_16_bits": list(rounding.order[: rounding.kept]),
        }
    return {**report, "versions": {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}}


def check(
    model: RnnLmForCausalLM, text: CheckText, folder: Path, variants: Sequence[str], rounding: Rounding | None
) -> dict[str, Any]:
    """Writes the two files of each variant and compares them with the model; file name -> agreement."""
    runs = {}
    for variant in variants:
        small = {}
        if variant == "int8" and rounding is not None:
            weights = dense_weights(model)
            small = {id(weights[name]): kept for name, kept in rounding.rows_kept(model).items()}
        for stem, sequence in STEMS.items():
            file = f"{stem}{SUFFIXES[variant]}.onnx"
            onnx.save(build(model, Storage(half=variant != "fp32", eight_bits=small), sequence), folder / file)
            runs[file] = runner(folder / file)
    zeros = list(zero_states(model).values())
    return compare(model, text, runs, zeros, {file for file in runs if not file.startswith("model_sequence")})


def runner(file: Path) -> Run:
    """Runs a file on one CPU thread: ids [B, T] and states -> logits [B, T, V] and states."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(ids: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        logits, *after = session.run(None, dict(zip(names, [ids, *states], strict=True)))
        return logits, after

    return run
