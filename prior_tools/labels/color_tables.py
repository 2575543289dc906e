"""Color tables of label pictures: whether they show colors, or make numbers visible."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .palette_colors import Color, bit_color


def color_table(picture: Image.Image) -> tuple[list[int], list[Color]]:
    """The values that occur in a picture of mode "P", and their colors."""
    table = picture.getpalette("RGB") or []
    values = [value for value, count in enumerate(picture.histogram()[:256]) if count]
    table += [0] * (3 * 256 - len(table))
    return values, [(table[3 * v], table[3 * v + 1], table[3 * v + 2]) for v in values]


def is_made_visible(picture: Image.Image) -> bool:
    """Whether it holds numbers with a color table as tools make ids visible by: grey, or VOC's."""
    if picture.mode != "P":
        return False
    values, colors = color_table(picture)
    return colors in ([(v, v, v) for v in values], [bit_color(v) for v in values])


def is_made_visible_by_greys(picture: Image.Image) -> bool:
    """Whether it holds numbers with a table of nothing but greys, which are not these numbers."""
    if picture.mode != "P":
        return False
    table = np.array(picture.getpalette("RGB") or [], np.int64).reshape(-1, 3)
    grey = bool((table == table[:, :1]).all())
    values, colors = color_table(picture)
    numbers = [color[0] for color in colors]
    return grey and numbers != values and not is_grey_reordered(picture)


def is_grey_reordered(picture: Image.Image) -> bool:
    """Whether a color table lists the grey levels that occur: these are the file's numbers then.

    Programs that make files smaller turn grey pictures into such tables, each in an order of its
    own.
    """
    values, colors = color_table(picture)
    levels = [color[0] for color in colors]
    table = picture.getpalette("RGB") or []
    if any(len(set(color)) > 1 for color in colors) or len(table) != 3 * len(set(levels)):
        return False
    # Numbers that are made visible by greys grow with them in equal steps, or up to white.
    step = 255 / max(1, len(levels) - 1)
    to_white = all(abs(level - i * step) <= 1 for i, level in enumerate(levels))
    equal = len(levels) > 2 and all(level == i * levels[1] for i, level in enumerate(levels))
    return levels != values and not to_white and not equal
