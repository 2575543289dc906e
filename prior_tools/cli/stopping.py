"""Ctrl-C and SIGTERM as a question that long work asks between its steps."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Seconds after which a second Ctrl-C is meant as one.
_PATIENCE = 1.0


@contextmanager
def stopped_by_signal() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C or SIGTERM came; a second Ctrl-C ends at once."""
    stopped: list[float] = []
    process = os.getpid()

    def note(number: int, _frame: object) -> None:
        if os.getpid() != process:
            # A reader just forked, which leaves signals to the build from its first line on.
            return
        # Supervisors send a signal to a process and again to its group: only a person who presses
        # Ctrl-C again, later, is out of patience.
        again = stopped and time.monotonic() - stopped[0] >= _PATIENCE
        if again and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopped.append(time.monotonic())

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, note) for number in numbers]
    try:
        yield lambda: bool(stopped)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
