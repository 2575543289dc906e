"""Loads a prior and draws one sample, in a process that has done nothing else.

    python -m bench.open_file FILE

Prints a JSON object with times in ms and memory in MB (2**20 bytes).
"""

from __future__ import annotations

import json
import sys
import time

import torch

from bench.peak import Peak
from prior_tools import draw_prior_sample, load_prior

CLASSES = 12  # of the label map: as many as a picture usually holds


def main() -> None:
    """Measure and print."""
    # Stripes of some of the prior's classes.
    rows = torch.arange(48) * CLASSES // 48 * 15
    labels = rows[:, None].expand(48, 64)[None].contiguous()
    peak = Peak()
    cpu, start = time.process_time(), time.perf_counter()
    prior = load_prior(sys.argv[1])
    loaded = time.perf_counter()
    draw_prior_sample(prior, labels)
    drawn = time.perf_counter()
    found = {
        "load_ms": 1e3 * (loaded - start),
        "draw_ms": 1e3 * (drawn - loaded),
        "cpu_ms": 1e3 * (time.process_time() - cpu),
        "import_mb": peak.before,
        "peak_mb": peak.taken(),
        "after_mb": peak.left(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
