"""The label maps of a folder, and the file in which one or several of them go to a server."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..datasets.pairs import files_by_name
from ..errors import PriorError
from .animated_png import animated_png

_ORIENTATION = 0x0112
_FIRST_ON_ITS_SIDE = 5


@dataclass(frozen=True)
class LabelMap:
    """A label file.

    Attributes:
        stem: path inside the folder of label maps without the suffix, "/" between its parts.
        name: the same with the suffix.
        path: where it lies.
        sha256: of the file, in hex.
    """

    stem: str
    name: str
    path: Path
    sha256: str


def find_label_maps(folder: Path) -> list[LabelMap]:
    """The picture files below a folder by ascending stem.

    Raises PriorError if there are none, or if two differ in the suffix only: their images would
    have the same name.
    """
    return [
        LabelMap(stem, stem + path.suffix, path, hashlib.sha256(path.read_bytes()).hexdigest())
        for stem, path in sorted(files_by_name(folder, "label").items())
    ]


def shape_of(label_map: LabelMap) -> tuple[int, int, int]:
    """(height, width, channels) as LoadImage shows it; 4 channels if it makes a mask of it.

    Raises PriorError for what is no picture, or holds more than eight bits a channel.
    """
    try:
        with Image.open(label_map.path) as picture:
            width, height = picture.size
            if picture.getexif().get(_ORIENTATION, 1) >= _FIRST_ON_ITS_SIDE:
                width, height = height, width
            if picture.mode.startswith(("I", "F")):
                raise PriorError(
                    f"label map {label_map.name} holds more than 8 bits a channel, which a file "
                    "of several cannot; use --batch 1"
                )
            return height, width, 4 if _has_alpha(picture) else 3
    except (OSError, Image.DecompressionBombError) as error:
        raise PriorError(f"label map {label_map.name} cannot be read: {error}") from error


def upload_name(label_maps: Sequence[LabelMap]) -> str:
    """A file name made of the content of `upload_data`."""
    digests = "".join(label_map.sha256 for label_map in label_maps)
    if len(label_maps) == 1:
        return digests[:32] + label_maps[0].path.suffix.lower()
    return hashlib.sha256(digests.encode()).hexdigest()[:32] + ".png"


def upload_data(label_maps: Sequence[LabelMap]) -> bytes:
    """A file of which LoadImage makes [N, H, W, 3].

    A single map is sent as it is, several in one file in which the order is kept.
    """
    if len(label_maps) == 1:
        return label_maps[0].path.read_bytes()
    return animated_png([_pixels(label_map) for label_map in label_maps])


def _pixels(label_map: LabelMap) -> np.ndarray:
    """uint8 [H, W, 3 or 4], read as LoadImage reads it."""
    try:
        with Image.open(label_map.path) as opened:
            picture = ImageOps.exif_transpose(opened)
            return np.array(picture.convert("RGBA" if _has_alpha(picture) else "RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise PriorError(f"label map {label_map.name} cannot be read: {error}") from error


def _has_alpha(picture: Image.Image) -> bool:
    return "A" in picture.getbands() or (picture.mode == "P" and "transparency" in picture.info)
