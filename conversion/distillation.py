"""Soft targets: what the teachers expect at every token of the training text, made once and mapped from a file.

Letters: N tokens, S stripes, B batch, T time, V vocabulary, K words of a soft target.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import IO

import numpy as np
import torch
from tqdm import tqdm

from zoo.cache_rnnlm import RnnLmCache
from zoo.corpora import Corpus
from zoo.errors import RecipeError
from zoo.hub import folder_of
from zoo.loading import load
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.tokenization import words_by_id
from zoo.writing import write_atomically

from .crew import Crew
from .interruption import Interrupted, requests_to_stop
from .objective import Soft, product_dtype
from .recipe import Recipe

FORMAT = 1  # of the files; to be raised when the same teachers would give others
FOLDER = "_soft-targets"  # beside the runs; no recipe can have this name
STRIPES = 64  # of the text, read side by side
LEAST = 1000  # tokens of a stripe, as each begins without a context
WINDOW = 32  # time steps
LOGITS = 1 << 20  # made at once, few enough for the cache of a processor core


class SoftTargets:
    """The teachers' distributions of a text.

    Args:
        path: a file that `soft_targets` made: per token `words` [K] and `shares` [K + 1], at the end of which is the
            share of all other words.
    """

    def __init__(self, path: Path):
        self.table = np.load(path, mmap_mode="r")  # [N], larger than memory perhaps

    def __len__(self) -> int:
        return len(self.table)

    def at(self, places: np.ndarray, device: torch.device | str = "cpu") -> Soft:
        """Words [B, T, K] and shares [B, T, K + 1], which sum to one, of places [B, T] in the text."""
        found = self.table[places]
        words = torch.from_numpy(found["words"].astype(np.int64))
        shares = torch.from_numpy(found["shares"].astype(np.float32))
        return words.to(device), (shares / shares.sum(dim=-1, keepdim=True)).to(device)


def soft_targets(recipe: Recipe, corpus: Corpus, out: Path, runs: Path, device: str = "auto") -> SoftTargets | None:
    """The soft targets of a recipe's teachers; None where it has none.

    They are kept in a folder beside the runs, which may be removed, under the hash of all that they depend on, so that
    other recipes with the same teachers find them there.

    Args:
        out: folder of checkpoints, where teachers are looked for first.
        runs: folder of the runs.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        RecipeError: a teacher has another vocabulary than the corpus. CheckpointError: there is no such teacher.
        Interrupted: a signal came; nothing is kept.
    """
    options = recipe.training
    if not options.teachers or not options.teacher_weight:
        return None
    folders, models = load_teachers(recipe, corpus, out)
    top = min(options.teacher_top, corpus.vocab_size - 1)
    path = runs / FOLDER / f"{key_of(folders, corpus, FORMAT, top, options.teacher_temperature)}.npy"
    crew = Crew(device, options.batch_size)
    with crew.accelerator.main_process_first():
        try:
            return SoftTargets(path)
        except (OSError, ValueError, EOFError):  # absent, or damaged
            path.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        teachers = [Teacher(model.to(crew.device), recipe) for model in models]  # type: ignore[arg-type]
        write_atomically(path, lambda file: _fill(file, teachers, corpus, top, crew.is_main))
    if crew.is_main:
        size, seconds = path.stat().st_size / 1e6, time.monotonic() - began
        print(f"{path}: soft targets of {', '.join(options.teachers)}, {size:.0f} MB in {seconds:.0f} s", flush=True)
    return SoftTargets(path)


def check_targets(recipe: Recipe, targets: SoftTargets | None, tokens: int) -> None:
    """Refuses to train without the soft targets that a recipe asks for, or with those of another text (RecipeError)."""
    wanted = bool(recipe.training.teachers) and recipe.training.teacher_weight > 0
    if wanted != (targets is not None):
        raise RecipeError(
            f"recipe {recipe.name} names {'' if wanted else 'no '}teachers and soft targets are "
            f"{'missing' if wanted else 'given'}; pass what conversion.distillation.soft_targets(recipe, ...) returns"
        )
    if targets is not None and len(targets) != tokens:
        raise RecipeError(f"recipe {recipe.name}: {len(targets):,} soft targets for a text of {tokens:,} tokens")


def load_teachers(recipe: Recipe, corpus: Corpus, out: Path) -> tuple[list[Path], list[RnnLmForCausalLM]]:
    """The folders of a recipe's teachers, looked for in `out` first, and their models."""
    names = recipe.training.teachers
    folders = [folder_of(out / name if (out / name).is_dir() else name) for name in names]
    return folders, [_load(recipe, folder, corpus) for folder in folders]


