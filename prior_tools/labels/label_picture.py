"""A label map at a glance: a picture of it with its classes; and the look of all such pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .palette_colors import Color, own_colors
from .palettes import PALETTES, Palette
from .reading import LabelReading
from .tally import LabelTally

BACKGROUND, TEXT, FAINT, BAR = (30, 31, 34), (226, 227, 230), (150, 153, 160), (86, 130, 190)
MARGIN = 16
# More than fit into a picture; a file may hold names without end.
MOST_LETTERS = 100

_WIDTH, _ROW, _STRIPE = 480, 26, 4
_MOST_CLASSES, _MOST_IGNORED = 12, 4
_HATCH = (255, 255, 255)

# What stands before a row, and the row: its name and share of all pixels.
_Swatch = Color | Literal["hatched", "nothing"]
_Row = tuple[_Swatch, str, float]


def describe_labels(reading: LabelReading, palette: Palette, title: str) -> Tensor:
    """The first of some label maps in visible colors, and the classes of all with their shares.

    What has no class is hatched in white, as `paint_labels` does it. Plain ids have the colors of
    another palette here, since grey levels of small ids look all alike.

    Args:
        reading: of label maps, ids [N, H, W].
        palette: that they were read by.
        title: heading, such as the file's name.

    Returns:
        float32 [H, W, 3] in 0..1.
    """
    classes = [i for i in reading.tally.classes if i not in palette.ignore_ids]
    shown = visible_palette(palette, classes)
    rows = _rows(reading.tally, palette, shown)
    panel = _panel(reading.ids[0], shown)
    top = MARGIN + 52
    legend = top + panel.height + MARGIN
    sheet = Image.new("RGB", (_WIDTH, legend + len(rows) * _ROW + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), _cut(draw, title, _WIDTH - 2 * MARGIN, 18), TEXT, font(18))
    draw.text((MARGIN, MARGIN + 22), _summary(reading, palette, len(classes)), FAINT, font(15))
    sheet.paste(panel, ((_WIDTH - panel.width) // 2, top))
    for index, (color, text, share) in enumerate(rows):
        _draw_row(draw, legend + index * _ROW, color, text, share)
    return torch.from_numpy(np.array(sheet)).to(torch.float32) / 255


def without_class(ids: Tensor, palette: Palette) -> Tensor:
    """Where label maps [...] have no class that counts: unknown, or ignored by the palette."""
    ignored = torch.tensor(palette.ignore_ids, dtype=ids.dtype)
    return (ids < 0) | torch.isin(ids, ignored)


def visible_palette(palette: Palette | None, class_ids: Collection[int]) -> Palette:
    """The palette with a color for each of these classes, also for those that it lacks."""
    colors = {} if palette is None else palette.colors
    without = [i for i in class_ids if i not in colors]
    if palette is not None and not palette.is_grey and not without:
        return palette
    # Borrow the colors of a large palette: they were chosen to be told apart.
    borrowed = list(PALETTES["ade20k"].colors.values())[1:]
    wanted = {**{i: borrowed[i % len(borrowed)] for i in without}, **colors}
    ignored, void = (palette.ignore_ids, palette.void) if palette else ((), ())
    return Palette("generated", own_colors(wanted, ignored, void), {}, void, ignored)


def hatching(shape: tuple[int, int], stripe: int = 2) -> Tensor:
    """Stripes that run down to the left, as a mask [h, w]; each so many pixels wide."""
    rows = torch.arange(shape[0])[:, None] + torch.arange(shape[1])
    return rows // stripe % 2 == 0


@cache
def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font of all such pictures."""
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has one size only
        return ImageFont.load_default()


def _rows(tally: LabelTally, palette: Palette, shown: Palette) -> list[_Row]:
    """Of the classes, the most frequent first; then of what has no class."""

    def first(ids: list[int], most: int, color: Callable[[int], _Swatch], more: str) -> list[_Row]:
        names = {i: f"{i}  {palette.names.get(i, '')}".rstrip() for i in ids}
        rows = [(color(i), names[i] + more, tally.share(tally.classes[i])) for i in ids[:most]]
        if rest := ids[most:]:
            pixels = sum(tally.classes[i] for i in rest)
            rows.append(("nothing", f"and {len(rest)} more{more}", tally.share(pixels)))
        return rows

    ids = [i for i, _ in tally.classes.most_common()]
    ignored = [i for i in ids if i in palette.ignore_ids]
    counted = [i for i in ids if i not in palette.ignore_ids]
    rows = first(counted, _MOST_CLASSES, lambda i: shown.colors[i], "")
    rows += first(ignored, _MOST_IGNORED, lambda _: "hatched", " (ignored)")
    without = [("no class", tally.void), ("unknown colors", tally.unknown)]
    return rows + [("hatched", text, tally.share(pixels)) for text, pixels in without if pixels]


def _panel(ids: Tensor, palette: Palette) -> Image.Image:
    """A label map [H, W] as large as it fits, in the palette's colors."""
    height, width = ids.shape
    most = _WIDTH - 2 * MARGIN
    scale = most / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    down, across = (torch.arange(n) * side // n for n, side in zip(size, ids.shape, strict=True))
    small = ids[down][:, across]
    bare = without_class(small, palette)
    painted = palette.paint(torch.where(bare, -1, small))
    painted[bare] = torch.tensor(BACKGROUND, dtype=torch.uint8)
    painted[bare & hatching(size, _STRIPE)] = torch.tensor(_HATCH, dtype=torch.uint8)
    return Image.fromarray(painted.numpy())


def _summary(reading: LabelReading, palette: Palette, classes: int) -> str:
    number, height, width = reading.ids.shape
    first = f"first of {number}, " if number > 1 else ""
    of = f"{classes} {'class' if classes == 1 else 'classes'} of {palette.name}"
    return f"{first}{width}x{height} pixels, {of[:60]}"


def _draw_row(draw: ImageDraw.ImageDraw, y: int, swatch: _Swatch, text: str, share: float) -> None:
    x, side = MARGIN, 16
    if swatch != "nothing":
        color = BACKGROUND if isinstance(swatch, str) else swatch
        draw.rectangle((x, y + 3, x + side, y + 3 + side), color, FAINT)
    if swatch == "hatched":
        stripes = Image.fromarray(hatching((side - 1, side - 1), _STRIPE).numpy())
        draw.bitmap((x + 1, y + 4), stripes, _HATCH)
    draw.text((x + 26, y), _cut(draw, text, 236, 17), TEXT, font(17))
    draw.rectangle((x + 272, y + 6, x + 272 + round(100 * share), y + 16), BAR)
    said = f"{share:.1%}" if share >= 0.0005 else "<0.1%"
    draw.text((_WIDTH - MARGIN, y), said, FAINT, font(17), anchor="ra")


def _cut(draw: ImageDraw.ImageDraw, text: str, width: int, size: int) -> str:
    """The text, or as much of its beginning as fits."""
    text = text[:MOST_LETTERS]
    if draw.textlength(text, font(size)) <= width:
        return text
    while text and draw.textlength(f"{text}...", font(size)) > width:
        text = text[:-1]
    return f"{text}..."
