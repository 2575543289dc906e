"""A whole build by the engine, as the command line does it."""

from __future__ import annotations

import os
from collections.abc import Callable

from torch import Tensor

from prior_tools import BuildOptions, Prior, build_prior
from prior_tools.datasets.dataset import PairDataset

# Processes that read. More than half of the cores would take them from an encoder that runs on the
# same ones.
WORKERS = max(1, min(4, (os.cpu_count() or 1) // 2))


def build(
    dataset: PairDataset,
    encode: Callable[[Tensor], Tensor],
    batch_size: int,
    workers: int = WORKERS,
) -> Prior:
    """The prior of the dataset, read by processes."""
    options = BuildOptions(batch_size=batch_size, workers=workers, processes=True)
    return build_prior(dataset, encode, options)


class CountingEncoder:
    """8x8 means in place of a VAE: it costs next to nothing and counts the images it is given."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Images [N, H, W, 3] to [N, 4, H / 8, W / 8]."""
        self.images += len(images)
        blocks = images.unflatten(1, (-1, 8)).unflatten(3, (-1, 8)).mean((2, 4))
        return blocks[..., [0, 1, 2, 1]].movedim(-1, 1)
