"""The saved state of a run: written whole or not at all, read without running code."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from zoo.errors import CheckpointError
from zoo.writing import write_atomically

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = 1


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers, texts and containers of them."""
    write_atomically(path, lambda file: torch.save(state | {"format": FORMAT}, file))


def load_state(path: Path) -> dict[str, Any] | None:
    """What `save_state` wrote, on the CPU; None where there is no file.

    Raises:
        CheckpointError: damaged, or of another version.
    """
    try:
        state = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read; to start anew, remove the folder {path.parent}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is of another version; to start anew, remove the folder {path.parent}")
    return state


@contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Holds a run's folder while it lasts; the processes of one distributed run count as one.

    Raises:
        CheckpointError: another process holds it.
    """
    run.mkdir(parents=True, exist_ok=True)
    if fcntl is None or int(os.environ.get("RANK", "0")) > 0:
        yield
        return
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it when the process ends, however
        except OSError as error:
            raise CheckpointError(
                f"another process is training in {run}; wait for it, or give another --runs"
            ) from error
        yield


def random_states() -> dict[str, Any]:
    """The states of torch's global generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_states(states: dict[str, Any]) -> None:
    """Puts the global generators where `random_states` found them, as far as the devices are there."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
