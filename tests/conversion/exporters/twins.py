"""What torch computes over several steps, for comparison with exported files."""

from __future__ import annotations

import numpy as np
import torch


def random_states(model, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """`past.*` of random numbers."""
    from conversion.exporters.network import state_names

    chance = np.random.default_rng(seed)
    sizes = state_names(model, "past").items()
    return {name: chance.standard_normal((batch, size)).astype(np.float32) for name, size in sizes}


@torch.no_grad()
def steps(model, ids: np.ndarray, states: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ids [B, T] and `past.*` -> logits [B, T, V] and `present.*`, a step at a time."""
    B = len(ids)
    now = []
    for number, layer in enumerate(model.model.layers):
        c = states.get(f"past.{number}.c", np.zeros((B, 0), np.float32))
        now.append((torch.from_numpy(states[f"past.{number}.h"]), torch.from_numpy(c)))
        assert layer.state_sizes == tuple(part.shape[1] for part in now[-1])
    logits = []
    for tokens in torch.from_numpy(ids).T:
        scores, now = model.step(tokens, now)
        logits.append(scores)
    found = {"logits": torch.stack(logits, 1).numpy()}
    for number, pair in enumerate(now):
        for letter, part in zip("hc", pair, strict=True):
            if part.shape[1]:
                found[f"present.{number}.{letter}"] = part.numpy()
    return found
