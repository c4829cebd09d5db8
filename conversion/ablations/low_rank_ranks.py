"""Validation perplexity over ranks: plain singular values against weighted ones, before any fine-tuning.

python -m conversion.ablations.low_rank_ranks lstm-200-ptb --data DIR --out bench/results/lstm-200-ptb/low-rank.json
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zoo.corpora import load_corpus
from zoo.errors import RecipeError
from zoo.hub import folder_of
from zoo.loading import load
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.scoring import score_stream

from .. import low_rank, shared_projection
from ..activations import measure
from ..checkpoint import provenance
from .command import parser, write_table

PROGRAM = "conversion.ablations.low_rank_ranks"
RANKS = (25, 50, 100, 150)
PLACES = ("head", "embed", "input", "recurrent", "shared_projection")
BATCH_SIZE = 10  # stripes of the validation text: quick, a little above the published protocol's batch 1


def table(checkpoint: str, corpus: str, data_dir: str | None, ranks: tuple[int, ...] = RANKS) -> dict[str, Any]:
    """Every place and rank, plain and weighted; a rank above what a place allows is left out.

    Places: `head`, with a matrix of its own; `embed`, with the head where they are tied; `input` and `recurrent`
    matrices of all layers; `shared_projection`.

    Raises:
        ZooError: checkpoint or corpus cannot be used.
    """
    folder = folder_of(checkpoint)
    model, tokenizer = load(folder)
    data = load_corpus(corpus, data_dir, tokenizer=tokenizer, splits=("train", "valid"))
    known, tokens = measure(model, data), data.splits["valid"]

    def score(made: RnnLmForCausalLM) -> dict[str, float]:
        scores = score_stream(made, tokens, data.eos_id, batch_size=BATCH_SIZE)
        return {"perplexity": scores.perplexity, "standard_error": scores.standard_error}

    rows = []
    for place, rank in tqdm(list(possible(model, ranks)), desc="ranks", disable=None, leave=False):
        row: dict[str, Any] = {"place": place, "rank": rank}
        for name, weighted in (("plain", False), ("weighted", True)):
            method, spec = step(model, place, rank, weighted)
            made = method.compress(model, spec, data, known)
            row |= {"parameters": made.num_parameters(), name: score(made)}
        rows.append(row)
        tqdm.write(
            f"{place} {rank}: plain {row['plain']['perplexity']:.2f}, weighted {row['weighted']['perplexity']:.2f}"
        )
    return {
        "name": folder.name,
        "corpus": Path(corpus).name,
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "texts": dict(data.sha256),
        "split": "valid",
        "targets": len(tokens),
        "batch_size": BATCH_SIZE,
        "parent": {"parameters": model.num_parameters(), **score(model)},
        "rows": rows,
        "versions": provenance(),
    }


def step(model: RnnLmForCausalLM, place: str, rank: int, weighted: bool) -> tuple[Any, Any]:
    """The method of a place and its spec."""
    if place == "shared_projection":
        return shared_projection, shared_projection.Spec(rank, weighted)
    untie = place == "head" and model.config.tie_word_embeddings
    return low_rank, low_rank.Spec((place,), rank, weighted=weighted, untie=untie)


def possible(model: RnnLmForCausalLM, ranks: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """Places and ranks that a model allows."""
    for place in PLACES:
        for rank in ranks:
            method, spec = step(model, place, rank, True)
            try:
                method.plan(model.config, spec)
            except RecipeError:
                continue
            yield place, rank


def main(arguments: list[str] | None = None) -> int:
    """Makes the table of one checkpoint."""
    options = parser(PROGRAM, __doc__)
    options.add_argument("--ranks", type=int, nargs="+", default=list(RANKS), help=f"default: {RANKS}")
    given = options.parse_args(arguments)
    return write_table(
        PROGRAM, given.out, lambda: table(given.checkpoint, given.corpus, given.data, tuple(given.ranks))
    )


if __name__ == "__main__":
    sys.exit(main())
