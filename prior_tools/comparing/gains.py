"""What each label map gained: its mIoU with the prior's start less that with the stock start."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..evaluation.segmentation import mean_iou


@dataclass(frozen=True)
class Gain:
    """Of a label map, over all of its images.

    stock, prior: mIoU over the classes of this label map alone.
    """

    name: str
    stock: float
    prior: float

    @property
    def value(self) -> float:
        """Above zero where the prior's start is better."""
        return self.prior - self.stock


def gains(stock: tuple[Tensor, Sequence[str]], prior: tuple[Tensor, Sequence[str]]) -> list[Gain]:
    """The gain of each label map, the greatest first.

    stock, prior: counts int64 [N, 3, K] of each image, see `class_counts`, and its label map. Label
    maps without a pixel that counts are left out.
    """
    before, after = _by_map(*stock), _by_map(*prior)
    found = [Gain(name, before[name], value) for name, value in after.items() if name in before]
    return sorted(found, key=lambda gain: (-gain.value, gain.name))


def extremes(found: Sequence[Gain], most: int) -> tuple[list[Gain], list[Gain]]:
    """Up to `most` that gained, and up to `most` that lost, either way from the greatest change.

    found: see `gains`.
    """
    gained = [gain for gain in found if gain.value > 0]
    lost = [gain for gain in reversed(found) if gain.value < 0]
    return gained[:most], lost[:most]


def _by_map(counts: Tensor, maps: Sequence[str]) -> dict[str, float]:
    sums: dict[str, Tensor] = {}
    for name, count in zip(maps, counts, strict=True):
        sums[name] = sums[name] + count if name in sums else count
    values = {name: float(mean_iou(total)) for name, total in sums.items()}
    return {name: value for name, value in values.items() if not math.isnan(value)}
