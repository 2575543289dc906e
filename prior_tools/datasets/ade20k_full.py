"""ADE20K in full: the number of a class in two channels of a picture beside the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import PriorError
from ..labels.palettes import MOST_COLORS, Palette
from .layout import Found
from .pairs import files_ending, paired
from .picture_files import open_picture, upright
from .trees import Sides

_IMAGE, _LABEL = ".jpg", "_seg.png"

# Red counts steps of ten.
_STEP = 10


@dataclass(frozen=True)
class ClassInTwoChannels:
    """Reads *_seg.png: class = red / 10 * 256 + green, 0 for none; blue numbers the objects."""

    def files(self, path: Path) -> Sequence[Path]:
        """The one picture."""
        return (path,)

    def told(self, path: Path) -> str:
        """Nothing else matters."""
        return ""

    def values(self, path: Path, name: str) -> np.ndarray:
        """See `LabelForm`."""
        picture = upright(open_picture(path, "label map", name, exact=True))
        levels = np.asarray(picture.convert("RGB")).astype(np.int64)
        odd = levels[..., 0][levels[..., 0] % _STEP != 0]
        if len(odd):
            raise PriorError(
                f"label map {name} holds {odd[0]} as a level of red; expected multiples of {_STEP} "
                "as in *_seg.png of the full ADE20K"
            )
        codes: np.ndarray = levels[..., 0] // _STEP * 256 + levels[..., 1]
        return codes


def find_ade20k_full(sides: Sides) -> Found:
    """The pairs of a split, in the folders of their scenes; PriorError if there are none."""
    images = files_ending(sides.images, _IMAGE, "image", sides.check)
    labels = files_ending(sides.labels, _LABEL, "label", sides.check)
    pairs, unpaired = paired(images, labels)
    if not pairs:
        raise PriorError(
            f"no image has a label; there are {len(images)} *{_IMAGE} and {len(labels)} *{_LABEL}. "
            f"A pair is <scene>/NAME{_IMAGE} and <scene>/NAME{_LABEL}"
        )
    return Found(pairs, unpaired, _palette(), "ids", {}, ClassInTwoChannels())


def _palette() -> Palette:
    """All numbers that red and green can tell, each in these; their names are in no small file."""
    colors = {i: (i // 256 * _STEP, i % 256, 0) for i in range(MOST_COLORS)}
    return Palette("ade20k_full", colors, {0: "other"}, ignore_ids=(0,))
