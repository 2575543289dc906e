"""Scores of each image by itself: a folder that `evaluate` writes and `export` chooses by.

It holds `scores.jsonl`, first a line of what was measured how, then a line for each image, and
under `seen` a picture of the class ids that the segmentation model sees in each. The lines come
last: a folder without them is not finished.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic import TEMPORARY_NAMES, new_file, remove_leftovers, write_bytes
from ..datasets.label_files import label_hash
from ..datasets.picture_files import open_picture
from ..errors import PriorError
from ..json_values import integer, items, parsed, table, text
from ..labels.id_pictures import ids_as_png
from ..labels.reading import LabelRules, values_of
from .files import GeneratedImage
from .model_files import hash_file
from .segmentation import class_iou, mean_iou, pixel_accuracy

SCORES_NAME = "scores.jsonl"
_SEEN = "seen"

_HEAD = ("segmenter", "palette", "ignored_ids", "id_map", "ids_by", "class_names", "images")
_LINE = ("image", "sha256", "label_map", "label_sha256", "miou", "pixel_accuracy", "classes")
_CLASS = ("id", "iou", "pixels")


@dataclass(frozen=True)
class ImageScore:
    """How well an image obeys its label map.

    Attributes:
        image: its name, a path inside the folder of images.
        sha256, label_sha256: of the files of image and label map.
        miou: mean IoU over the classes that its label map holds; None where no pixel counts.
        pixels: class id -> pixels of the label map that count.
    """

    image: str
    sha256: str
    label_sha256: str
    miou: float | None
    pixels: Mapping[int, int]


@dataclass(frozen=True)
class Scores:
    """What `evaluate` found of each image.

    Attributes:
        folder: where it was written.
        segmenter: {"name", "sha256": {file: hex digits}} of the model.
        ignored_ids: classes whose pixels did not count.
        ids_by: see `hash_of_ids`, of how the label maps were read; palette: its name, in words.
        images: name -> score.
    """

    folder: Path
    segmenter: Mapping[str, Any]
    ignored_ids: tuple[int, ...]
    ids_by: str
    palette: str
    images: Mapping[str, ImageScore]

    def of(self, image: str) -> ImageScore:
        """The score of an image of this name; PriorError if it was not measured."""
        if image not in self.images:
            raise PriorError(
                f"{image} has no score in --scores {self.folder}; evaluate all images anew"
            )
        return self.images[image]

    def check_ids(self, rules: LabelRules) -> None:
        """Raise PriorError if label maps that are read by `rules` have other class ids."""
        if hash_of_ids(rules) != self.ids_by:
            raise PriorError(
                f"--scores {self.folder} are of class ids of palette {self.palette}, and these "
                f"label maps are read as others, by palette {rules.palette.name}"
                f"{' and an id map' * bool(rules.id_map)}; give the --palette and --id-map that "
                "evaluate had, or evaluate anew"
            )

    def seen(self, image: str) -> Tensor:
        """Class ids int64 [h, w] that the model sees in an image, as `write_seen` wrote them."""
        path = _seen_path(self.folder, image)
        picture = open_picture(path, "what a model sees", f"{_SEEN}/{image}", exact=True)
        return torch.from_numpy(values_of(picture, f"{_SEEN}/{image}"))


def hash_of_ids(rules: LabelRules) -> str:
    """A hash of what makes class ids of a label file: colors, those of no class, and the id map."""
    palette = rules.palette
    colors = [sorted(palette.colors.items()), sorted(palette.void)]
    id_map = sorted(rules.id_map.items()) if rules.id_map else None
    return hashlib.sha256(json.dumps([*colors, id_map]).encode()).hexdigest()[:16]


def image_name(image: GeneratedImage, folder: Path) -> str:
    """An image's path inside the folder of images, "/" between its parts."""
    return image.image.relative_to(folder).as_posix()


def check_scores(folder: Path, overwrite: bool) -> None:
    """Raise PriorError if a folder holds scores, unless `overwrite`, or other files."""
    path = folder / SCORES_NAME
    if folder.exists() and not folder.is_dir():
        raise PriorError(f"--scores {folder} is a file; expected a folder")
    if path.exists() and not overwrite:
        raise PriorError(f"{path} exists already; choose another --scores, or add --overwrite")
    if folder.exists() and not path.exists():
        # `begin_scores` removes what a killed evaluation left.
        others = (p for p in folder.iterdir() if not p.match(TEMPORARY_NAMES))
        strange = sorted(p.name for p in others if p.name != _SEEN)
        if strange:
            raise PriorError(
                f"--scores {folder} holds {strange[0]}, which is not of this command; choose "
                "another folder"
            )


