"""A checkpoint as C: the sources of its step, and one file with its numbers and words.

Letters: V vocabulary.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo import RnnLmForCausalLM

from .c_file import file_of
from .c_library import FLAGS, SOURCES, CModel, compiler_version, library_of
from .check import Run, as_json, compare, refuse
from .text import CheckText

FILE = "model.rnnlm"


def write(model: RnnLmForCausalLM, text: CheckText, folder: Path, variants: Sequence[str]) -> dict[str, Any]:
    """Writes `model.rnnlm` and the C files that read it; what the check of the compiled files showed.

    Raises:
        CheckpointError: they do not compute what torch computes.
        ZooError: no C compiler, or it ends with an error.
    """
    sources = [Path(shutil.copyfile(path, folder / path.name)) for path in sorted(SOURCES.glob("*.[ch]"))]
    library = library_of(folder)
    (folder / FILE).write_bytes(file_of(Path(model.name_or_path)))  # the folder that it was loaded from
    sizes = [size for layer in model.model.layers for size in layer.state_sizes if size]
    zeros = [np.zeros((1, size), np.float32) for size in sizes]
    found = compare(model, text, {FILE: runner(CModel(library, folder / FILE))}, zeros, {FILE})
    refuse(FILE, found[FILE], exact=True)
    versions = {"cc": compiler_version(), "flags": " ".join(FLAGS)}
    names = [path.name for path in sources]
    return {"text": text.source, "files": as_json(found), "sources": names, "versions": versions}


def runner(model: CModel) -> Run:
    """Runs the compiled step: ids [1, 1] and states -> logits [1, 1, V] and states."""
    scratch = model.scratch()

    def run(ids: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        state, logits = np.concatenate(states, axis=1)[0], np.empty((1, 1, model.vocabulary), np.float32)
        model.step(int(ids[0, 0]), state, logits, scratch)
        return logits, np.split(state[None], np.cumsum([part.shape[1] for part in states])[:-1], axis=1)

    return run
