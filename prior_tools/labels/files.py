"""Class ids out of a label file: from colors, or from values that are ids already."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import PriorError, listing
from .palettes import Palette, bit_color, check_matched, decode_label_image


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

    Raises PriorError if the file is in another palette, or holds ids that the palette lacks.
    """
    if _holds_ids(picture, palette, id_map):
        ids = torch.from_numpy(_renamed(np.array(picture).astype(np.int64), id_map))
    else:
        colored = np.array(picture.convert("RGB"))
        ids, unmatched = decode_label_image(colored, palette)
        check_matched(colored, unmatched, palette, f"label map {name}")
    # Out-of-range ids are a wrong palette or wrong files, not something to guess about.
    wrong = [i for i in _present(ids) if i >= 0 and not palette.holds(i) and i not in ignore_ids]
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
        return picture.mode in ("1", "L", "I") or picture.mode.startswith("I;")
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


def _present(ids: Tensor) -> list[int]:
    """The distinct ids, ascending; by counting where they allow it, faster than sorting."""
    low, high = int(ids.min()), int(ids.max())
    if high - low > 65535:
        found = ids.unique()
    else:
        found = torch.bincount((ids - low).flatten()).nonzero().flatten() + low
    return [int(class_id) for class_id in found.tolist()]


def _renamed(values: np.ndarray, id_map: Mapping[int, int] | None) -> np.ndarray:
    """Ids int64 [H, W] of a label file's values int64 [H, W]; see `PairDataset.id_map`."""
    low, high = int(values.min()), int(values.max())
    # A wider range is no label map; its ids are refused by the palette, without a huge table here.
    if not id_map or high - low > 65535:
        return values
    table = np.arange(low, high + 1)
    for value, class_id in id_map.items():
        if low <= value <= high:
            table[value - low] = class_id
    renamed: np.ndarray = table[values - low]
    return renamed
