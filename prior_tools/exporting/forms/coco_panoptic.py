"""COCO panoptic: pictures of segments and a JSON file, with one segment a class."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ...atomic import new_file
from ...labels.id_pictures import as_png
from ...labels.palette_colors import bit_color
from ...labels.palettes import Palette
from ..classes import Classes
from ..items import TRAIN, VAL, Item
from .form import Form, Line

_FOLDERS = {TRAIN: "train2017", VAL: "val2017"}
_VOID = 0


def _image(item: Item) -> str:
    return f"images/{_FOLDERS[item.split]}/{item.number:012d}"


def _labels(item: Item, ids: np.ndarray, _classes: Classes) -> Mapping[str, bytes]:
    """A segment's number is its category's, in red + 256 green + 256**2 blue."""
    levels = np.stack([ids >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8)
    place = f"annotations/panoptic_{_FOLDERS[item.split]}/{item.number:012d}.png"
    return {place: as_png(Image.fromarray(levels))}


def _told(ids: np.ndarray, _classes: Classes) -> Mapping[str, Any]:
    segments = []
    for category in np.unique(ids[ids != _VOID]).tolist():
        there = ids == category
        rows, columns = there.any(1).nonzero()[0], there.any(0).nonzero()[0]
        left, top = int(columns[0]), int(rows[0])
        segments.append(
            {
                "id": category,
                "category_id": category,
                "area": int(there.sum()),
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "iscrowd": 0,
            }
        )
    return {"segments": segments}


def _finish(root: Path, lines: Callable[[], Iterable[Line]], classes: Classes) -> None:
    """A JSON file for each split that has images, written line by line."""
    splits = {line["split"] for line in lines()}
    for split in sorted(splits):
        folder = _FOLDERS[split]

        def images(split: str = split) -> Iterable[Mapping[str, Any]]:
            for line in lines():
                if line["split"] == split:
                    path = PurePosixPath(line["files"][0])
                    width, height = line["size"]
                    yield {
                        "id": line["number"],
                        "file_name": path.name,
                        "width": width,
                        "height": height,
                    }

        def annotations(split: str = split) -> Iterable[Mapping[str, Any]]:
            for line in lines():
                if line["split"] == split:
                    yield {
                        "image_id": line["number"],
                        "file_name": PurePosixPath(line["files"][1]).name,
                        "segments_info": line["segments"],
                    }

        info = {"description": f"Generated images. {FORM.note}"}
        with new_file(root / f"annotations/panoptic_{folder}.json") as file:
            file.write(f'{{"info": {json.dumps(info)}'.encode())
            for name, entries in (
                ("categories", _categories(classes)),
                ("images", images()),
                ("annotations", annotations()),
            ):
                file.write(f',\n"{name}": ['.encode())
                for number, entry in enumerate(entries):
                    file.write(f"{',' if number else ''}\n{json.dumps(entry)}".encode())
                file.write(b"]")
            file.write(b"}\n")


def _categories(classes: Classes) -> Iterable[Mapping[str, Any]]:
    palette = classes.palette
    for class_id, category in classes.partners.items():
        yield {
            "id": category,
            "name": palette.names.get(class_id, str(class_id)),
            "supercategory": "",
            "isthing": 0,
            "color": list(palette.colors.get(class_id, bit_color(category % 256))),
        }


def _shift(palette: Palette) -> int:
    """COCO counts categories from 1: those of its pixel maps, and others with a class 0, too."""
    return int(palette.holds(0) and 0 not in palette.ignore_ids)


FORM = Form(
    name="coco-panoptic",
    title="COCO panoptic",
    image=_image,
    labels=_labels,
    note="One segment a class: objects of a class are not told apart, so every category is written "
    "as stuff (isthing 0). Segment 0 is no class. Where the label maps have a class 0, the id of a "
    "category is the class id + 1.",
    picture="JPEG",
    void=_VOID,
    shift=_shift,
    keeps_ignored=False,
    told=_told,
    finish=_finish,
)
