"""The JSON file of COCO panoptic."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from dev.dataset_trees import write_coco_panoptic
from prior_tools import find_dataset
from prior_tools.datasets.label_files import read_label_file

from .mutation import changed, flipped, nested, torn

_SPLIT = "train2017"
_IMAGES = (9, 25, 30)
# As in the pictures of the tree.
_SEGMENTS = {3226956: 1, 8465: 1, 255: 3, 16777215: 92, 65536: 200}
_DOCUMENT = {
    "info": {"description": "x"},
    "images": [{"file_name": f"{i:012}.jpg", "id": i, "height": 40} for i in _IMAGES],
    "annotations": [
        {
            "segments_info": [
                {"id": number, "category_id": category, "iscrowd": 0}
                for number, category in _SEGMENTS.items()
            ],
            "file_name": f"{i:012}.png",
            "image_id": i,
        }
        for i in _IMAGES
    ],
    "categories": [{"isthing": 1, "id": i, "name": f"c{i}"} for i in (1, 3, 92, 200)],
}


def make(seed: int) -> bytes:
    """The file with values changed, or bytes of it."""
    rng = random.Random(seed)
    text = nested(rng) if rng.random() < 0.05 else json.dumps(changed(_DOCUMENT, rng))
    return rng.choice((*[lambda data, rng: data] * 6, flipped, torn))(text.encode(), rng)


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """The dataset is found, its label maps are read and painted."""
    path = folder / f"annotations/panoptic_{_SPLIT}.json"
    if not path.exists():
        write_coco_panoptic(folder, (_SPLIT,))

    def read() -> None:
        path.write_bytes(data)
        found = find_dataset("coco-panoptic", folder, _SPLIT)
        for pair in found.pairs:
            found.palette.paint(read_label_file(pair.label, found.rules).ids)
        "".join(found.palette.names.values()).encode()

    yield read
