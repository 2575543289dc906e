"""Draws one latent of a size, in a process that has drawn none before.

    python -m bench.one_draw CLASSES WIDTH HEIGHT CHANNELS NOISE

Prints a JSON object with times in ms and memory in MB (2**20 bytes) beside the prior.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import torch

from bench.peak import Peak
from bench.synthetic import Like, synthetic_grain, synthetic_prior
from prior_tools import draw_prior_sample

GRID = (64, 64)
# Cells a side of the patches of one class in the label map.
PATCH = 8


def main() -> None:
    """Measure and print."""
    *sizes, noise = sys.argv[1:]
    classes, width, height, channels = (int(word) for word in sizes)
    prior = synthetic_prior(Like("many", classes, GRID, 118_287, channels))
    prior = replace(prior, grain=synthetic_grain(channels, GRID, len(prior.class_ids)))
    generator = torch.Generator().manual_seed(0)
    patches = torch.randint(
        classes, (1, height // 8 // PATCH, width // 8 // PATCH), generator=generator
    )
    labels = patches.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
    # What is only loaded at the first draw is not of the draw.
    draw_prior_sample(prior, labels[:, :PATCH, :PATCH], noise=noise)
    peak = Peak()
    cpu, start = time.process_time(), time.perf_counter()
    drawn = draw_prior_sample(prior, labels, noise=noise)
    found = {
        "draw_ms": 1e3 * (time.perf_counter() - start),
        "cpu_ms": 1e3 * (time.process_time() - cpu),
        "peak_mb": peak.taken(),
        "latent_mb": drawn.numel() * drawn.element_size() / 2**20,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
