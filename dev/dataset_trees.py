"""Small trees in the exact file structure of the datasets that the command line reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from prior_tools import PALETTES

# label id: train id, as Cityscapes publishes it; all other labels are 255.
PUBLISHED = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10}
PUBLISHED |= {24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
# Of labels without a train id the published colors that differ from black.
VOID_COLORS = {5: (111, 74, 0), 6: (81, 0, 81), 9: (250, 170, 160), 10: (230, 150, 140)}
VOID_COLORS |= {14: (180, 165, 180), 15: (150, 100, 100), 16: (150, 120, 90)}
VOID_COLORS |= {18: (153, 153, 153), 29: (0, 0, 90), 30: (0, 0, 110)}


def blocks(values: Sequence[int], columns: int = 6, side: int = 10) -> np.ndarray:
    """An id map of square blocks that shows `values` in turn, as often as rows need it."""
    rows = -(-len(values) // columns)
    ids = np.resize(np.array(values), (rows, columns))
    return ids.repeat(side, 0).repeat(side, 1)


def save(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> Path:
    """Write a picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random colors, uint8 [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


# Of the images' shape.
LABEL_IDS = blocks(range(34), 6).astype(np.uint8).repeat(2, 1)
TRAIN_IDS = np.vectorize(lambda i: PUBLISHED.get(i, 255))(LABEL_IDS).astype(np.uint8)


def city_colors(label_ids: np.ndarray) -> np.ndarray:
    """What the dataset's *_color.png hold: four channels, opaque."""
    colors = np.zeros((*label_ids.shape, 4), np.uint8)
    colors[..., 3] = 255
    for label_id in np.unique(label_ids).tolist():
        palette = PALETTES["cityscapes"].colors
        color = (
            palette[PUBLISHED[label_id]]
            if label_id in PUBLISHED
            else VOID_COLORS.get(label_id, (0, 0, 0))
        )
        colors[label_ids == label_id, :3] = color
    return colors


def write_cityscapes(
    root: Path, split: str = "train", kinds: Sequence[str] = ("labelIds", "color", "trainIds")
) -> Path:
    """Two cities of two frames, with all that the archives hold beside the label maps."""
    for city, frame in (("aachen", 0), ("aachen", 1), ("bochum", 0), ("bochum", 7)):
        name = f"{city}/{city}_000000_{frame:06}"
        save(root / f"leftImg8bit/{split}/{name}_leftImg8bit.png", photo(60, 120, frame))
        labels = root / f"gtFine/{split}"
        save(labels / f"{name}_gtFine_instanceIds.png", LABEL_IDS.astype(np.uint16) * 1000)
        (labels / f"{name}_gtFine_polygons.json").write_text("{}")
        if "labelIds" in kinds:
            save(labels / f"{name}_gtFine_labelIds.png", LABEL_IDS)
        if "color" in kinds:
            save(labels / f"{name}_gtFine_color.png", city_colors(LABEL_IDS))
        if "trainIds" in kinds:
            save(labels / f"{name}_gtFine_labelTrainIds.png", TRAIN_IDS)
    (root / "README").write_text("")
    return root


def write_ade(root: Path, splits: Sequence[str] = ("training", "validation")) -> Path:
    """Three pairs a split, as the scene parsing benchmark's archive has them."""
    for split in splits:
        short = {"training": "train", "validation": "val"}[split]
        for i in range(1, 4):
            name = f"ADE_{short}_{i:08}"
            # Every image of ADE20K has a size of its own.
            ids = blocks([0, 1, 150, 12 + i, 3, 0], 3 + i).astype(np.uint8)
            save(root / f"images/{split}/{name}.jpg", photo(*ids.shape, i))
            save(root / f"annotations/{split}/{name}.png", ids)
    (root / "objectInfo150.txt").write_text("")
    (root / "sceneCategories.txt").write_text("")
    return root


COCO_IDS = blocks([0, 91, 181, 255, 10, 12], 3, 20).astype(np.uint8)


def write_coco(
    root: Path,
    images: str = "images",
    labels: str = "annotations",
    splits: Sequence[str] = ("train2017", "val2017"),
) -> Path:
    """Three images and pixel maps a split."""
    for split in splits:
        for i in (9, 25, 30):
            save(root / images / split / f"{i:012}.jpg", photo(40, 60, i))
            save(root / labels / split / f"{i:012}.png", COCO_IDS)
    return root


def write_two_folders(root: Path, splits: Sequence[str] = ("train", "val")) -> Path:
    """Three pairs a split in folders of equal names."""
    for split in splits:
        for i in range(3):
            ids = blocks([0, 1, 2, 3 + i, 4, 255]).astype(np.uint8)
            save(root / "images" / split / f"{i}.jpg", photo(10, 60, i))
            save(root / "labels" / split / f"{i}.png", ids)
    return root


WRITERS = {
    "cityscapes": write_cityscapes,
    "ade20k": write_ade,
    "coco-stuff": write_coco,
    "pairs": write_two_folders,
}
