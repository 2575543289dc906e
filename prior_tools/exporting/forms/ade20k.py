"""ADE20K's scene parsing benchmark: images and annotations, 0 = other, 1..150."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...labels.id_pictures import ids_as_png
from ...labels.palettes import PALETTES
from ..classes import Classes
from ..items import TRAIN, Item
from .form import Form


def _place(side: str, item: Item) -> str:
    folder = "training" if item.split == TRAIN else "validation"
    return f"{side}/{folder}/ADE_{item.split}_{item.number:08d}"


def _image(item: Item) -> str:
    return _place("images", item)


def _labels(item: Item, ids: np.ndarray, _classes: Classes) -> Mapping[str, bytes]:
    return {f"{_place('annotations', item)}.png": ids_as_png(ids)}


FORM = Form(
    name="ade20k",
    title="ADE20K, the scene parsing benchmark",
    image=_image,
    labels=_labels,
    note="Annotations hold 1 to 150, and 0 where there is no class.",
    picture="JPEG",
    target=PALETTES["ade20k"],
    own=("ade20k", "ade20k_base7"),
    void=0,
)