def _load(recipe: Recipe, folder: Path, corpus: Corpus) -> RnnLmForCausalLM:
    """A teacher, if its words are those of the corpus."""
    model, tokenizer = load(folder)
    words = words_by_id(tokenizer)
    if words != corpus.vocabulary:
        places = zip(words, corpus.vocabulary, strict=False)
        i = next((i for i, (one, other) in enumerate(places) if one != other), min(len(words), corpus.vocab_size))
        raise RecipeError(
            f"recipe {recipe.name}: the teacher {folder.name} has another vocabulary ({len(words):,} words) than the "
            f"model ({corpus.vocab_size:,} words), different from id {i} on; give teachers with the tokenizer of the "
            f"parent, or made from the same corpus ({corpus.name})"
        )
    return model


def key_of(folders: list[Path], corpus: Corpus, *settings: float) -> str:
    """A name for what teachers make of a text; another one where anything that it depends on is another."""

    def digest(content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()

    files = sorted([digest((folder / name).read_bytes()) for name in ("model.safetensors", "config.json")]
                   for folder in folders)  # fmt: skip
    words = digest("\n".join(corpus.vocabulary).encode())
    return digest(repr([settings[0], files, corpus.sha256["train"], words, *settings[1:]]).encode())[:32]


class Teacher:
    """A model that reads S stripes and carries its state."""

    def __init__(self, model: RnnLmForCausalLM, recipe: Recipe):
        self.model, self.cache = model.eval(), RnnLmCache(model.config)
        self.temperature = recipe.training.teacher_temperature
        bf16 = product_dtype(recipe.training.precision, model.device) == torch.bfloat16
        self.autocast = torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16)

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """inputs [S, T] -> what the head reads [S T, D]."""
        with self.autocast:
            hidden = self.model.model(inputs.to(self.model.device), past_key_values=self.cache, use_cache=True)
            return self.model.readout(hidden.last_hidden_state).flatten(0, 1)

    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """features [n, D] -> [n, V], fp32."""
        with self.autocast:
            logits = self.model.logits(features)
        return (logits.float() / self.temperature).softmax(dim=1)


@torch.inference_mode()
def _expected(teachers: list[Teacher], inputs: torch.Tensor, top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """inputs [S, T] -> by the teachers' mean, the most probable words [S T, K] and their shares [S T, K + 1]."""
    few = max(1, LOGITS // teachers[0].model.config.vocab_size)
    found = []
    for parts in zip(*(teacher.features(inputs).split(few) for teacher in teachers), strict=True):
        each = [teacher.probabilities(part) for teacher, part in zip(teachers, parts, strict=True)]
        shares, words = (torch.stack(each).mean(dim=0) if len(each) > 1 else each[0]).topk(top, dim=1)
        others = (1 - shares.sum(dim=1, keepdim=True)).clamp_min(0)
        found.append((words.cpu(), torch.cat([shares, others], dim=1).cpu()))
    words, shares = (torch.cat(column) for column in zip(*found, strict=True))
    return words, shares


def _fill(file: IO[bytes], teachers: list[Teacher], corpus: Corpus, top: int, speaks: bool) -> None:
    """Writes an npy file of N records, a window of all stripes at a time, each to its place."""
    tokens = corpus.splits["train"]
    N = len(tokens)
    S = max(1, min(STRIPES, N // LEAST))
    length = -(-N // S)
    ids = np.uint16 if corpus.vocab_size <= 1 << 16 else np.int32
    kind = np.dtype([("words", ids, (top,)), ("shares", np.float16, (top + 1,))])
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (N,)}
    np.lib.format.write_array_header_1_0(file, header)
    begin = file.tell()
    bar = tqdm(total=N, desc="teachers", unit="tok", unit_scale=True, leave=False, disable=None if speaks else True)
    with requests_to_stop() as requests, bar:
        for column in range(0, length, WINDOW):
            if requests.number:
                raise Interrupted(requests.number)
            # The last stripes may be shorter than the others; they read the last token again and write nothing there.
            places = np.arange(S, dtype=np.int64)[:, None] * length + np.arange(column, min(column + WINDOW, length))
            inputs = tokens[np.clip(places - 1, 0, N - 1)].astype(np.int64)
            inputs[places == 0] = corpus.eos_id
            words, shares = _expected(teachers, torch.from_numpy(inputs), top)
            records = np.empty(places.shape, kind)
            records["words"], records["shares"] = words.view(*places.shape, -1), shares.view(*places.shape, -1)
            for place, row in zip(places, records, strict=True):
                if place[0] < N:
                    file.seek(begin + int(place[0]) * kind.itemsize)
                    file.write(row[place < N].tobytes())
            bar.update(int((places < N).sum()))
