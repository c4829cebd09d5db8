"""How the tensors of recurrent networks are called."""

from __future__ import annotations

import re
from typing import NamedTuple

# torch's names: weight_ih_l0 ..., `_raw` of those that AWD-LSTM drops at random, behind `module.` of its wrapper.
RECURRENT = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?P<what>weight|bias)_(?P<of>ih|hh|hr)_l(?P<layer>\d+)(?P<reverse>_reverse)?(?P<raw>_raw)?"
)
EMBEDDING = re.compile(r"emb|encoder|lookup|wte", re.IGNORECASE)  # in the name of a table of word vectors


class Names(NamedTuple):
    """Tensor of the word vectors, prefix of the recurrent layers, tensor of the output layer; None: to be found."""

    embedding: str | None
    rnn: str | None
    head: str | None


KINDS = {
    "word_language_model": Names("encoder.weight", "rnn", "decoder.weight"),
    "awd_lstm": Names("encoder.weight", "rnns", "decoder.weight"),
    "torch": Names(None, None, None),
}


def below(name: str, prefix: str) -> bool:
    """Whether a prefix of tensors is another one, or lies in it."""
    return name == prefix or name.startswith(f"{prefix}.")


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts rnns.2 before rnns.10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def shape_of(prefix: str) -> str:
    """A prefix with its numbers left out: equal for the members of one stack."""
    return re.sub(r"\d+", "#", prefix)
