"""Models with many zeros made small: idle units, inputs and words go, and zeros between the others are not stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.errors import VocabularyError
from zoo.sparse_rnnlm import Sparse, column_type

from ..matrices import DENSE, Change, Model, config_with, prefix_of, with_forms
from .needed import Needed, Place, is_tied, needed

Stay = dict[str, torch.Tensor]  # axis -> old numbers of what stays, -1: a new one that is always zero


@dataclass(frozen=True)
class Shrunk:
    """A smaller model with the outputs of another.

    Args:
        model: the smaller one.
        words: old ids of the words that stay, ascending, so that places are new ids; None: all.
        zero_word: new id of a word whose vector is zero, which all words that went have become; None: none went.
        structure: of the model, as `structure_of` gives it.
    """

    model: Any
    words: list[int] | None
    zero_word: int | None
    structure: dict[str, Any]

    def translated(self, ids: torch.Tensor) -> torch.Tensor:
        """Old ids [...] -> new ids [...]."""
        if self.words is None or self.zero_word is None:
            return ids
        words = torch.tensor(self.words, device=ids.device)
        places = torch.searchsorted(words, ids).clamp(max=len(words) - 1)
        return torch.where(words[places] == ids, places, self.zero_word)


@torch.no_grad()
def shrink(model: Model, keep_words: Sequence[int] = (), unknown: int | None = None) -> Shrunk:
    """A smaller model with the same outputs, from a state of zeros, for any text.

    What nothing depends on goes (see `needed`): elements of word vectors, hidden units, outputs of a projection and of
    the map before a head. All layers are equally wide, so one that has fewer units left than another has zeros there. A
    tied head gets a map before it where the units that stay are not the elements that do. Each matrix that is left is
    stored sparsely if that takes fewer bytes, so that a constant gate is a bias. Matrices in other forms than dense and
    sparse stay as they are, and so do the axes of their rows and columns.

    In a text classifier the words whose vectors are zero become one. `<unk>` can be it if its own vector is zero: they
    are then unknown words. If not, one of them stays in their place, and outputs are the same as long as they are sent
    there: with a tokenizer that no longer knows them they get the vector of `<unk>`. A language model predicts every
    word, so there they all stay.

    Args:
        model: a language model or a text classifier.
        keep_words: ids that stay whatever their vectors are; padding, begin and end of the config always do.
        unknown: the id of `<unk>`.

    Raises:
        VocabularyError: an id that is not in the vocabulary.
    """
    found = needed(model)
    stay = _axes(model, found)
    zero_word = None
    if hasattr(model, "score") and "embed" not in found.whole:
        stay["word"], zero_word = _words(model.config, found.used["word"], keep_words, unknown)
    made = with_forms(*_resized(model, found, stay))
    return Shrunk(made, None if zero_word is None else stay["word"].tolist(), zero_word, structure_of(made))


@torch.no_grad()
def structure_of(model: Any) -> dict[str, Any]:
    """What a model needs, in the counts of the thesis, section 5; idle numbers count for nothing, stored or not.

    `words`: those with a vector that is not zero; `input`: elements of word vectors; `hidden`: units; `gates`: elements
    of gates and candidates that are not constant; `weights`: numbers in matrices that are not zero; `matrices`: name ->
    rows and columns as they are stored, and nonzeros. Of several layers, units and gates are lists.
    """
    found = needed(model)
    layers = range(model.config.num_hidden_layers)
    hidden, gates, matrices = [], [], {}
    for layer in layers:
        hidden.append(int(found.used[f"hidden.{layer}"].sum()))
        moves = found.matrices[f"input.{layer}"].ne(0).any(1)
        names = [f"{role}.{layer}" for role in ("recurrent", "candidate")]
        moves |= torch.cat([found.matrices[name].ne(0).any(1) for name in names if name in found.places])
        gates.append(int(moves.sum()))
    for name in found.stored(model.config):
        rows, columns = found.matrices[name].shape
        nonzeros = int(found.matrices[name].count_nonzero())
        matrices[name] = {"rows": rows, "columns": columns, "nonzeros": nonzeros}
    return {
        "words": int(found.used["word"].sum()),
        "input": int(found.used["element"].sum()),
        "hidden": hidden if len(layers) > 1 else hidden[0],
        "gates": gates if len(layers) > 1 else gates[0],
        "weights": sum(matrix["nonzeros"] for matrix in matrices.values()),
        "matrices": matrices,
    }


def _axes(model: Any, found: Needed) -> Stay:
    """What stays, filled up to one width per axis in all layers."""
    fixed = {axis for name in found.whole for axis in (*found.places[name].rows, found.places[name].columns)}
    fixed |= {"word", "logit"}
    used = dict(found.used)
    if is_tied(model):
        both = {"element", "feature"}
        fixed |= both if fixed & both else set()
        used["element"] = used["feature"] = used["element"] | used["feature"]
    stay = {
        axis: torch.arange(size) if axis in fixed else used[axis].nonzero()[:, 0] for axis, size in found.sizes.items()
    }
    widths: dict[str, int] = {}
    for axis, numbers in stay.items():
        kind = axis.partition(".")[0]
        widths[kind] = max(1, len(numbers), widths.get(kind, 0))
    last = found.places["output_projection"].columns if "output_projection" in found.places else ""
    if last and model.config.output_projection_size is None:  # the units can lie where the tied head reads them
        features = _filled(stay["feature"], widths["feature"])
        if widths[last.partition(".")[0]] == len(features) and torch.isin(stay[last], features).all():
            stay[last] = torch.where(torch.isin(features, stay[last]), features, -1)
    return {axis: _filled(numbers, widths[axis.partition(".")[0]]) for axis, numbers in stay.items()}


def _words(
    config: RnnLmConfig, used: torch.Tensor, keep: Sequence[int], unknown: int | None
) -> tuple[torch.Tensor, int | None]:
    """The words that stay of those with a vector [V] or without, and the new id of the others, None if all stay."""
    V, ids = len(used), [*keep, *([] if unknown is None else [unknown])]
    if wrong := [word for word in ids if not 0 <= word < V]:
        raise VocabularyError(f"the word {wrong[0]} cannot stay in a vocabulary of {V}; give ids from 0 to {V - 1}")
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        value = getattr(config, name)
        ids += value if isinstance(value, list) else [] if value is None else [value]
    stays = used.clone()
    stays[ids] = True
    if stays.all():
        return torch.arange(V), None
    zero = unknown if unknown is not None and not used[unknown] else int((~stays).nonzero()[0])
    stays[zero] = True
    return stays.nonzero()[:, 0], int(stays[:zero].sum()) if not stays.all() else None


def _resized(model: Model, found: Needed, stay: Stay) -> tuple[Model, dict[str, Change]]:
    """The model with what stays, and the forms that its matrices shall have."""
    config = _config(model, found, stay)
    made = type(model)(config)
    tensors = dict(model.state_dict())
    changes: dict[str, Change] = {}
    for name, place in found.places.items():
        if name in found.whole or (name not in config.shapes and name != "score"):
            continue
        matrix = _taken(found.matrices[name], place, found.sizes, stay)
        prefix = "score" if name == "score" else prefix_of(name)
        for key in [key for key in tensors if key.startswith(f"{prefix}.") and key != f"{prefix}.bias"]:
            del tensors[key]
        tensors[f"{prefix}.weight"] = matrix
        if name == "embed" and is_tied(model):
            for key in [key for key in tensors if key.startswith("lm_head.") and key != "lm_head.bias"]:
                del tensors[key]
            tensors["lm_head.weight"] = matrix
        spec = _smallest(matrix)
        if name != "score" and spec != DENSE:
            changes[name] = spec, Sparse.from_dense(matrix, spec)
    for name, bias in found.biases.items():
        kind, _, layer = name.partition(".")
        rows = (f"hidden.{layer}",) if kind == "candidate_bias" else found.places[f"input.{layer}"].rows
        tensors[f"model.layers.{layer}.{kind}"] = _taken(bias[:, None], Place(rows, ""), found.sizes, stay)[:, 0]
    made.load_state_dict(tensors)
    if made.can_generate():
        made.generation_config = model.generation_config
    return made.train(model.training), changes


def _config(model: Any, found: Needed, stay: Stay) -> RnnLmConfig:
    """The config with the sizes of what stays; matrices of which something was taken are dense."""
    old, sizes = model.config, {axis.partition(".")[0]: len(numbers) for axis, numbers in stay.items()}
    fields: dict[str, Any] = {"vocab_size": sizes["word"], "embedding_size": sizes["element"]}
    fields["hidden_size"] = sizes["hidden"]
    specs = {name: DENSE for name in found.places if name in old.shapes and name not in found.whole}
    if old.projection_size is not None:
        fields["projection_size"] = sizes["output"]
    if hasattr(model, "score"):
        if any(fields[name] != getattr(old, name) for name in fields):  # no head, so nothing to tie it to
            fields |= {"tie_word_embeddings": False, "output_projection_size": None}
            specs["head"] = DENSE
        places = {int(word): place for place, word in enumerate(stay["word"])}
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            value = getattr(old, name)
            fields[name] = [places[one] for one in value] if isinstance(value, list) else places.get(value)
    elif old.output_projection_size is not None:
        fields["output_projection_size"] = sizes["feature"]
    elif old.tie_word_embeddings:
        last = stay[found.places["output_projection"].columns]
        in_place = len(last) == sizes["feature"] and ((last < 0) | (last == stay["feature"])).all()
        fields["output_projection_size"] = None if in_place else sizes["feature"]
    return config_with(old, specs, **fields)


def _smallest(matrix: torch.Tensor) -> dict[str, Any]:
    """Dense or sparse, whichever takes fewer bytes with numbers of 16 bits."""
    M, N = matrix.shape
    K = max(1, int(matrix.count_nonzero()))
    return {"form": "sparse", "nonzeros": K} if K * (2 + column_type(N).itemsize) + 4 * (M + 1) < 2 * M * N else DENSE


def _filled(numbers: torch.Tensor, width: int) -> torch.Tensor:
    """Numbers [K] with as many -1 behind that they are `width`."""
    return torch.cat([numbers, numbers.new_full((width - len(numbers),), -1)])


def _taken(matrix: torch.Tensor, place: Place, sizes: dict[str, int], stay: Stay) -> torch.Tensor:
    """The rows and columns that stay, zeros where there was nothing."""
    rows, start = [], 0
    for axis in place.rows:
        rows.append(torch.where(stay[axis] < 0, -1, stay[axis] + start))
        start += sizes[axis]
    row = torch.cat(rows)
    column = stay[place.columns] if place.columns else torch.arange(matrix.shape[1])
    taken = matrix[row.clamp(min=0)][:, column.clamp(min=0)]
    taken[row < 0] = 0
    taken[:, column < 0] = 0
    return taken
