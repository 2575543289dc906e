"""What an input may cost: an error of ours at most, a second, some megabytes."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prior_tools import PriorError


def offence(use: Callable[[], object], seconds: float = 1.0) -> str | None:
    """None if `use()` returns, or raises PriorError, in time; else what it did."""
    # Of this process alone: others may keep the machine busy.
    start = time.process_time()
    try:
        use()
    except PriorError:
        pass
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {error}"
    spent = time.process_time() - start
    return f"took {spent:.1f} s" if spent > seconds else None


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
