"""A sheet of captioned pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BACKGROUND, _TEXT, _FAINT = (30, 31, 34), (232, 233, 236), (158, 161, 168)
_GAP, _HEAD = 14, 26


def compose(rows: list[list[tuple[str, np.ndarray, str]]], footer: str) -> np.ndarray:
    """Rows of (caption, picture uint8 [H, W, 3], note) as one sheet uint8 [H', W', 3].

    All pictures have one size. Notes stand at the right end of the captions' lines; rows without
    both lie close below the row before.
    """
    height, width = rows[0][0][1].shape[:2]
    columns = max(len(row) for row in rows)
    heads = [_HEAD if any(caption or note for caption, _, note in row) else 0 for row in rows]
    sheet = Image.new(
        "RGB",
        (
            columns * (width + _GAP) + _GAP,
            sum(heads) + len(rows) * (height + _GAP) + _GAP + 22,
        ),
        BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    y = _GAP
    for row, head in zip(rows, heads, strict=True):
        for j, (caption, picture, note) in enumerate(row):
            x = _GAP + j * (width + _GAP)
            draw.text((x, y), caption, _TEXT, font(18))
            draw.text((x + width, y + 3), note, _FAINT, font(15), anchor="ra")
            sheet.paste(Image.fromarray(picture[..., :3]), (x, y + head))
        y += head + height + _GAP
    draw.text((_GAP, sheet.height - _GAP - 14), footer, _FAINT, font(16))
    return np.asarray(sheet)


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own, so that sheets look alike everywhere."""
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has one size only
        return ImageFont.load_default()
