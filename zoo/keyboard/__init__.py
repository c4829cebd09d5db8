"""Suggestions while a text is typed: `Keyboard` for one text, `KeyboardModel` for what many texts share.

Rules of ranking, case, spaces, undo and digest are in docs/keyboard.md; nothing here imports torch.
"""

from .model import DEFAULT, KeyboardModel
from .personal import Personal
from .ranking import Suggestion
from .session import Keyboard
from .spacing import Transform

__all__ = ["Keyboard", "KeyboardModel", "Personal", "Suggestion", "Transform", "DEFAULT"]
