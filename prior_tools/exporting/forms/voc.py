"""PASCAL VOC: JPEGImages, SegmentationClass, and lists of the names of each split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from ...atomic import write_bytes
from ...labels.id_pictures import ids_as_png
from ...labels.palette_colors import bit_color
from ...labels.palettes import PALETTES
from ..classes import Classes
from ..items import TRAIN, VAL, Item
from .form import Form, Line

_ROOT = "VOCdevkit/VOC2012"
_COLORS = [bit_color(i) for i in range(256)]


def _name(item: Item) -> str:
    return f"2012_{item.number:06d}"


def _image(item: Item) -> str:
    return f"{_ROOT}/JPEGImages/{_name(item)}"


def _labels(item: Item, ids: np.ndarray, _classes: Classes) -> Mapping[str, bytes]:
    return {f"{_ROOT}/SegmentationClass/{_name(item)}.png": ids_as_png(ids, _COLORS)}


def _finish(root: Path, lines: Callable[[], Iterable[Line]], _classes: Classes) -> None:
    """The lists, in the order of the names."""
    names: dict[str, list[str]] = {TRAIN: [], VAL: []}
    for line in lines():
        names[line["split"]].append(PurePosixPath(line["files"][0]).stem)
    names["trainval"] = names[TRAIN] + names[VAL]
    for split, listed in names.items():
        text = "".join(f"{name}\n" for name in sorted(listed))
        write_bytes(root / _ROOT / f"ImageSets/Segmentation/{split}.txt", text.encode())


FORM = Form(
    name="voc",
    title="PASCAL VOC",
    image=_image,
    labels=_labels,
    note="Labels are class ids in files with VOC's color table; 255 where there is no class. There "
    "are no objects: neither SegmentationObject nor Annotations.",
    picture="JPEG",
    target=PALETTES["pascal_voc"],
    own=("pascal_voc",),
    void=255,
    finish=_finish,
)
