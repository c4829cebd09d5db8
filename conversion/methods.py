"""The compression methods by the names that recipes use."""

from __future__ import annotations

from types import ModuleType

from . import bayes, low_rank, narrow_embedding, prune, prune_units, quantize, shared_projection, tensor_train

# Each has `Spec`, `plan(config, spec) -> config`, `compress(model, spec, data) -> model`, and where fine-tuning comes
# before the conversion, `prepare(model, spec, data) -> model`, what it starts from, and `constraint(spec)`.
# `NEEDS_STAGES`: why a step of it without stages is refused.
METHODS: dict[str, ModuleType] = {
    "shared_projection": shared_projection,
    "prune_units": prune_units,
    "narrow_embedding": narrow_embedding,
    "low_rank": low_rank,
    "tensor_train": tensor_train,
    "prune": prune,
    "bayes": bayes,
    "quantize": quantize,
}
