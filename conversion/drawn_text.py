"""Text that teachers make up, for a small model to read after the corpus: what they know of sentences it never saw.

Letters: S stripes, V vocabulary, N tokens.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.writing import write_atomically

from .crew import Crew
from .distillation import FOLDER, STRIPES, SoftTargets, Teacher, key_of, load_teachers, soft_targets
from .interruption import Interrupted, requests_to_stop
from .recipe import Recipe

FORMAT = 1  # of the files; to be raised when the same teachers would draw another text


def taught(
    recipe: Recipe, corpus: Corpus, out: Path, runs: Path, device: str = "auto"
) -> tuple[Corpus, SoftTargets | None]:
    """The corpus to train on, drawn text included, and the soft targets of it all; see the functions of each."""
    corpus = with_drawn_text(recipe, corpus, out, runs, device)
    return corpus, soft_targets(recipe, corpus, out, runs, device)


def with_drawn_text(recipe: Recipe, corpus: Corpus, out: Path, runs: Path, device: str = "auto") -> Corpus:
    """The corpus with `training.teacher_text` tokens more to train on, drawn from the mean of the teachers.

    The student of a larger model gains from text beyond the corpus that only the teacher has to know (Kim and Rush
    2016, section 3.2, for sequences; here words are drawn at temperature 1, not searched for). The text is kept beside
    the soft targets and is the same for the same teachers, length and seed.

    Args:
        out: folder of checkpoints, where teachers are looked for first.
        runs: folder of the runs.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        `corpus` itself where the recipe asks for no such text; validation and test text are never changed.

    Raises:
        RecipeError: there are no teachers, or one has another vocabulary. Interrupted: a signal came; nothing is kept.
    """
    count = recipe.training.teacher_text
    if not count:
        return corpus
    if not recipe.training.teachers:
        raise RecipeError(
            f"recipe {recipe.name}: teacher_text is {count} and there are no teachers; add some or take it out"
        )
    folders, models = load_teachers(recipe, corpus, out)
    path = runs / FOLDER / f"{key_of(folders, corpus, FORMAT, count, recipe.seed)}.text.npy"
    crew = Crew(device, recipe.training.batch_size)
    with crew.accelerator.main_process_first():
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            teachers = [Teacher(model.to(crew.device), recipe) for model in models]  # type: ignore[arg-type]
            drawn = draw(teachers, count, corpus.eos_id, recipe.seed, crew.is_main)
            write_atomically(path, lambda file: np.save(file, drawn))
            print(f"{path}: {count:,} tokens of {', '.join(recipe.training.teachers)} in "
                  f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
    drawn = np.load(path)
    tokens = np.concatenate([corpus.splits["train"], drawn])
    digest = hashlib.sha256(f"{corpus.sha256['train']} {hashlib.sha256(drawn.tobytes()).hexdigest()}".encode())
    return dataclasses.replace(
        corpus,
        splits={**corpus.splits, "train": tokens},
        sha256={**corpus.sha256, "train": digest.hexdigest()},
    )


@torch.inference_mode()
def draw(teachers: list[Teacher], count: int, eos_id: int, seed: int, speaks: bool = False) -> np.ndarray:
    """N tokens [N], int32: S stretches one after the other, each begun after an `<eos>`.

    Raises:
        Interrupted: a signal came.
    """
    stripes = min(STRIPES, count)
    generator = torch.Generator().manual_seed(seed)
    now = torch.full((stripes, 1), eos_id)
    drawn = np.empty((stripes, -(-count // stripes)), np.int32)
    bar = tqdm(total=count, desc="drawn", unit="tok", unit_scale=True, leave=False, disable=None if speaks else True)
    with requests_to_stop() as requests, bar:
        for column in range(drawn.shape[1]):
            if requests.number:
                raise Interrupted(requests.number)
            each = [teacher.probabilities(teacher.features(now)) for teacher in teachers]
            mean = torch.stack(each).mean(dim=0).cpu()
            now = torch.multinomial(mean, 1, generator=generator)
            drawn[:, column] = now[:, 0].numpy()
            bar.update(stripes)
    return drawn.reshape(-1)[:count]
