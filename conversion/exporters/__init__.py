"""Checkpoints as files of other runtimes: ONNX, ExecuTorch, LiteRT, C; each checked against torch before it is written.

Nothing of these runtimes is imported before an export to it is asked for.
"""

from .command import main
from .export import TARGETS, VARIANTS, export

__all__ = ["export", "main", "TARGETS", "VARIANTS"]
