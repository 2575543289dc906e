"""Peak memory of this process, in MB (2**20 bytes)."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil


class Peak:
    """Memory taken from here on, above what the process has now."""

    def __init__(self) -> None:
        self._can_reset = _forget()
        self.before = _status("VmRSS") if self._can_reset else _since_start()

    def taken(self) -> float:
        """At the most."""
        return (_status("VmHWM") if self._can_reset else _since_start()) - self.before

    def left(self) -> float:
        """Now; where the system does not count from here on, at the most."""
        return (_status("VmRSS") if self._can_reset else _since_start()) - self.before


def _forget() -> bool:
    """Make the system count the peak of memory from here on; False where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"/proc/self/status has no {name}")


def _since_start() -> float:
    """Peak since the process began."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)
