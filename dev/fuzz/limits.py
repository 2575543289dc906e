"""What an input may cost: an error of ours at most, a second, some megabytes."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from prior_tools import PriorError

SECONDS = 1.0
MEGABYTES = 500


class Outcome(NamedTuple):
    """What became of an input: whether it was taken, and what it did that none may do."""

    taken: bool
    offence: str | None


def outcome(use: Callable[[], object]) -> Outcome:
    """Of `use()`, which may return or raise PriorError, in time."""
    # Of this process alone: others may keep the machine busy.
    start = time.process_time()
    taken = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            use()
        taken = True
    except PriorError as error:
        if _for_want_of_memory(error):
            return Outcome(False, f"wanted more than {MEGABYTES} MB")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Outcome(False, f"{type(error).__name__}: {error!s:.300}")
    spent = time.process_time() - start
    return Outcome(taken, f"took {spent:.1f} s" if spent > SECONDS else None)


@contextmanager
def memory_limit(megabytes: int) -> Iterator[None]:
    """Inside, this process can allocate so much more than it has, and then fails to.

    Only where the system tells how much it has, as Linux does.
    """
    told = Path("/proc/self/statm")
    if not told.exists():
        yield
        return
    pages = int(told.read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _for_want_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)
    return False
