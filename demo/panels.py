"""A sheet of captioned pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BACKGROUND, _TEXT, _FAINT = (30, 31, 34), (232, 233, 236), (158, 161, 168)
_GAP = 14
_LINE = 1.45


def compose(
    rows: list[list[tuple[str, np.ndarray, str]]], footer: str, text: int = 18
) -> np.ndarray:
    """Rows of (caption, picture uint8 [H, W, 3], note) as one sheet uint8 [H', W', 3].

    All pictures have one size. Notes stand at the right end of the captions' lines; rows without
    both lie close below the row before. The footer may have several lines. `text` is the size of
    captions in pixels.
    """
    height, width = rows[0][0][1].shape[:2]
    columns = max(len(row) for row in rows)
    head, foot = round(text * _LINE), round(text * _LINE * 0.88)
    heads = [head if any(caption or note for caption, _, note in row) else 0 for row in rows]
    lines = footer.splitlines()
    sheet = Image.new(
        "RGB",
        (
            columns * (width + _GAP) + _GAP,
            sum(heads) + len(rows) * (height + _GAP) + _GAP + len(lines) * foot,
        ),
        BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    y = _GAP
    for row, above in zip(rows, heads, strict=True):
        for j, (caption, picture, note) in enumerate(row):
            x = _GAP + j * (width + _GAP)
            # On one base line.
            base = y + text
            draw.text((x, base), caption, _TEXT, font(text), anchor="ls")
            draw.text((x + width, base), note, _FAINT, font(round(text * 0.85)), anchor="rs")
            sheet.paste(Image.fromarray(picture[..., :3]), (x, y + above))
        y += above + height + _GAP
    for line in lines:
        draw.text((_GAP, y + text * 0.88), line, _FAINT, font(round(text * 0.88)), anchor="ls")
        y += foot
    return np.asarray(sheet)


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own, so that sheets look alike everywhere."""
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has one size only
        return ImageFont.load_default()
