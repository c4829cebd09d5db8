"""What a network has that not everything is written for: Mogrifier gating, several softmaxes."""

from __future__ import annotations

from typing import Any

from .errors import ZooError
from .layout import PLAIN


def check_plain(network: Any, what: str, instead: str, error: type[ZooError] = ZooError) -> None:
    """Refuses a network that something has not been written for: Mogrifier gating, several softmaxes.

    Args:
        network: a Layout or RnnLmConfig.
        what: is not written for it, e.g. "the C step".
        instead: what to do, e.g. "take the engine numpy".

    Raises:
        error: the network has one of them.
    """
    found = {name: getattr(network, name) for name in PLAIN if getattr(network, name) != PLAIN[name]}
    if found:
        told, allowed = (" and ".join(f"{name} {values[name]}" for name in found) for values in (found, PLAIN))
        raise error(f"this model has {told}, and {what} takes {allowed} only; {instead}")
