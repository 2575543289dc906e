"""Class ids as a PNG of one channel, the form that every reader takes for ids."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from .palette_colors import Color


def ids_as_png(ids: np.ndarray, table: Sequence[Color] | None = None) -> bytes:
    """A PNG of ids [H, W]: 8 bits where all are below 256, else 16.

    table: colors of the ids 0..255 to show them in, for a file with a color table.
    """
    # Older releases of Pillow write 16 bits of this type only.
    wide = table is None and int(ids.max()) > 255
    picture = Image.fromarray(np.ascontiguousarray(ids, np.uint16 if wide else np.uint8))
    if table is not None:
        picture = picture.copy()
        picture.putpalette([level for color in table for level in color])
    return as_png(picture)


def as_png(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()
