"""The processes that share a run: one, or as many as `accelerate launch` started on one host or several."""

from __future__ import annotations

from typing import TypeVar

import torch

try:
    from accelerate import Accelerator
    from accelerate import PartialState as PartialState
    from accelerate.utils import broadcast_object_list, gather_object
except ModuleNotFoundError as error:
    needed = f"training needs {error.name}; type: pip install 'rnnlm-zoo[train]'"
    raise ModuleNotFoundError(needed, name=error.name) from None

from zoo.errors import RecipeError

from .allocation import keep_freed_memory
from .objective import States

AGREE_EVERY = 10  # updates between agreements, which make a fast device wait
T = TypeVar("T")


def check_device(device: str) -> None:
    """Refuses (RecipeError) a device that is not here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RecipeError("device cuda, but torch finds none here; give --device cpu or auto")


class Crew:
    """This process and its fellows; alone, every method is free.

    Args:
        device: `auto`, `cpu` or `cuda`.
        batch_size: stripes of all processes together.

    Raises:
        RecipeError: there is no such device, or the processes cannot have equal shares of the batch.
    """

    def __init__(self, device: str, batch_size: int):
        check_device(device)
        self.accelerator = Accelerator(cpu=device == "cpu")
        self.device = self.accelerator.device
        if self.device.type == "cpu":
            keep_freed_memory()
        self.rank, self.count = self.accelerator.process_index, self.accelerator.num_processes
        self.is_main = self.accelerator.is_main_process
        if batch_size % self.count:
            raise RecipeError(
                f"batch_size {batch_size} cannot be shared by {self.count} processes; start a number that divides it"
            )
        share = batch_size // self.count
        self.rows = slice(self.rank * share, (self.rank + 1) * share)  # of the batch, for this process

    def share(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module, its gradients averaged over the processes."""
        return self.accelerator.prepare_model(module) if self.count > 1 else module

    def agree(self, updates: int, *numbers: int) -> list[int]:
        """The largest of every number over all processes; zeros between the updates at which they speak."""
        if self.count == 1:
            return list(numbers)
        if updates % AGREE_EVERY:
            return [0] * len(numbers)
        shared = torch.tensor(numbers, device=self.device)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
        return shared.tolist()

    def follow(self, items: list[T]) -> list[T]:
        """The main process's items."""
        return broadcast_object_list(items) if self.count > 1 else items

    def side_by_side(self, states: States) -> States:
        """The recurrent states of all processes, on the CPU, as if there were one."""
        gathered = self.gather([(h.cpu(), c.cpu()) for h, c in states])
        return [
            (torch.cat([h for h, _ in layer]), torch.cat([c for _, c in layer]))
            for layer in zip(*gathered, strict=True)
        ]

    def own(self, states: States) -> States:
        """This process's rows of what `side_by_side` gave, on its device."""
        return [(h[self.rows].to(self.device), c[self.rows].to(self.device)) for h, c in states]

    def gather(self, item: T) -> list[T]:
        """The item of every process, in the order of the ranks."""
        return gather_object([item]) if self.count > 1 else [item]


def disband() -> None:
    """Ends the talk of the processes: a thread of it that outlives the interpreter may abort a run that is done."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
