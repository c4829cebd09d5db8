"""A model whose words and probabilities a test chooses, and small random ones on disk."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tests.zoo.folders import write_checkpoint
from tests.zoo.models import model_of
from zoo.keyboard import KeyboardModel
from zoo.keyboard.vocabulary import Vocabulary

# By falling probability.
WORDS = [
    *"<unk> <eos> . , the I to a and it's they then there don't May may I'm is it good think London thing".split(),
    *"shit morning ! ? \" - ( ) ' 😀 2 NASA damn everything".split(),
]
PENN = "<unk> <eos> the N to 's a do n't company said it of shares is in and they".split()


class ScriptedEngine:
    """Probability falls with the id, whatever was read, but for words that `after` puts first; counts its steps."""

    def __init__(self, size: int, after: dict[int, list[int]] | None = None):
        self.layout = SimpleNamespace(vocab_size=size, check_language_model=lambda *_: None)
        self.after, self.read = after or {}, []

    def step(self, token, state):
        self.read.append(int(token))
        scores = -np.arange(1, self.layout.vocab_size + 1, dtype=np.float64) / 4
        for place, best in enumerate(self.after.get(int(token), [])):
            scores[best] = 3 - place
        scores -= np.log(np.exp(scores).sum())
        h = np.zeros(1, np.float32) if state is None else state[0][0]
        return scores.astype(np.float32), ((np.float32(0.5) * h + np.float32(token), np.zeros(0, np.float32)),)


def scripted(words=WORDS, after: dict[str, list[str]] | None = None) -> KeyboardModel:
    """A model over a scripted engine; `after`: word -> the words that are likeliest after it."""
    vocabulary = Vocabulary(words)
    ids = vocabulary.ids
    places = {ids[word]: [ids[next_] for next_ in best] for word, best in (after or {}).items()}
    return KeyboardModel.of("invented", vocabulary, ScriptedEngine(len(words), places))


def write_keyboard(folder: Path, words=WORDS, **options) -> Path:
    """A checkpoint folder of a random model with these words, a CIFG as the keyboard family is."""
    return write_checkpoint(
        folder, model_of(vocab_size=len(words), **{"cell": "cifg", "projected": True, **options}), words
    )


def texts(suggestions) -> list[str]:
    """What the suggestions say."""
    return [suggestion.text for suggestion in suggestions]


def type_all(keyboard, words: list[str], text: str = "") -> str:
    """Commits words to a text; the text after it."""
    for word in words:
        text = applied(text, keyboard.commit(word))
    return text


def applied(text: str, transform) -> str:
    """A text after a change at its end."""
    delete, insert = transform
    assert delete <= len(text)
    return text[: len(text) - delete] + insert
