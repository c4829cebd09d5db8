"""Checkpoints that other people have become checkpoint folders: no code of theirs is run, no prediction changes."""

from .command import main
from .importing import import_checkpoint

__all__ = ["import_checkpoint", "main"]
