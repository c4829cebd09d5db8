"""Which numbers of a model its outputs depend on: what nobody reads, and what is always zero, does nothing.

An axis is what rows or columns of matrices stand for: `word`, `element` (of a word vector), `hidden.0`, `output.0` (of
a projection; without one it is the same as hidden), `feature` (what a head behind a map reads), `logit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from zoo.configuration_rnnlm import GATES
from zoo.errors import RecipeError
from zoo.plain_network import check_plain

from ..matrices import matrix_of, spec_of, stored_singly

CANDIDATE = {"lstm": 2, "cifg": 1, "gru": 2, "rnn": 0}  # which of them makes the output zero where it is zero
Masks = dict[str, torch.Tensor]  # by axis, bool
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Place:
    """Axes of a matrix: of its rows, one after another (gate after gate), and of its columns."""

    rows: tuple[str, ...]
    columns: str


@dataclass(frozen=True)
class Needed:
    """What is left of a model.

    Args:
        places: name of a matrix -> its axes; of a tied head too, which also has a map before it, the identity if it has
            no other; `score` instead of a head in a text classifier.
        sizes: axis -> how many there are.
        whole: names of the matrices that are stored in other forms, which are passed over and stay as they are.
        used: axis -> those that the outputs depend on; of `word` those whose vector is not zero.
        matrices: name -> the matrix with zeros where nothing depends on its numbers, ones where it is whole.
        biases: `bias.0`, `candidate_bias.0` ... -> the bias, zero for units that nothing depends on.
    """

    places: dict[str, Place]
    sizes: dict[str, int]
    whole: frozenset[str]
    used: Masks
    matrices: Tensors
    biases: Tensors

    def stored(self, config: Any) -> Iterator[str]:
        """The names of the matrices that the model has, a tied one once."""
        return (name for name in self.places if name in config.shapes or name == "score")


@torch.no_grad()
def needed(model: Any) -> Needed:
    """What the outputs of a model depend on, from a state of zeros, for any text.

    A number counts if a path of numbers that are not zero leads from it to an output, and if what it multiplies can be
    something else than zero. All else is found, also units that only read each other.

    Raises:
        RecipeError: a model with Mogrifier gating or several softmaxes.
    """
    check_plain(model.config, "shrinking a model to its nonzeros", "leave its zeros in place", RecipeError)
    places = places_of(model)
    whole = frozenset(name for name in places if _is_whole(model, name))
    matrices = {name: _matrix(model, name, name in whole) for name in places}
    biases = {}
    for number, layer in enumerate(model.model.layers):
        biases[f"bias.{number}"] = layer.bias.detach().cpu().clone()
        if layer.candidate_bias is not None:
            biases[f"candidate_bias.{number}"] = layer.candidate_bias.detach().cpu().clone()
    sizes = {}
    for name, place in places.items():
        sizes[place.columns] = matrices[name].shape[1]
        if len(set(place.rows)) == 1:
            sizes[place.rows[0]] = len(matrices[name]) // len(place.rows)
    zero = _always_zero(model.config, places, matrices, biases, sizes)
    used = _used(places, matrices, sizes, zero)
    vectors = used["element"] | used["feature"] if is_tied(model) else used["element"]
    for name, place in places.items():
        matrices[name][:, ~(vectors if name == "embed" else used[place.columns])] = 0
        if name != "embed":
            matrices[name][~_rows(place, used)] = 0
    used["word"] = matrices["embed"].ne(0).any(1)
    for name, bias in biases.items():
        kind, _, layer = name.partition(".")
        rows = used[f"hidden.{layer}"] if kind == "candidate_bias" else _rows(places[f"input.{layer}"], used)
        bias[~rows] = 0
    return Needed(places, sizes, whole, used, matrices, biases)


def places_of(model: Any) -> dict[str, Place]:
    """The axes of every matrix, in the order of the network."""
    config, layers = model.config, model.config.num_hidden_layers
    plain = config.projection_size is None
    outputs = [f"hidden.{layer}" if plain else f"output.{layer}" for layer in range(layers)]
    projected_gru = config.cell == "gru" and not plain
    places = {"embed": Place(("word",), "element")}
    for layer, output in enumerate(outputs):
        hidden = f"hidden.{layer}"
        gates = (output, output, hidden) if projected_gru else (hidden,) * GATES[config.cell]
        places[f"input.{layer}"] = Place(gates, outputs[layer - 1] if layer else "element")
        places[f"recurrent.{layer}"] = Place(gates[:2] if projected_gru else gates, output)
        if projected_gru:
            places[f"candidate.{layer}"] = Place((hidden,), output)
        if not plain:
            places[f"projection.{layer}"] = Place((output,), hidden)
    if hasattr(model, "score"):
        return places | {"score": Place(("logit",), outputs[-1])}
    if config.output_projection_size is None and not config.tie_word_embeddings:
        return places | {"head": Place(("logit",), outputs[-1])}
    return places | {"output_projection": Place(("feature",), outputs[-1]), "head": Place(("logit",), "feature")}


def is_tied(model: Any) -> bool:
    """Whether word vectors are the rows of the head too."""
    return model.config.tie_word_embeddings and not hasattr(model, "score")


def _is_whole(model: Any, name: str) -> bool:
    """Whether no number can be taken out of a matrix; of a map that is not there all can."""
    if name == "score" or (name == "output_projection" and model.output_projection is None):
        return False
    return not stored_singly(spec_of(model.config, name))


def _matrix(model: Any, name: str, whole: bool) -> torch.Tensor:
    """A copy of a matrix; ones for one that stays whole, the identity for a map that is not there."""
    if name == "score":
        return model.score.weight.detach().cpu().clone()
    if name == "output_projection" and model.output_projection is None:
        return torch.eye(model.config.layer_output_size)
    if whole:
        return torch.ones(model.config.shapes["embed" if name == "head" and is_tied(model) else name])
    return matrix_of(model, name).to_dense().detach().cpu().clone()


def _rows(place: Place, masks: Masks) -> torch.Tensor:
    """The masks of a matrix's rows, one after another."""
    return torch.cat([masks[axis] for axis in place.rows])


