"""WebDataset: archives (shards) in which the files of an image follow each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...labels.id_pictures import ids_as_png
from ..classes import Classes
from ..items import Item
from .form import Form
from .pairs import PALETTE_NAME, write_palette


def _key(item: Item) -> str:
    """A key ends at the first dot."""
    return item.stem.replace(".", "_")


def _labels(item: Item, ids: np.ndarray, _classes: Classes) -> Mapping[str, bytes]:
    return {f"{_key(item)}.seg.png": ids_as_png(ids)}


FORM = Form(
    name="webdataset",
    title="WebDataset",
    image=_key,
    labels=_labels,
    note="SPLIT-NUMBER.tar holds for each image KEY.png or KEY.jpg, KEY.seg.png, its class ids of "
    f"{PALETTE_NAME}, and KEY.json. A shard is mixed of all label maps.",
    finish=write_palette,
    shards=True,
)
