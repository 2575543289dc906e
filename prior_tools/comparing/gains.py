"""What each label map gained: its mIoU with the prior's start less that with the stock start."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..evaluation.segmentation import mean_iou
from .choice import choose

# Label maps of either end that are shown, and of all where there are no ends.
_EACH, _WITHOUT = 6, 8


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


def shown_maps(
    found: Sequence[Gain], names: Iterable[str]
) -> tuple[list[tuple[str, list[tuple[str, str]]]], str]:
    """Groups of a heading and label maps with a caption each, and how these were chosen.

    found: see `gains`; none where no segmenter told them. names: of all label maps, of which some
    are taken by the hash of their names where none gained or lost.
    """
    ends = extremes(found, _EACH)
    if not any(ends):
        why = (
            "no label map gained or lost"
            if found
            else "without a segmenter it is not known which gained and which lost"
        )
        text = f"The first image of label maps chosen by the hash of their names: {why}."
        return [("Some of the label maps", [(name, "") for name in choose(names, _WITHOUT)])], text
    text = (
        "The label maps that gained and lost most, each with the first image of either start at "
        "the same seed. These are the ends: most label maps lie between them. Behind each name is "
        "the mIoU over all of its images, with the stock start and with the prior's."
    )
    groups = [
        (heading, [(g.name, f"mIoU {g.stock:.3f} to {g.prior:.3f} ({g.value:+.3f})") for g in end])
        for heading, end in zip(("Gained most", "Lost most"), ends, strict=True)
    ]
    return groups, text


def _by_map(counts: Tensor, maps: Sequence[str]) -> dict[str, float]:
    sums: dict[str, Tensor] = {}
    for name, count in zip(maps, counts, strict=True):
        sums[name] = sums[name] + count if name in sums else count
    values = {name: float(mean_iou(total)) for name, total in sums.items()}
    return {name: value for name, value in values.items() if not math.isnan(value)}
