"""How much memory there is, and what to say before asking for most of it."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

from .errors import PriorError

# Of the machine's memory. What comes after needs as much again: a sampler, the end of a build.
MOST = 0.5

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def machine_memory() -> int | None:
    """Bytes of memory that this process may use; None where the system does not say."""
    found = []
    with suppress(OSError, ValueError):
        found.append(_installed())
    # A container may have less than the machine; "max" is no number.
    with suppress(OSError, ValueError):
        found.append(int(_CGROUP_LIMIT.read_text(encoding="ascii")))
    return min(found, default=None)


def too_much(needed: int, what: str) -> str | None:
    """A sentence with both figures where `needed` bytes for `what` are most of the memory."""
    there = machine_memory()
    if there is None or needed <= MOST * there:
        return None
    return (
        f"{what} takes {needed / 1e9:.3g} GB of memory, and there are {there / 1e9:.3g} GB in all"
    )


def check_memory(needed: int, what: str, advice: str) -> None:
    """PriorError, before anything is made, where `needed` bytes are most of the memory."""
    if said := too_much(needed, what):
        raise PriorError(f"{said}; {advice}")


def _installed() -> int:
    if sys.platform == "win32":

        class Status(ctypes.Structure):
            _fields_ = (
                ("size", ctypes.c_uint32),
                ("load", ctypes.c_uint32),
                ("total", ctypes.c_uint64),
                ("others", ctypes.c_uint64 * 6),
            )

        status = Status(size=ctypes.sizeof(Status))
        if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            raise OSError("GlobalMemoryStatusEx failed")
        return int(status.total)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
