"""Checkpoints of builds: what loads can be gone on from to a prior that can be saved."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import torch

from prior_tools import PriorAccumulator
from prior_tools.building.checkpoint import HEADER_KEY, Checkpoint, Progress
from prior_tools.vae_fingerprint import fingerprint_weights

from .priors import keep
from .tensor_files import damaged


def make(seed: int) -> bytes:
    """A damaged checkpoint."""
    return damaged(_whole(), HEADER_KEY, random.Random(seed))


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """A build looks at it before it starts, and goes on from it."""
    checkpoint = _checkpoint(folder)
    checkpoint.path.write_bytes(data)

    def go_on() -> None:
        progress = checkpoint.load()
        if progress.state:
            channels, grid = progress.state.latent_channels, progress.state.grid
            labels = torch.full((1, *grid), 3)
            progress.state.update(torch.ones(1, channels, *grid), labels)
            checkpoint.save(progress)
            keep(progress.state.finalize(), folder)

    yield checkpoint.check
    yield go_on


def _checkpoint(folder: Path) -> Checkpoint:
    vae = fingerprint_weights({"w": torch.ones(9)})
    return Checkpoint(folder / "p.checkpoint", {"size": "48x32"}, vae)


@cache
def _whole() -> bytes:
    generator = torch.Generator().manual_seed(0)
    state = PriorAccumulator(4, (3, 5), (255,))
    labels = torch.randint(-1, 9, (6, 3, 5), generator=generator)
    state.update(torch.randn(6, 4, 3, 5, generator=generator), labels)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _checkpoint(Path(folder))
        checkpoint.save(Progress(state, 3, [("007", "it is no picture")]))
        return checkpoint.path.read_bytes()
