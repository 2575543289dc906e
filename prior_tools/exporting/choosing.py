"""Which images obey their label maps well enough, by the scores that `evaluate` gave them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import PriorError, counted
from ..evaluation.scores import ImageScore, Scores
from .items import Item


@dataclass
class Choice:
    """What is exported and what is not.

    Attributes:
        items: that are.
        dropped: name of an image that is not -> why.
        pixels, dropped_pixels: class id of the palette -> pixels of the label maps of all images,
            and of those dropped; empty without scores.
        images, dropped_images: class id -> how many images' label maps hold it.
    """

    items: list[Item]
    dropped: dict[str, str] = field(default_factory=dict)
    pixels: Counter[int] = field(default_factory=Counter)
    dropped_pixels: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    dropped_images: Counter[int] = field(default_factory=Counter)


def choose(
    items: Sequence[Item],
    scores: Scores | None,
    keep: float | None = None,
    least: float | None = None,
) -> Choice:
    """Leave out the images that obey their label maps least.

    Args:
        items: of all images.
        scores: their mean IoU; None chooses all.
        keep: share in 0..1 of the images of each label map that are kept, the best of them, at
            least one; where every label map has one image only, of all images.
        least: mean IoU in 0..1 that an image must have.

    An image without a pixel that counts has no score, and comes last. Raises PriorError for other
    shares, images without scores, and if nothing is left.
    """
    for option, value in (("keep", keep), ("least", least)):
        if value is not None and not (0 < value <= 1):
            raise PriorError(f"--{option} is {value:g}; expected a number above 0 and up to 1")
    if scores is None:
        if keep is not None or least is not None:
            raise PriorError("--keep and --least need --scores, which evaluate --scores writes")
        return Choice(list(items))
    choice = Choice([])
    worst = _worst(items, scores, keep)
    for item in items:
        score = scores.of(item.name)
        why = ""
        if least is not None and (score.miou is None or score.miou < least):
            shown = "no pixel counts" if score.miou is None else f"mIoU {score.miou:.3f}"
            why = f"{shown}, below --least {least:g}"
        elif item.name in worst:
            why = f"not among the best {keep:.0%}"
        _count(choice, score.pixels, bool(why))
        if why:
            choice.dropped[item.name] = why
        else:
            choice.items.append(item)
    if not choice.items:
        raise PriorError(f"none of {counted(len(items), 'image')} is left; lower --least")
    return choice


def _worst(items: Sequence[Item], scores: Scores, keep: float | None) -> set[str]:
    """Names of the images that are not among the best of their label map, or of all."""
    if keep is None:
        return set()
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.image.map, []).append(item)
    together: Iterable[list[Item]] = groups.values()
    if len(groups) == len(items):
        together = [list(items)]
    worst: set[str] = set()
    for group in together:
        ranked = sorted(group, key=lambda item: _order(scores.of(item.name)))
        # Half an image is one; what is rounding in the share is not.
        kept = max(1, math.floor(len(group) * keep + 0.5 + 1e-9))
        worst |= {item.name for item in ranked[kept:]}
    return worst


def _order(score: ImageScore) -> tuple[float, str]:
    return (math.inf if score.miou is None else -score.miou), score.image


def _count(choice: Choice, pixels: Mapping[int, int], dropped: bool) -> None:
    choice.pixels.update(pixels)
    choice.images.update(pixels.keys())
    if dropped:
        choice.dropped_pixels.update(pixels)
        choice.dropped_images.update(pixels.keys())
