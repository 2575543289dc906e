"""Two folders of equal names, images and labels, with a subfolder a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from ...atomic import write_bytes
from ...labels.id_pictures import ids_as_png
from ...labels.ids import MAX_CLASS_ID
from ...labels.palette_files import palette_text
from ...labels.palette_formats import Row
from ..classes import Classes
from ..items import Item
from .form import Form, Line

PALETTE_NAME = "palette.json"


def _image(item: Item) -> str:
    return f"images/{item.split}/{item.stem}"


def _labels(item: Item, ids: np.ndarray, _classes: Classes) -> Mapping[str, bytes]:
    return {f"labels/{item.split}/{item.stem}.png": ids_as_png(ids)}


def write_palette(root: Path, _lines: Callable[[], Iterable[Line]], classes: Classes) -> None:
    """The palette in a file, with what is void among what is ignored; none of plain ids."""
    palette = classes.palette
    if palette.is_grey:
        return
    ids = {*palette.colors, *palette.names, *palette.ignore_ids, classes.void}
    rows = [
        Row(
            "",
            class_id,
            palette.names.get(class_id, ""),
            palette.colors.get(class_id),
            class_id in palette.ignore_ids or class_id == classes.void,
        )
        for class_id in sorted(ids)
        if class_id <= MAX_CLASS_ID
    ]
    write_bytes(root / PALETTE_NAME, palette_text(palette.name, rows).encode())


FORM = Form(
    name="pairs",
    title="pairs of files",
    image=_image,
    labels=_labels,
    note="images/SPLIT and labels/SPLIT hold files of equal names; labels are class ids of "
    f"{PALETTE_NAME}.",
    finish=write_palette,
)
