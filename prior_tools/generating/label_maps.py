"""The label maps of a folder, and the file in which one or several of them go to a server.

All go as PNG of 8 bits a channel in RGB, which every release of the host reads exactly: later ones
read grey levels above 128 one too low, 16 bits as noise, and no file whose EXIF data are damaged.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..datasets.pairs import files_by_name
from ..datasets.picture_files import open_picture, upright
from ..errors import PriorError
from ..labels.files import is_of_one_channel, label_ids, values_of
from ..labels.palettes import Palette, get_palette
from .animated_png import animated_png

# What plain grey ids ignore.
_UNKNOWN = 255


@dataclass(frozen=True)
class LabelMap:
    """A label file.

    Attributes:
        stem: path inside the folder of label maps without the suffix, "/" between its parts.
        name: the same with the suffix.
        path: where it lies.
        sha256: of the file, in hex.
        palette: name of the palette that it is read by, and in whose colors it is sent; None sends
            what it shows, and ids in a file of one channel as grey levels.
    """

    stem: str
    name: str
    path: Path
    sha256: str
    palette: str | None = None


def find_label_maps(folder: Path, palette: str | None = None) -> list[LabelMap]:
    """The picture files below a folder by ascending stem.

    Raises PriorError if there are none, or if two differ in the suffix only: their images would
    have the same name.
    """
    return [
        LabelMap(
            stem, stem + path.suffix, path, hashlib.sha256(path.read_bytes()).hexdigest(), palette
        )
        for stem, path in sorted(files_by_name(folder, "label").items())
    ]


def shape_of(label_map: LabelMap) -> tuple[int, int, int]:
    """(height, width, channels) of what is sent; 4 channels if LoadImage makes a mask of one.

    Raises PriorError for what is no picture.
    """
    picture = _opened(label_map)
    shows_alpha = label_map.palette is None and _has_alpha(picture)
    return picture.height, picture.width, 4 if shows_alpha else 3


def upload_name(label_maps: Sequence[LabelMap]) -> str:
    """A file name made of the content of `upload_data`."""
    parts = [f"{label_map.sha256} {label_map.palette}" for label_map in label_maps]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32] + ".png"


def upload_data(label_maps: Sequence[LabelMap]) -> bytes:
    """A PNG of which LoadImage makes [N, H, W, 3], in the order of the label maps.

    Raises PriorError for what is no picture, what `label_ids` refuses, and ids that have neither
    colors nor a grey level.
    """
    frames = [_pixels(label_map) for label_map in label_maps]
    if len(frames) > 1:
        return animated_png(frames)
    data = io.BytesIO()
    Image.fromarray(frames[0]).save(data, "PNG")
    return data.getvalue()


def _pixels(label_map: LabelMap) -> np.ndarray:
    """uint8 [H, W, 3 or 4]."""
    picture = _opened(label_map)
    palette = None if label_map.palette is None else get_palette(label_map.palette)
    if is_of_one_channel(picture) and (palette is None or palette.is_grey):
        return _grey(picture, label_map.name, unknown=palette is not None)
    if palette is None:
        return np.array(picture.convert("RGBA" if _has_alpha(picture) else "RGB"))
    return _painted(picture, label_map.name, palette)


def _grey(picture: Image.Image, name: str, unknown: bool) -> np.ndarray:
    """Ids as grey levels, uint8 [H, W, 3]; -1 is sent as ignored if `unknown`."""
    ids = values_of(picture, name)
    if unknown:
        ids = np.where(ids == -1, _UNKNOWN, ids)
    wrong = ids[(ids < 0) | (ids > 255)]
    if len(wrong):
        raise PriorError(
            f"label map {name} holds class id {wrong[0]}; ids go to a server as grey levels of 8 "
            "bits, 0..255. Give the --palette that has a color for each id, or renumber them"
        )
    return np.repeat(ids.astype(np.uint8)[..., None], 3, axis=-1)


def _painted(picture: Image.Image, name: str, palette: Palette) -> np.ndarray:
    """A label file in the palette's colors, uint8 [H, W, 3]."""
    ids = label_ids(picture, name, palette, palette.ignore_ids)
    if palette.is_grey:
        # Black would be class 0; of palettes with colors black is ignored or no class.
        ids = torch.where(ids < 0, _UNKNOWN, ids)
    return palette.paint(ids).numpy()


def _opened(label_map: LabelMap) -> Image.Image:
    return upright(open_picture(label_map.path, "label map", label_map.name))


def _has_alpha(picture: Image.Image) -> bool:
    return "A" in picture.getbands() or (picture.mode == "P" and "transparency" in picture.info)
