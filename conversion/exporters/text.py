"""The text on which exported files are checked.

Letters: B texts side by side, T time, N tokens, V vocabulary.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zoo.corpora import load_corpus
from zoo.errors import CorpusError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from zoo import RnnLmForCausalLM

POSITIONS = 2000


@dataclass(frozen=True)
class CheckText:
    """ids [N] of one text, and where they are from."""

    ids: np.ndarray
    source: str


def check_text(
    model: RnnLmForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    corpus: str | Path | None,
    data: str | Path | None,
    positions: int = POSITIONS,
) -> CheckText:
    """The first tokens of a corpus's test text; of the model's own where no corpus is named and none is there.

    Raises:
        CorpusError: the named corpus cannot be read.
    """
    if corpus is not None or data is not None or os.environ.get("ZOO_DATA"):
        name = "ptb" if corpus is None else corpus
        try:
            ids = load_corpus(name, data, tokenizer=tokenizer, splits=("test",)).splits["test"]
            text = np.array(ids[:positions], np.int64)
            if len(text) == positions:
                return CheckText(text, f"{name}, test, its first tokens")
            made = sample(model, 1, positions - len(text))[0]
            return CheckText(np.concatenate([text, made]), f"{name}, test, and what the model makes, seed 0")
        except CorpusError:
            if corpus is not None or data is not None:
                raise
    return CheckText(sample(model, 1, positions)[0], "made by the model itself, seed 0")


@torch.no_grad()
def sample(model: RnnLmForCausalLM, B: int, T: int) -> np.ndarray:
    """Texts [B, T] drawn from the model, seed 0."""
    generator = torch.Generator().manual_seed(0)
    eos = model.config.eos_token_id
    start = eos if isinstance(eos, int) else 0
    tokens, states, texts = torch.full((B,), start), None, []
    for _ in range(T):
        logits, states = model.step(tokens, states)
        tokens = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
        texts.append(tokens)
    return torch.stack(texts, 1).numpy()
