"""Cityscapes: labelIds, trainIds and colors, under leftImg8bit and gtFine, a folder a city."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from PIL import Image

from ...labels.built_in_palettes import cityscapes_label_colors
from ...labels.id_maps import CITYSCAPES_TRAIN_IDS
from ...labels.id_pictures import as_png, ids_as_png
from ...labels.palettes import PALETTES
from ..classes import Classes
from ..items import Item
from .form import Form

# The city of label maps that lie in no folder.
_CITY = "generated"
_LABEL_IDS = range(34)

_TRAIN_IDS = np.array([CITYSCAPES_TRAIN_IDS[i] for i in _LABEL_IDS], np.uint8)
_COLORS = np.array([(*cityscapes_label_colors()[i], 255) for i in _LABEL_IDS], np.uint8)


def _place(side: str, item: Item) -> str:
    """As the dataset names a frame: its city, its sequence (a label map), its number in it."""
    folder = item.image.map.rpartition("/")[0].rpartition("/")[2]
    city = re.sub("[^a-z0-9]+", "-", folder.lower()).strip("-") or _CITY
    return f"{side}/{item.split}/{city}/{city}_{item.map_number:06d}_{item.rank:06d}"


def _image(item: Item) -> str:
    return f"{_place('leftImg8bit', item)}_leftImg8bit"


def _labels(item: Item, ids: np.ndarray, _classes: Classes) -> Mapping[str, bytes]:
    place = _place("gtFine", item)
    return {
        f"{place}_gtFine_labelIds.png": ids_as_png(ids),
        f"{place}_gtFine_labelTrainIds.png": ids_as_png(_TRAIN_IDS[ids]),
        f"{place}_gtFine_color.png": as_png(Image.fromarray(_COLORS[ids])),
    }


FORM = Form(
    name="cityscapes",
    title="Cityscapes",
    image=_image,
    labels=_labels,
    note="Each image has labelIds, trainIds and colors. There are no instances: neither "
    "instanceIds nor polygons. Places without a class are 0, unlabeled (trainId 255). A sequence "
    "is a label map, its frames are the images of it.",
    picture="PNG",
    target=PALETTES["cityscapes_label_ids"],
    own=("cityscapes", "cityscapes_label_ids", "bdd100k"),
    void=0,
)
