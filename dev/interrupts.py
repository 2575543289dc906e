"""Ctrl-C for commands that tests start."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heeded_by_commands() -> Iterator[None]:
    """Commands started here heed SIGINT, as those of a person at a terminal do.

    Whoever runs the tests in a shell's background has it ignored, and so would the commands.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
