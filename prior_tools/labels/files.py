"""Class ids out of a label file: from colors, or from values that are ids already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import PriorError, listing
from .colors import check_matched, decode_label_image
from .ids import MAX_CLASS_ID
from .palettes import Palette, bit_color


def label_ids(
    picture: Image.Image,
    name: str,
    palette: Palette,
    ignore_ids: tuple[int, ...] = (),
    id_map: Mapping[int, int] | None = None,
) -> Tensor:
    """Class ids int64 [H, W] of a label file, -1 = unknown.

    Args:
        picture: the file, opened.
        name: what to call it in a message.
        palette, ignore_ids, id_map: see `PairDataset`.

    Raises PriorError if the file is in another palette, holds ids that the palette lacks, or
    floats that are no ids.
    """
    if _holds_ids(picture, palette, id_map):
        ids = torch.from_numpy(_renamed(_values(picture, name), id_map))
    else:
        colored = np.array(picture.convert("RGB"))
        ids, unmatched = decode_label_image(colored, palette)
        check_matched(colored, unmatched, palette, f"label map {name}")
    # Out-of-range ids are a wrong palette or wrong files, not something to guess about.
    known = {-1, *ignore_ids}
    wrong = [i for i in _present(ids, name) if i not in known and not palette.holds(i)]
    if wrong:
        raise PriorError(
            f"label map {name} holds class ids {listing([str(i) for i in wrong])}, which palette "
            f"'{palette.name}' does not have; choose the palette of this dataset, or add the ids "
            "to ignore_ids"
        )
    return ids


def _holds_ids(picture: Image.Image, palette: Palette, id_map: Mapping[int, int] | None) -> bool:
    """Whether pixel values are ids rather than shades of colors."""
    if picture.mode != "P":
        return picture.mode in ("1", "L", "I", "F") or picture.mode.startswith("I;")
    if id_map is not None or palette.is_grey:
        return True
    # A file with a color table may be a color image made small, or ids made visible by colors
    # of some kind. Tools make ids visible by grey or by the colors of PASCAL VOC; else the file
    # is a color image if all of its colors are the palette's.
    values, colors = _color_table(picture)
    shown = [(value,) * 3 for value in values], [bit_color(value) for value in values]
    if colors in shown:
        return True
    return decode_label_image(np.array([colors]), palette)[1] > 0


def _color_table(picture: Image.Image) -> tuple[list[int], list[tuple[int, ...]]]:
    """The values that occur in a picture of mode "P", and their colors."""
    table = picture.getpalette("RGB") or []
    values = [value for value, count in enumerate(picture.histogram()[:256]) if count]
    return values, [tuple(table[3 * v : 3 * v + 3]) or (0, 0, 0) for v in values]


def _values(picture: Image.Image, name: str) -> np.ndarray:
    """int64 [H, W] of a file of one channel."""
    values = np.array(picture)
    if picture.mode == "F":
        whole = np.abs(values) <= 2**24
        if not (whole.all() and (values == np.round(values)).all()):
            raise PriorError(
                f"label map {name} holds floats that are no whole numbers; expected class ids, or "
                "colors of 8 bits a channel"
            )
    return values.astype(np.int64)


def _present(ids: Tensor, name: str) -> list[int]:
    """The distinct ids, ascending; PriorError if one is too large or negative to be an id."""
    low, high = (int(i) for i in ids.aminmax())
    if low < -1 or high > MAX_CLASS_ID:
        strange = sorted({i for i in (low, high) if not -1 <= i <= MAX_CLASS_ID})
        raise PriorError(
            f"label map {name} holds class ids {listing([str(i) for i in strange])}; expected "
            f"0..{MAX_CLASS_ID}, -1 = unknown. Is it a label map?"
        )
    found = torch.bincount((ids + 1).flatten()).nonzero().flatten() - 1
    return [int(class_id) for class_id in found.tolist()]


def _renamed(values: np.ndarray, id_map: Mapping[int, int] | None) -> np.ndarray:
    """Ids int64 [H, W] of a label file's values int64 [H, W]; see `PairDataset.id_map`."""
    low, high = int(values.min()), int(values.max())
    # What is far outside is no label map, and is refused later, without a huge table here.
    if not id_map or low < -MAX_CLASS_ID or high > MAX_CLASS_ID:
        return values
    table = np.arange(low, high + 1)
    for value, class_id in id_map.items():
        if low <= value <= high:
            table[value - low] = class_id
    renamed: np.ndarray = table[values - low]
    return renamed
