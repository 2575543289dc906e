"""Which colors or ids the label files of a folder hold, for those that no palette describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import PriorError, listing
from ..labels.color_tables import color_table, is_made_visible, is_made_visible_by_greys
from ..labels.ids import MAX_CLASS_ID
from ..labels.palette_colors import Color
from ..labels.palettes import PALETTES
from ..labels.reading import (
    is_of_one_channel,
)
from .picture_files import is_lossy, open_picture, upright

# Distinct values at which counting ends: photographs have hundreds of thousands.
_ENOUGH = 2**16

IDS, COLORS, GREY = "ids", "colors", "grey"


@dataclass
class FoundValues:
    """What label files hold.

    Attributes:
        kinds: "ids", "colors" or "grey" (three equal channels) -> the name of the first such file.
        colors: color -> number of pixels, of files of colors and of grey ones.
        ids: class id -> number of pixels.
        lossy: the name of the first file of a format that changes values, such as JPEG; or "".
    """

    kinds: dict[str, str] = field(default_factory=dict)
    colors: Counter[Color] = field(default_factory=Counter)
    ids: Counter[int] = field(default_factory=Counter)
    lossy: str = ""

    @property
    def are_ids(self) -> bool:
        """Whether the files hold ids: those of three equal channels do where none is colored.

        Those of colors do if all but one channel are black and it holds more than a mask's levels.
        """
        lit = {i for color in self.colors for i in range(3) if color[i]}
        return COLORS not in self.kinds or (len(lit) == 1 and len(self.colors) > 2)

    def frequent(self) -> list[tuple[int | Color, int]]:
        """The ids, or the colors, with their numbers of pixels, the most frequent first."""
        counts: Counter[int | Color] = Counter()
        are_ids = self.are_ids
        for color, count in self.colors.items():
            counts[max(color) if are_ids else color] += count
        counts.update(self.ids)
        # Equally frequent ones in a fixed order.
        return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def found_values(files: Iterable[Path]) -> FoundValues:
    """The colors or ids that label files hold.

    Raises PriorError if a file cannot be read or holds floats or numbers that are no ids, if some
    hold ids and others colors, if ids are in files of a lossy format, or if there are more than
    65,536 values.
    """
    found = FoundValues()
    for path in files:
        picture = open_picture(path, "label map", exact=True)
        if is_lossy(picture, path):
            found.lossy = found.lossy or path.name
        picture = upright(picture)
        if _holds_ids(picture):
            found.kinds.setdefault(IDS, path.name)
            found.ids.update(_ids(picture, path.name))
        else:
            colors = _colors(picture)
            grey = all(r == g == b for r, g, b in colors)
            found.kinds.setdefault(GREY if grey else COLORS, path.name)
            found.colors.update(colors)
        if {IDS, COLORS} <= found.kinds.keys():
            raise PriorError(
                f"label map {found.kinds[IDS]} holds ids and {found.kinds[COLORS]} colors; "
                "expected a folder of files of one kind"
            )
        if max(len(found.ids), len(found.colors)) > _ENOUGH:
            raise PriorError(
                f"up to label map {path.name} the files hold more than {_ENOUGH} different values; "
                "expected label maps, not photographs, depths or numbers of instances"
            )
    if found.are_ids and found.lossy:
        raise PriorError(
            f"label map {found.lossy} is in grey and of a lossy format, which breeds ids that "
            "never were; write label maps as PNG"
        )
    return found


def fitting(found: FoundValues) -> list[tuple[str, float]]:
    """The built-in palettes that have most of the colors, and the fraction of pixels in these."""
    total = found.colors.total()
    shares = {
        name: sum(n for color, n in found.colors.items() if color in palette.by_color) / total
        for name, palette in PALETTES.items()
        if total and not palette.is_grey
    }
    likely = sorted(shares.items(), key=lambda entry: -entry[1])
    return [(name, share) for name, share in likely if share >= 0.9]


def _holds_ids(picture: Image.Image) -> bool:
    """Whether values are ids: of one channel, or made visible by a usual table of colors."""
    if is_of_one_channel(picture) or is_made_visible_by_greys(picture):
        return True
    # Of a black picture among colored ones the table is also PASCAL VOC's.
    return is_made_visible(picture) and any(len({*color}) > 1 for color in color_table(picture)[1])


def _ids(picture: Image.Image, name: str) -> dict[int, int]:
    # Without its alpha.
    plane = picture.getchannel(0) if picture.mode in ("LA", "La") else picture
    values, counts = np.unique(np.asarray(plane), return_counts=True)
    levels = [float(v) for v in values.tolist()]
    wrong = [v for v in levels if not v.is_integer() or not 0 <= v <= MAX_CLASS_ID]
    if wrong:
        raise PriorError(
            f"label map {name} holds {listing([f'{v:g}' for v in wrong])}; expected class ids in "
            f"0..{MAX_CLASS_ID}"
        )
    return dict(zip(map(int, levels), counts.tolist(), strict=True))


def _colors(picture: Image.Image) -> dict[Color, int]:
    levels = np.asarray(picture.convert("RGB")).astype(np.int64)
    codes, counts = np.unique(levels @ np.array([65536, 256, 1]), return_counts=True)
    return {
        (code >> 16, code >> 8 & 255, code & 255): count
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
    }