def begin_scores(folder: Path) -> None:
    """Make the folder, without the lines of an evaluation before."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCORES_NAME).unlink(missing_ok=True)
    remove_leftovers(folder)


def write_seen(folder: Path, image: str, ids: Tensor) -> None:
    """Keep the class ids [h, w] that a model sees in an image."""
    write_bytes(_seen_path(folder, image), ids_as_png(ids.numpy()))


def write_scores(
    folder: Path,
    images: list[GeneratedImage],
    generated: Path,
    counts: Tensor,
    rules: LabelRules,
    first_class: int,
    head: Mapping[str, Any],
) -> None:
    """Write the lines of images.

    Args:
        generated: the folder that the images lie in.
        counts: int64 [N, 3, K], see `class_counts`; first_class: id of the first of K.
        rules: how the label maps were read.
        head: "segmenter", "palette", "ignored_ids", "id_map", "ids_by" and "class_names" of the
            evaluation.
    """
    labels: dict[Path, str] = {}
    with new_file(folder / SCORES_NAME) as file:
        file.write(_json_line({**head, "images": len(images)}))
        for image, counted in zip(images, counts, strict=True):
            if image.label not in labels:
                # Images of one label map are neighbors.
                labels = {image.label: label_hash(image.label, rules)}
            iou = class_iou(counted).tolist()
            present = counted[1].nonzero().flatten().tolist()
            line = {
                "image": image_name(image, generated),
                "sha256": hash_file(image.image),
                "label_map": image.map,
                "label_sha256": labels[image.label],
                "miou": _number(float(mean_iou(counted))),
                "pixel_accuracy": _number(float(pixel_accuracy(counted))),
                "classes": [
                    {"id": i + first_class, "iou": iou[i], "pixels": int(counted[1][i])}
                    for i in present
                ],
            }
            file.write(_json_line(line))


def read_scores(folder: Path) -> Scores:
    """What `write_scores` wrote.

    Raises PriorError if the folder holds no finished scores, OSError if they cannot be read.
    """
    path = folder / SCORES_NAME
    if not path.is_file():
        raise PriorError(
            f"--scores {folder} holds no {SCORES_NAME}; expected the folder that evaluate --scores "
            "wrote, to its end"
        )
    images: dict[str, ImageScore] = {}
    with path.open("rb") as file:
        with _line_told(path, 1):
            head = table(parsed(file.readline()), _HEAD, "the first line")
            model = table(head["segmenter"], ("name", "sha256"), "the segmenter")
            ignored = items(head["ignored_ids"], "ignored_ids")
            ignored = [integer(i, 0, 2**31, "an ignored id") for i in ignored]
            ids_by, palette = text(head["ids_by"], "ids_by"), text(head["palette"], "palette")
        for number, line in enumerate(file, 2):
            with _line_told(path, number):
                score = _score(parsed(line))
                images[score.image] = score
    with _line_told(path, 1):
        if integer(head["images"], 0, 2**63, "the number of images") != len(images):
            raise ValueError(f"it tells of {head['images']} images, and {len(images)} follow")
    return Scores(folder, model, tuple(ignored), ids_by, palette, images)


@contextmanager
def _line_told(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise PriorError(
            f"line {number} of {path} is not as evaluate writes it ({error}); evaluate anew"
        ) from error


def _score(data: object) -> ImageScore:
    line = table(data, _LINE, "a line of scores")
    pixels = {}
    for entry in items(line["classes"], "the classes"):
        found = table(entry, _CLASS, "a class")
        class_id = integer(found["id"], 0, 2**31, "a class id")
        pixels[class_id] = integer(found["pixels"], 0, 2**63, "a number of pixels")
    miou = line["miou"]
    if miou is not None and not (isinstance(miou, float) and 0 <= miou <= 1):
        raise ValueError(f"miou is {miou!r:.40}, expected 0..1")
    image, sha256, label = (text(line[name], name) for name in ("image", "sha256", "label_sha256"))
    return ImageScore(image, sha256, label, miou, pixels)


def _seen_path(folder: Path, image: str) -> Path:
    return folder / _SEEN / f"{image.rpartition('.')[0]}.png"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _json_line(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, allow_nan=False) + "\n").encode()
