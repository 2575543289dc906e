"""IoU of nets that were trained with several seeds, with intervals over images and seeds.

What a figure would do with other held-out images is found by a bootstrap over images, the same
draws for all trainings and seeds. What it would do with other seeds cannot be: three values drawn
again from three show less than their true spread. So each draw gets a deviate of Student's t with
one degree of freedom less than there are seeds, times the standard error over the seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..evaluation.intervals import (
    DRAWS,
    FEWEST_UNITS,
    Interval,
    Resampled,
    bootstrap_weights,
    percentile_interval,
)
from ..evaluation.segmentation import class_iou, mean_iou


@dataclass(frozen=True)
class OverSeeds(Resampled):
    """The mean of a figure over seeds; two of the same images and seeds may be subtracted.

    again: its values of each seed with other images, float64 [S, R], and with the images as they
    are, [S].
    images: how many there are.
    """

    images: int

    @property
    def by_seed(self) -> list[float]:
        """Its values of each seed."""
        values: list[float] = self.again[1].tolist()
        return values

    @property
    def interval(self) -> Interval | None:
        """At level 0.95; None with too few images. Of one seed it does not tell of others."""
        values, by_seed = self.again
        if values.shape[1] == 0:
            return None
        middle = values.mean(0)
        if len(by_seed) > 1:
            error = float(by_seed.std()) / math.sqrt(len(by_seed))
            deviates = np.random.default_rng(0).standard_t(len(by_seed) - 1, len(middle))
            middle = middle + error * torch.from_numpy(deviates)
        return percentile_interval(middle, self.images)

    @property
    def method(self) -> str:
        """As `Resampled.method`."""
        values, by_seed = self.again
        if values.shape[1] == 0:
            return f"no interval: fewer than {FEWEST_UNITS} images"
        over = "one seed, so what another would do is not known"
        if len(by_seed) > 1:
            over = f"Student's t over {len(by_seed)} seeds"
        return f"bootstrap over images, {values.shape[1]} draws; {over}"


def over_seeds(
    figure: Callable[[Tensor], Tensor],
    counts: Sequence[Tensor],
    names: Sequence[str],
    draws: int = DRAWS,
) -> OverSeeds:
    """A figure of counts [3, K] summed over images, of nets of several seeds.

    Args:
        figure: counts float64 [R, 3, K] -> values [R].
        counts: int64 [N, 3, K] of each seed, of the same images.
        names: of the images.
        draws: of images, with replacement.
    """
    everything = torch.ones(1, len(names), dtype=torch.float64)
    few = len(names) < FEWEST_UNITS
    weights = everything[:0] if few else bootstrap_weights(len(names), draws)

    def values(weights: Tensor) -> Tensor:
        flat = [(weights @ one.double().flatten(1)).view(-1, *one.shape[1:]) for one in counts]
        return torch.stack([figure(one) for one in flat])

    by_seed = values(everything)[:, 0]
    again = values(weights), by_seed
    sampling = tuple(names), draws, len(counts)
    return OverSeeds(float(by_seed.mean()), again, sampling, len(names))


def miou(counts: Sequence[Tensor], names: Sequence[str], draws: int = DRAWS) -> OverSeeds:
    """Mean IoU over the classes that the labels hold; see `over_seeds`."""
    return over_seeds(mean_iou, counts, names, draws)


def iou(
    index: int, counts: Sequence[Tensor], names: Sequence[str], draws: int = DRAWS
) -> OverSeeds:
    """IoU of one class; see `over_seeds`."""
    of_class = [one[..., index : index + 1] for one in counts]
    return over_seeds(lambda sums: class_iou(sums)[..., 0], of_class, names, draws)
