"""Going over the seeds of a kind, in processes that may crash."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from .kinds import KINDS, tried

# Of CPU time on one input; then its process is ended.
_HANGS = 20.0


class Figures(NamedTuple):
    """Of the inputs of a kind: how many were taken, how long all took, how many did wrong."""

    taken: int
    seconds: float
    offenders: int


def go_over(kind: str, first: int, count: int, told: Callable[[int, str], None]) -> Figures:
    """Try `count` seeds from `first` on; `told(seed, offence)` is called for each offender."""
    start, taken, offenders, seed = time.monotonic(), 0, 0, first
    processes = multiprocessing.get_context("spawn")
    while seed < first + count:
        # Another process, since an input may crash it or never come to an end.
        hears, tells = processes.Pipe(duplex=False)
        child = processes.Process(target=_try_seeds, args=(kind, seed, first + count, tells))
        child.start()
        tells.close()
        ended = False
        while seed < first + count and not ended:
            try:
                was_taken, offence = hears.recv()
            except EOFError:
                ended, was_taken, offence = True, False, _end_of(child)
            taken += was_taken
            offenders += offence is not None
            if offence is not None:
                told(seed, offence)
            seed += 1
        child.join()
    return Figures(taken, time.monotonic() - start, offenders)


def _end_of(child: multiprocessing.process.BaseProcess) -> str:
    """What an input did that ended its process."""
    child.join()
    # Nor does an input ask a process to end.
    if (child.exitcode or 0) >= 0 or child.exitcode == -signal.SIGTERM:
        raise RuntimeError(f"the process that tries inputs ended with code {child.exitcode}")
    name = signal.Signals(-child.exitcode).name
    return f"took over {_HANGS:g} s" if name == "SIGPROF" else f"ended the process by {name}"


def _try_seeds(kind: str, seed: int, end: int, tells: Connection) -> None:
    """Tell of each input, in the order of the seeds."""
    inputs = ((at, KINDS[kind].make(at)) for at in range(seed, end))
    # Libraries print what they find wrong.
    errors = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for _, outcome in tried(kind, inputs, Path(folder)):
                tells.send(tuple(outcome))
                # It ends the process, also while that is in a library's code.
                signal.setitimer(signal.ITIMER_PROF, _HANGS)
    except BaseException:
        os.dup2(errors, 2)
        raise
