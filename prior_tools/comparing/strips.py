"""A label map, its real image and what both starts made of it, beside each other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..evaluation.files import read_generated, read_real
from ..generating.label_maps import LabelMap, upload_data
from ..labels.geometry import crop_box

COLUMNS = ("label map", "real image", "stock start", "prior's start")

# Pixels of a picture's longer side, between pictures, and of a line of text.
_SIDE, _GAP, _LINE, _LETTERS = 320, 8, 26, 16
_WHITE, _BLACK, _GREY, _BLANK = (255,) * 3, (24,) * 3, (96,) * 3, (238,) * 3
_QUALITY = 90


@dataclass(frozen=True)
class Strip:
    """Pictures of a label map.

    Attributes:
        name: of the label map.
        caption: what it gained.
        pictures: as `COLUMNS`, of one size; None where there is no real image.
    """

    name: str
    caption: str
    pictures: tuple[Image.Image | None, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture."""
        return next(picture.size for picture in self.pictures if picture)


def read_strip(
    label_map: LabelMap, real: Path | None, stock: Path, prior: Path, caption: str
) -> Strip:
    """The pictures of a label map, the label map as the ControlNet was shown it.

    Raises PriorError for what is no picture.
    """
    images = [Image.fromarray(read_generated(path).numpy()) for path in (stock, prior)]
    size = images[0].size
    with Image.open(io.BytesIO(upload_data([label_map]))) as sent:
        label = sent.convert("RGB")
    label = label.crop(crop_box(label.size, size)).resize(size, Image.Resampling.NEAREST)
    photo = None if real is None else Image.fromarray(read_real(real, size).numpy())
    small = [_small(label, Image.Resampling.NEAREST), photo and _small(photo), *map(_small, images)]
    return Strip(label_map.stem, caption, tuple(small))


def jpeg(picture: Image.Image) -> bytes:
    """A picture as a small file; colors keep their edges."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=_QUALITY, subsampling=0)
    return data.getvalue()


def contact_sheet(groups: Sequence[tuple[str, Sequence[Strip]]]) -> Image.Image:
    """All strips under each other, in groups with a heading.

    Raises ValueError if there are none.
    """
    strips = [strip for _, group in groups for strip in group]
    if not strips:
        raise ValueError("there are no strips")
    # Of one size, as the images are.
    width, height = strips[0].size
    headings = [text for text, group in groups if group]
    row = _LINE + height + _GAP
    sheet = Image.new(
        "RGB",
        (
            len(COLUMNS) * (width + _GAP) + _GAP,
            _GAP + _LINE + len(headings) * (_LINE + _GAP) + len(strips) * row,
        ),
        _WHITE,
    )
    draw = ImageDraw.Draw(sheet)
    lefts = [_GAP + i * (width + _GAP) for i in range(len(COLUMNS))]
    for left, text in zip(lefts, COLUMNS, strict=True):
        draw.text((left, _GAP), text, _BLACK, _font())
    top = _GAP + _LINE
    for heading, group in groups:
        if not group:
            continue
        draw.text((_GAP, top + _GAP), heading, _BLACK, _font())
        top += _LINE + _GAP
        for strip in group:
            # Pillow's own font has no other letters.
            text = ": ".join(filter(None, (strip.name, strip.caption)))
            text = text.encode("ascii", "backslashreplace").decode()
            draw.text((_GAP, top), text, _GREY, _font())
            for left, picture in zip(lefts, strip.pictures, strict=True):
                box = (left, top + _LINE, left + width, top + _LINE + height)
                if picture is None:
                    draw.rectangle(box, _BLANK)
                else:
                    sheet.paste(picture, box[:2])
            top += row
    return sheet


def _small(
    picture: Image.Image, resample: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    """No larger than a sheet needs."""
    scale = _SIDE / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), resample)


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    try:
        return ImageFont.load_default(_LETTERS)
    except TypeError:  # Pillow before 10.1 has one size only
        return ImageFont.load_default()
