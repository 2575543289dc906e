"""The label maps of a folder, and the file in which one or several of them go to a server."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets.pairs import files_by_name
from ..datasets.picture_files import open_picture, upright
from ..errors import PriorError
from .animated_png import animated_png


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
    picture = _opened(label_map)
    if picture.mode.startswith(("I", "F")):
        raise PriorError(
            f"label map {label_map.name} holds more than 8 bits a channel, which a file of "
            "several cannot; use --batch 1"
        )
    return picture.height, picture.width, 4 if _has_alpha(picture) else 3


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
    picture = _opened(label_map)
    return np.array(picture.convert("RGBA" if _has_alpha(picture) else "RGB"))


def _opened(label_map: LabelMap) -> Image.Image:
    return upright(open_picture(label_map.path, "label map", label_map.name))


def _has_alpha(picture: Image.Image) -> bool:
    return "A" in picture.getbands() or (picture.mode == "P" and "transparency" in picture.info)
