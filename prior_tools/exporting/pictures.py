"""An image's file: taken as it is, or written anew."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from ..datasets.picture_files import is_upright, opened_head, read_image

# Of JPEG, with all of its color: what is left out cannot be seen.
JPEG_QUALITY = 95

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg"}


@dataclass(frozen=True)
class PictureFile:
    """An image as it comes to lie in a dataset.

    Attributes:
        suffix: of its name.
        size: (width, height).
        data: what is written; None where the file is taken as it is.
    """

    suffix: str
    size: tuple[int, int]
    data: bytes | None


def written_as(kind: str | None) -> str:
    """In words, what images are written as that are not taken as they are; see `picture_file`."""
    jpeg = f"JPEG at quality {JPEG_QUALITY}, with all of its color"
    return {"PNG": "PNG", "JPEG": jpeg}.get(kind or "", f"PNG, or where they were JPEG as {jpeg}")


def picture_file(path: Path, name: str, kind: str | None) -> PictureFile:
    """An image's file in 8-bit RGB, upright.

    Args:
        path, name: of the image, and what to call it.
        kind: "PNG" or "JPEG"; None keeps these two, and makes PNG of others.

    Raises PriorError for what is no picture; a damaged one is not passed on.
    """
    with opened_head(path, f"image {name}") as head:
        plain = head.mode == "RGB" and is_upright(head)
        found = head.format or ""
    picture = read_image(path, "image", name)
    wanted = kind or (found if found in SUFFIXES else "PNG")
    if plain and found == wanted:
        return PictureFile(SUFFIXES[wanted], picture.size, None)
    data = io.BytesIO()
    if wanted == "JPEG":
        picture.save(data, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        picture.save(data, "PNG")
    return PictureFile(SUFFIXES[wanted], picture.size, data.getvalue())
