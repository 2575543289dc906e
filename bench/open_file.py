"""Loads a prior and draws one sample, in a process that has done nothing else.

    python -m bench.open_file FILE

Prints a JSON object with times in ms and memory in MB (2**20 bytes).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil
import torch

from prior_tools import draw_prior_sample, load_prior

CLASSES = 12  # of the label map: as many as a picture usually holds


def main() -> None:
    """Measure and print."""
    # Stripes of some of the prior's classes.
    rows = torch.arange(48) * CLASSES // 48 * 15
    labels = rows[:, None].expand(48, 64)[None].contiguous()
    can_reset = _forget_peak()
    before = _status("VmRSS") if can_reset else _peak()
    cpu, start = time.process_time(), time.perf_counter()
    prior = load_prior(sys.argv[1])
    loaded = time.perf_counter()
    draw_prior_sample(prior, labels)
    drawn = time.perf_counter()
    found = {
        "load_ms": 1e3 * (loaded - start),
        "draw_ms": 1e3 * (drawn - loaded),
        "cpu_ms": 1e3 * (time.process_time() - cpu),
        "import_mb": before,
        "peak_mb": (_status("VmHWM") if can_reset else _peak()) - before,
        "after_mb": (_status("VmRSS") if can_reset else _peak()) - before,
    }
    print(json.dumps(found))


def _forget_peak() -> bool:
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


def _peak() -> float:
    """Peak since the process began."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
