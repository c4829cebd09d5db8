"""What every text shares: the engine, the vocabulary, the lexicon, and the step that starts a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from ..hub import folder_of, verify
from ..layout import read_layout
from ..runtime import State
from .engines import Engine, open_engine
from .lexicon import Lexicon
from .vocabulary import Vocabulary

SUGGESTED = "next words are suggested by"
DEFAULT = "keyboard-medium"  # the checkpoint of a keyboard for which none is named


class KeyboardModel:
    """A checkpoint opened for keyboards; never changed after it is made, so that any number of threads may share it.

    Args:
        name: a shipped checkpoint, a folder, or `owner/name[@revision]` on the Hub; None: the default one.
        engine: `numpy`, `torch`, `onnx`, `onnx-fp16`, `onnx-int8`, `opencl` or `c`.

    Raises:
        CheckpointError: unknown, damaged, or no language model of words.
        ZooError: no such engine, or what it needs is not installed.
    """

    def __init__(self, name: str | Path | None = None, engine: str = "numpy"):
        folder = folder_of(DEFAULT if name is None else name)
        verify(folder)
        read_layout(folder).check_language_model(folder.resolve().name, SUGGESTED)
        self._open(folder.resolve().name, Vocabulary.read(folder), open_engine(engine, folder))

    @classmethod
    def of(cls, name: str, vocabulary: Vocabulary, engine: Engine) -> KeyboardModel:
        """A model of parts, e.g. an engine of your own."""
        model = cls.__new__(cls)
        model._open(name, vocabulary, engine)
        return model

    def _open(self, name: str, vocabulary: Vocabulary, engine: Engine) -> None:
        engine.layout.check_language_model(name, SUGGESTED)
        if len(vocabulary.words) != engine.layout.vocab_size:
            raise CheckpointError(
                f"the vocabulary has {len(vocabulary.words)} words and the model {engine.layout.vocab_size}; "
                "they are of different checkpoints: get both again"
            )
        self.name, self.vocabulary, self.engine = name, vocabulary, engine
        ids = np.flatnonzero(vocabulary.suggestible).tolist()
        self.lexicon = Lexicon([vocabulary.words[token] for token in ids], ids)
        self.start_log_probs, self.start_state = self.step(vocabulary.eos, None)

    def step(self, token: int, state: State | None) -> tuple[np.ndarray, State]:
        """One token further: log probabilities [V] of the next, which must not be written to, and the state."""
        log_probs, after = self.engine.step(token, state)
        log_probs.flags.writeable = False
        return log_probs, after
