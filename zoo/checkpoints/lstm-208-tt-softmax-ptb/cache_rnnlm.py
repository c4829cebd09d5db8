"""The recurrent state as the library's cache: handed into `forward`, changed there, handed out.

Letters: B batch, H hidden, O layer output (the projection's width if there is one, else H).
"""

import copy

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from .configuration_rnnlm import RnnLmConfig


class RecurrentState(CacheLayerMixin):
    """State of one layer: `keys` = h [B, O] and `values` = c [B, H] (width 0 where a cell has no c)."""

    supports_early_init = False

    def __init__(self):
        super().__init__()
        self.cumulative_length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, seen: int = 1, **kwargs):
        """Replaces the state after `seen` more tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        self.cumulative_length += seen
        return key_states, value_states

    def get_seq_length(self) -> int:
        return self.cumulative_length

    def get_max_length(self) -> int:
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cumulative_length + query_length, 0

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self.is_initialized:
            self.keys = self.keys.repeat_interleave(repeats, dim=0)
            self.values = self.values.repeat_interleave(repeats, dim=0)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        if self.is_initialized:
            self.keys, self.values = self.keys[indices], self.values[indices]

    def reset(self) -> None:
        # The tensors may be somebody's outputs: they are let go, not zeroed.
        self.keys = self.values = None  # type: ignore[assignment]
        self.is_initialized = False
        self.cumulative_length = 0

    def copied(self) -> "RecurrentState":
        """A state of its own with the same numbers."""
        made = type(self)()
        if self.is_initialized:
            made.update(self.keys.detach().clone(), self.values.detach().clone(), seen=self.cumulative_length)
        return made

    def crop(self, *args) -> None:
        raise NotImplementedError("a recurrent state cannot be cropped; go back to a copy.deepcopy of the cache")


class RnnLmCache(Cache):
    """Recurrent state of every layer; `forward` changes the cache it is given in place (the library's convention)."""

    def __init__(self, config: RnnLmConfig):
        super().__init__(layers=[RecurrentState() for _ in range(config.num_hidden_layers)])

    def states(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(h [B, O], c [B, H or 0]) per layer; empty before the first token."""
        return [(layer.keys, layer.values) for layer in self.layers if layer.is_initialized]

    @classmethod
    def from_states(cls, config: RnnLmConfig, states, seen: int = 1) -> "RnnLmCache":
        """A cache holding given states, as `states()` returns them, after `seen` tokens."""
        cache = cls(config)
        for layer, (h, c) in zip(cache.layers, states, strict=False):
            layer.update(h, c, seen=seen)
        return cache

    def __deepcopy__(self, memo: dict) -> "RnnLmCache":
        """A copy to go back to, cut off from any graph (copy.deepcopy refuses tensors that have one)."""
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        for name, value in self.__dict__.items():
            if name != "layers":
                setattr(copied, name, copy.deepcopy(value, memo))
        copied.layers = [layer.copied() for layer in self.layers]
        return copied

    def detach(self) -> "RnnLmCache":
        """Cuts the graph behind the state, in place (truncated BPTT)."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.keys, layer.values = layer.keys.detach(), layer.values.detach()
        return self


__all__ = ["RnnLmCache"]
