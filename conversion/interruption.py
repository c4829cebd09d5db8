"""Stopping in good order: SIGINT and SIGTERM are noted, and obeyed at the next update."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """A run stopped by a signal after saving its state.

    Args:
        number: of the signal; the process should exit with 128 + number.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class Requests:
    """The signal that has come, 0 if none has."""

    number = 0


@contextmanager
def requests_to_stop() -> Iterator[Requests]:
    """Notes SIGINT and SIGTERM while it lasts; the second one acts at once, as if nobody had listened."""
    requests = Requests()
    if threading.current_thread() is not threading.main_thread():
        yield requests  # only the main thread may listen
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number, frame):
        requests.number = number
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, note)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
