"""Group variables: one multiplicative noise for all weights that an input, a hidden unit, a gate or a word has.

Letters: V vocabulary, D embedding, H hidden, G*H rows of a layer's matrices (i, f, g, o of an LSTM).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zoo.configuration_rnnlm import RnnLmConfig
from zoo.errors import RecipeError

Kind = Literal["inputs", "hidden", "gates", "words"]
KINDS: tuple[Kind, ...] = ("inputs", "hidden", "gates", "words")


@dataclass(frozen=True)
class Group:
    """Variables z [size], one for each row or column of some matrices.

    Args:
        name: `kind.layer`, or the kind alone.
        size: how many.
        rows: matrices whose rows they multiply.
        columns: matrices whose columns they multiply.
    """

    name: str
    size: int
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


def groups_of(config: RnnLmConfig, kinds: tuple[str, ...], matrices: list[str], score: int = 0) -> list[Group]:
    """The group variables of a model (thesis, section 4.2).

    Args:
        kinds: among KINDS.
        matrices: names of those that are sparsified; a group acts on no other.
        score: classes of a text classifier's last layer, `score`; 0: the model has none.

    Raises:
        RecipeError: words of a tied embedding, gates of a cell that has none, or a group without a matrix.
    """
    layers, H = range(config.num_hidden_layers), config.hidden_size
    found: list[Group] = []
    if "words" in kinds:
        if config.tie_word_embeddings and not score:
            raise RecipeError(
                "groups has words, but the embedding is tied to the head, which predicts every word; leave words out, "
                "or untie = true"
            )
        found.append(Group("words", config.vocab_size, rows=("embed",)))
    if "inputs" in kinds:
        found.append(Group("inputs", config.embedding_size, columns=("input.0",)))
    for layer in layers:
        last = layer + 1 == config.num_hidden_layers
        above = ("score" if score else "output_projection" if config.output_projection_size else "head",)
        readers = above if last else (f"input.{layer + 1}",)
        if "hidden" in kinds and config.projection_size is None:
            if last and readers == ("head",) and config.tie_word_embeddings:
                readers = ("embed",)
            found.append(Group(f"hidden.{layer}", H, columns=(f"recurrent.{layer}", *readers)))
        elif "hidden" in kinds:
            found.append(Group(f"hidden.{layer}", H, columns=(f"projection.{layer}",)))
        if "gates" in kinds:
            if config.cell == "rnn":
                raise RecipeError("groups has gates, but the cell is rnn, which has none; leave gates out")
            rows = config.shapes[f"input.{layer}"][0]
            if config.shapes[f"recurrent.{layer}"][0] != rows:
                raise RecipeError("groups has gates, which a projected GRU has in two matrices; leave gates out")
            found.append(Group(f"gates.{layer}", rows, rows=(f"input.{layer}", f"recurrent.{layer}")))
    kept = []
    for group in found:
        own_rows = tuple(name for name in group.rows if name in matrices)
        own_columns = tuple(name for name in group.columns if name in matrices)
        if not own_rows and not own_columns:
            acts = ", ".join((*group.rows, *group.columns))
            raise RecipeError(f"the groups {group.name} act on {acts}, none of which is in roles; add one of them")
        kept.append(Group(group.name, group.size, own_rows, own_columns))
    return kept
