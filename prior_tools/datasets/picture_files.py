"""Picture files: read whole, turned upright, brought to 8-bit colors."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import PriorError, reason

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS_PER_SAMPLE = 0x0102

# Pixels. Not even PNG files of one color and a bit a pixel hold more in a byte.
_LARGE, _MOST_PER_BYTE = 2**23, 10_000


def open_picture(path: Path, what: str, name: str = "") -> Image.Image:
    """A picture, read whole; PriorError says why a file cannot be read.

    `what` it is and its `name`, by default the file's, are for that message.
    """
    said = f"{what} {name or path.name} cannot be read"
    try:
        with _PictureFile(path) as file:
            picture: Image.Image = Image.open(file)
            _check_size(picture.size, file.size)
            picture.load()
        return picture
    except UnidentifiedImageError as error:
        # Its own text is the whole path.
        raise PriorError(f"{said}: it is not a picture") from error
    except Exception as error:
        # What Pillow raises for a damaged file depends on where in its parsers that one leads.
        raise PriorError(f"{said}: {reason(error)}") from error


class _PictureFile(io.BufferedReader):
    """A file of which a read makes room for no more bytes than it has, whatever parts of it claim.

    size: of the file, in bytes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb", buffering=0))
        self.size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, max(0, self.size - self.tell()))
        return super().read(size)


def _check_size(size: tuple[int, int], in_file: int) -> None:
    """ValueError where only a file made to fill the memory, or a damaged one, can be so small."""
    width, height = size
    if width * height > max(_LARGE, _MOST_PER_BYTE * in_file):
        raise ValueError(
            f"it claims to hold {width}x{height} pixels in {in_file} bytes; if it does, save it as "
            "PNG"
        )


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data says; as it is where they cannot be read."""
    turn = _turn(picture)
    return picture if turn is None else picture.transpose(turn)


def read_image(
    path: Path, what: str, name: str = "", label_size: tuple[int, int] | None = None
) -> Image.Image:
    """A picture in 8-bit RGB, turned upright unless its label map was drawn on it unturned.

    Args:
        path, what, name: see `open_picture`.
        label_size: (width, height) of the label map, if there is one.

    Raises PriorError as `open_picture` and `as_rgb` do.
    """
    picture = open_picture(path, what, name)
    turn = _turn(picture)
    # First, since what tells the range of its values is lost by turning.
    picture = as_rgb(picture, f"{what} {name or path.name}")
    turned = picture if turn is None else picture.transpose(turn)
    drawn_unturned = label_size == picture.size != turned.size
    return picture if drawn_unturned else turned


def as_rgb(picture: Image.Image, what: str) -> Image.Image:
    """A picture, as opened, in 8-bit colors; grey of up to 16 bits is scaled.

    Raises PriorError for wider grey and for floats: what of them is white is not known.
    """
    # Grey PNGs of 16 bits are "I" in older releases of Pillow. Its own conversion clips.
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
        picture = Image.fromarray((np.asarray(picture) >> (bits - 8)).astype(np.uint8))
    if picture.mode in ("I", "F"):
        kind = "whole numbers of more than 16 bits" if picture.mode == "I" else "floats"
        raise PriorError(
            f"{what} holds {kind}, of which nothing tells which is white; save it with 8 or 16 "
            "bits a channel"
        )
    return picture.convert("RGB")


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """What brings a picture upright; None if nothing does or its EXIF data cannot be read."""
    try:
        return _TURNS.get(int(picture.getexif().get(_ORIENTATION, 1)))
    except Exception:
        # Damaged EXIF data end in many kinds of errors, and say nothing of the pixels.
        return None
