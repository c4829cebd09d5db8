"""What quantization and pruning cost without any training, on the validation and the test text.

python -m conversion.ablations.one_shot lstm-200-ptb --data DIR --out bench/results/lstm-200-ptb/one-shot.json
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from zoo.corpora import Corpus, load_corpus
from zoo.hub import folder_of
from zoo.loading import load
from zoo.modeling_rnnlm import RnnLmForCausalLM
from zoo.scoring import score_stream

from ..checkpoint import provenance
from ..matrices import matrix_of, untied
from ..methods import METHODS
from ..pipeline import stored_bytes
from .command import parser, write_table

PROGRAM = "conversion.ablations.one_shot"
SPLITS = ("valid", "test")
HEAD: dict[str, Any] = {"roles": ("head",), "sparsity": 0.9, "untie": True}
# method, fields of its spec; the first of each method is what the paper does (Grachev et al. 2019, Table 1).
ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("quantize", {"bits": 8, "scheme": "range"}),
    ("quantize", {"bits": 8, "scheme": "row"}),
    ("quantize", {"bits": 4, "group": 32}),
    ("quantize", {"bits": 4, "group": 32, "limits": "error"}),
    ("quantize", {"bits": 4, "group": 16, "limits": "error"}),
    ("prune", HEAD),
    ("prune", {**HEAD, "scope": "row"}),
    ("prune", {**HEAD, "criterion": "activation"}),
    ("prune", {**HEAD, "criterion": "curvature"}),
    ("prune", {**HEAD, "criterion": "curvature", "refit": True}),
)


def table(checkpoint: str, corpus: str, data_dir: str | None) -> dict[str, Any]:
    """Perplexity at batch 1 of the parent and of every row, and the share of it that each row adds.

    Raises:
        ZooError: checkpoint or corpus cannot be used.
    """
    folder = folder_of(checkpoint)
    model, tokenizer = load(folder)
    data = load_corpus(corpus, data_dir, tokenizer=tokenizer)
    parent = {split: perplexity(model, data, split) for split in SPLITS}
    rows = []
    for method, fields in tqdm(ROWS, desc="rows", disable=None, leave=False):
        made = METHODS[method].compress(model, METHODS[method].Spec(**fields), data)
        twin = dense_twin(model, made)
        found = {split: perplexity(twin, data, split) for split in SPLITS}
        told = {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
        ratios = {f"{split}_ratio": round(found[split] / parent[split], 5) for split in SPLITS}
        rows.append({"method": method, **told, "bytes": stored_bytes(made), **found, **ratios})
        tqdm.write(f"{method} {told}: {', '.join(f'{split} {found[split]:.2f}' for split in SPLITS)}")
    return {
        "name": folder.name,
        "corpus": Path(corpus).name,
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "texts": dict(data.sha256),
        "batch_size": 1,
        "parent": {"bytes": stored_bytes(model), **parent},
        "rows": rows,
        "versions": provenance(),
    }


@torch.no_grad()
def dense_twin(model: RnnLmForCausalLM, made: RnnLmForCausalLM) -> RnnLmForCausalLM:
    """The model with the matrices that those of a compressed one stand for: the same function, scored faster."""
    twin = untied(model) if not made.config.tie_word_embeddings else model
    twin = type(twin)(twin.config).eval()
    twin.load_state_dict({**model.state_dict(), **{key: made.state_dict()[key] for key in ("lm_head.bias",)}})
    for name in made.config.shapes:
        matrix_of(twin, name).weight.copy_(matrix_of(made, name).to_dense())
    return twin


def perplexity(model: RnnLmForCausalLM, data: Corpus, split: str) -> float:
    """Of one split, by the published protocol."""
    return round(score_stream(model, data.splits[split], data.eos_id).perplexity, 4)


def main(arguments: list[str] | None = None) -> int:
    """Makes the table of one checkpoint."""
    options = parser(PROGRAM, __doc__)
    given = options.parse_args(arguments)
    return write_table(PROGRAM, given.out, lambda: table(given.checkpoint, given.corpus, given.data))


if __name__ == "__main__":
    sys.exit(main())
