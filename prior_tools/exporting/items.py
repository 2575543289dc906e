"""The images to be exported, each with its split and the numbers that name it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..datasets.names import MIRRORED
from ..errors import PriorError, counted
from ..evaluation.files import GeneratedImage
from ..evaluation.scores import image_name

TRAIN, VAL = "train", "val"

_HALF = 2**64


@dataclass(frozen=True)
class Item:
    """An image and where it comes to lie.

    Numbers are those among all images, whatever is left out later, so that a name means one image.

    Attributes:
        image: with its label map.
        name: of the image, a path inside the folder of images, "/" between its parts.
        split: TRAIN or VAL.
        number: of the image, from 1 on.
        map_number: of its label map, from 0 on.
        rank: among the images of its label map, from 0 on.
    """

    image: GeneratedImage
    name: str
    split: str
    number: int
    map_number: int
    rank: int

    @property
    def stem(self) -> str:
        """The name without suffix."""
        return self.name.rpartition(".")[0]


def listed(images: Sequence[GeneratedImage], folder: Path, val: float) -> list[Item]:
    """Images as items.

    Args:
        images: by label map, see `match_generated`.
        folder: that they lie in.
        val: share of the label maps in 0..1 that go to VAL, by a hash of their names: label maps
            that are added or taken away move no other. A mirrored one goes with its original.

    Raises PriorError for another share, and if one of the two splits would be empty.
    """
    if not 0 <= val < 1:
        raise PriorError(
            f"--val is {val:g}; expected a share of the label maps, 0 or more, below 1"
        )
    numbers: dict[str, int] = {}
    ranks: dict[str, int] = {}
    items = []
    for number, image in enumerate(images, 1):
        map_number = numbers.setdefault(image.map, len(numbers))
        rank = ranks[image.map] = ranks.get(image.map, -1) + 1
        origin = image.map.removesuffix(MIRRORED) if image.mirrored else image.map
        split = VAL if _fraction(origin) < val else TRAIN
        name = image_name(image, folder)
        items.append(Item(image, name, split, number, map_number, rank))
    missing = {TRAIN, VAL} - {item.split for item in items}
    if val and missing:
        raise PriorError(
            f"--val {val:g} of {counted(len(numbers), 'label map')} leaves split "
            f"{missing.pop()!r} empty; choose another share, or leave out --val"
        )
    return items


def _fraction(name: str) -> float:
    """A number in 0..1 that is always the same for a name."""
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / _HALF
