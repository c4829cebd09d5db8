"""From a file of weights to its tensors by name, mapped into memory where the format allows."""

from __future__ import annotations

import json
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from zoo.errors import CheckpointError

from .names import RECURRENT
from .pickles import refusal

Tensors = dict[str, torch.Tensor]
WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and torch.compile


def read_tensors(path: Path) -> Tensors:
    """The tensors of a state dict, without the prefixes that wrappers put before all names.

    Args:
        path: .safetensors, or whatever `torch.save` wrote: a state dict, or a dict or list that holds one.

    Raises:
        CheckpointError: no such file, damaged, a pickle that needs code, or no weights or several models in it.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; give the .pt, .pth, .bin or .safetensors file of the weights")
    if path.suffix == ".safetensors":
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}); get the file again") from error
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except Exception as error:  # torch lets through whatever its reader meets
            raise refusal(path, error) from error
        tensors = _state_dict(content, path)
    for wrapper in (*WRAPPERS, *WRAPPERS):  # either may be outside
        if all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided:
            kind = str(tensor.layout).removeprefix("torch.")
            raise CheckpointError(f"{path} has {name} as {kind}; save it dense: tensor.to_dense()")
        if RECURRENT.fullmatch(name) and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(f"{path} has {name} as {kind}; give the weights before quantization, as float")
    return tensors


def _state_dict(content: Any, path: Path) -> Tensors:
    """The one state dict in what a file holds."""
    own = _tensors_of(content)
    if any(map(RECURRENT.fullmatch, own)):
        return own
    parts = {key: _tensors_of(value) for key, value in _items(content)}
    found = {key: tensors for key, tensors in parts.items() if any(map(RECURRENT.fullmatch, tensors))}
    if len(found) > 1:
        key = next(iter(found))
        code = (
            f'import torch; c = torch.load({json.dumps(str(path))}, map_location="cpu", weights_only=True); '
            f'torch.save(c[{json.dumps(key)}], "one.state.pt")'
        )
        raise CheckpointError(
            f"{path} holds several models, under {', '.join(map(str, found))}; save the one that you want by itself: "
            f"{shlex.join(['python', '-c', code])} ; then import one.state.pt"
        )
    rest = own or next((tensors for tensors in parts.values() if tensors), {})
    if not (found or rest):
        raise CheckpointError(f"{path} holds no tensors by name; save the state dict: torch.save(m.state_dict(), FILE)")
    return next(iter(found.values())) if found else rest


def _items(content: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(content, dict):
        yield from content.items()
    elif isinstance(content, list | tuple):
        yield from enumerate(content)


def _tensors_of(content: Any) -> Tensors:
    """The tensors directly in a dict; what else stands there (an epoch, a setting) is no weight."""
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