def _always_zero(
    config: Any, places: dict[str, Place], matrices: Tensors, biases: Tensors, sizes: dict[str, int]
) -> Masks:
    """Axis -> those that are zero whatever the text, because all that they are made from is.

    By induction over time: the state begins as zeros; where a candidate (g of an LSTM, n of a GRU, the unit of an RNN)
    reads nothing but zeros and has no bias, the state stays zero, whatever the other gates are.
    """
    zero = {axis: torch.ones(size, dtype=torch.bool) for axis, size in sizes.items()}
    zero["element"] = ~matrices["embed"].ne(0).any(0)
    made: dict[str, list[tuple[torch.Tensor, str]]] = {}  # axis -> what makes it: numbers that are not zero, their axis

    def add(place: Place, tensor: torch.Tensor, block: int) -> None:
        part = tensor.split([sizes[axis] for axis in place.rows])[block]
        made.setdefault(place.rows[block], []).append((part.reshape(len(part), -1).ne(0), place.columns))

    block = CANDIDATE[config.cell]
    zero[""] = torch.zeros(1, dtype=torch.bool)  # what a bias is multiplied with
    for layer in range(config.num_hidden_layers):
        above = places[f"input.{layer}"]
        add(above, matrices[f"input.{layer}"], block)
        add(Place(above.rows, ""), biases[f"bias.{layer}"], block)
        if f"candidate_bias.{layer}" in biases:
            add(Place((f"hidden.{layer}",), ""), biases[f"candidate_bias.{layer}"], 0)
        own = f"candidate.{layer}" in places
        name = f"candidate.{layer}" if own else f"recurrent.{layer}"
        add(places[name], matrices[name], 0 if own else block)
    for name in [name for name in places if "projection" in name]:
        add(places[name], matrices[name], 0)
    changed = True
    while changed:
        changed = False
        for axis, parts in made.items():
            now = ~torch.stack([numbers[:, ~zero[source]].any(1) for numbers, source in parts]).any(0)
            changed |= not torch.equal(now, zero[axis])
            zero[axis] = now
    return zero


def _used(places: dict[str, Place], matrices: Tensors, sizes: dict[str, int], zero: Masks) -> Masks:
    """Axis -> those that an output depends on."""
    used = {axis: torch.zeros(size, dtype=torch.bool) for axis, size in sizes.items()}
    used["logit"][:] = True
    changed = True
    while changed:
        changed = False
        for name, place in reversed(places.items()):
            if name == "embed":
                continue
            read = matrices[name][_rows(place, used)].ne(0).any(0) & ~zero[place.columns] | used[place.columns]
            changed |= not torch.equal(read, used[place.columns])
            used[place.columns] = read
    return used
