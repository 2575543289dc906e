"""Small trees in the exact file structure of the datasets that the command line reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from prior_tools import PALETTES, Layout, Palette, find_dataset
from prior_tools.labels.palette_colors import bit_color

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


# Numbers of classes of the full ADE20K, of one and of two channels; 0 is what is not labelled.
ADE_FULL_IDS = blocks([0, 1, 255, 256, 1000, 2978], 3)


def write_ade_full(root: Path, splits: Sequence[str] = ("training", "validation")) -> Path:
    """Three images a split in folders of scenes, with all that the release of 2021 has beside."""
    for split in splits:
        short = {"training": "train", "validation": "val"}[split]
        for i, scene in enumerate(("cultural/apse__indoor", "urban/street", "urban/street")):
            name = f"ADE_{short}_{i:08}"
            folder = root / f"images/ADE/{split}/{scene}"
            save(folder / f"{name}.jpg", photo(*ADE_FULL_IDS.shape, i))
            levels = np.zeros((*ADE_FULL_IDS.shape, 3), np.uint8)
            levels[..., 0], levels[..., 1] = ADE_FULL_IDS // 256 * 10, ADE_FULL_IDS % 256
            # Objects of one class differ in blue.
            levels[::2, :, 2] = 40 + i
            save(folder / f"{name}_seg.png", levels)
            save(folder / f"{name}_parts_1.png", levels[::-1])
            save(folder / f"{name}/instance_000_{name}.png", levels[..., 2])
            (folder / f"{name}.json").write_text("{}")
    (root / "index_ade20k.pkl").write_bytes(b"")
    (root / "objects.txt").write_text("")
    return root


# Category ids have gaps; segment ids fill three channels.
PANOPTIC_CATEGORIES = {1: "person", 3: "car", 92: "banner", 200: "rug-merged"}
PANOPTIC_SEGMENTS = {0: -1, 3226956: 1, 8465: 1, 255: 3, 16777215: 92, 65536: 200}


def write_coco_panoptic(root: Path, splits: Sequence[str] = ("train2017", "val2017")) -> Path:
    """Three images a split, pictures of their segments, and the JSON files."""
    codes = blocks(list(PANOPTIC_SEGMENTS), 3, 20)
    levels = np.stack([codes >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8)
    for split in splits:
        images, annotations = [], []
        for i in (9, 25, 30):
            save(root / f"images/{split}/{i:012}.jpg", photo(*codes.shape, i))
            save(root / f"annotations/panoptic_{split}/{i:012}.png", levels)
            images.append({"license": 3, "file_name": f"{i:012}.jpg", "id": i, "height": 40})
            segments = [
                {"id": number, "category_id": category, "iscrowd": 0, "bbox": [0, 0, 20, 20]}
                for number, category in PANOPTIC_SEGMENTS.items()
                if category >= 0
            ]
            annotations.append(
                {"segments_info": segments, "file_name": f"{i:012}.png", "image_id": i}
            )
        data = {
            "info": {"description": "COCO 2018 Panoptic Dataset"},
            "licenses": [{"id": 3}],
            "images": images,
            "annotations": annotations,
            "categories": [
                {"supercategory": "x", "isthing": 1, "id": i, "name": name}
                for i, name in PANOPTIC_CATEGORIES.items()
            ],
        }
        (root / f"annotations/panoptic_{split}.json").write_text(json.dumps(data))
        # Of the objects, which lie beside.
        (root / f"annotations/instances_{split}.json").write_text("{}")
    return root


VISTAS_IDS = blocks([0, 13, 65, 20, 30, 55]).astype(np.uint8)
VISTAS_2_IDS = blocks([0, 1, 2, 3, 4, 123]).astype(np.uint8)


def write_vistas(root: Path, splits: Sequence[str] = ("training", "validation")) -> Path:
    """Three images a split with the labels of both versions, as the release of 2021 has them."""
    for split in splits:
        for i in range(3):
            name = f"{split[:3]}_{i}aQ-b"
            save(root / f"{split}/images/{name}.jpg", photo(10, 60, i))
            for version, ids in (("v1.2", VISTAS_IDS), ("v2.0", VISTAS_2_IDS)):
                labels = Image.fromarray(ids)
                labels.putpalette([level for j in range(256) for level in _vistas_color(j)])
                save(root / f"{split}/{version}/labels/{name}.png", labels)
                save(root / f"{split}/{version}/instances/{name}.png", ids.astype(np.uint16) * 256)
                save(root / f"{split}/{version}/panoptic/{name}.png", photo(10, 60, i))
            (root / f"{split}/v2.0/polygons").mkdir(exist_ok=True)
            (root / f"{split}/v2.0/polygons/{name}.json").write_text("{}")
    save(root / "testing/images/x.jpg", photo(10, 60))
    rows = [
        {
            "name": f"object--{i}",
            "readable": f"Class {i}",
            "color": list(_vistas_color(i)),
            "evaluate": i != 123,
        }
        for i in range(124)
    ]
    (root / "config_v2.0.json").write_text(json.dumps({"labels": rows, "version": "2.0"}))
    (root / "config_v1.2.json").write_text("{}")
    return root


def _vistas_color(index: int) -> tuple[int, int, int]:
    # Classes 3 and 4 of version 2.0 share a color, as some of its do.
    index = 3 if index == 4 else index
    return index * 7 % 256, index * 11 % 256, 30 + index % 200


BDD_IDS = blocks([0, 1, 10, 13, 18, 255]).astype(np.uint8)


def write_bdd(root: Path, splits: Sequence[str] = ("train", "val")) -> Path:
    """Three images a split, with colors and the larger set of images beside."""
    for split in splits:
        for i in range(3):
            name = f"0a0b{i:04}-7dde08f2"
            save(root / f"images/10k/{split}/{name}.jpg", photo(10, 60, i))
            save(root / f"labels/sem_seg/masks/{split}/{name}.png", BDD_IDS)
            colors = PALETTES["bdd100k"].paint(torch.from_numpy(BDD_IDS.astype(np.int64)))
            save(root / f"labels/sem_seg/colormaps/{split}/{name}.png", colors.numpy())
        save(root / f"images/100k/{split}/{name}.jpg", photo(10, 60))
        (root / f"labels/sem_seg/rles/{split}.json").parent.mkdir(exist_ok=True)
        (root / f"labels/sem_seg/rles/{split}.json").write_text("{}")
    save(root / "images/10k/test/x.jpg", photo(10, 60))
    return root


def write_kitti(root: Path) -> Path:
    """Three labelled images, and those of the test set."""
    for i in range(3):
        name = f"{i:06}_10.png"
        save(root / "training/image_2" / name, photo(60, 120, i))
        save(root / "training/semantic" / name, LABEL_IDS)
        save(root / "training/semantic_rgb" / name, city_colors(LABEL_IDS)[..., :3])
        save(root / "training/instance" / name, LABEL_IDS.astype(np.uint16) * 256)
        save(root / "testing/image_2" / name, photo(60, 120, i))
    return root


VOC_IDS = blocks([0, 1, 15, 255, 20, 7], 3).astype(np.uint8)


def voc_picture(ids: np.ndarray) -> Image.Image:
    """Ids as VOC's files hold them: with the color table in which 255 is nearly white."""
    picture = Image.fromarray(ids)
    picture.putpalette([level for i in range(256) for level in bit_color(i)])
    return picture


def write_voc(root: Path) -> Path:
    """Three images to train with and three to validate, among others that have no labels."""
    names = {"train": [f"2007_{i:06}" for i in (32, 39, 63)]}
    names["val"] = [f"2007_{i:06}" for i in (33, 42, 61)]
    names["trainval"] = sorted(names["train"] + names["val"])
    for i, name in enumerate(names["trainval"]):
        save(root / f"JPEGImages/{name}.jpg", photo(*VOC_IDS.shape, i))
        save(root / f"SegmentationClass/{name}.png", voc_picture(VOC_IDS))
        save(root / f"SegmentationObject/{name}.png", voc_picture(VOC_IDS % 3))
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/{name}.xml").write_text("<annotation/>")
    save(root / "JPEGImages/2012_004331.jpg", photo(30, 30))
    for kind in ("Main", "Segmentation"):
        (root / "ImageSets" / kind).mkdir(parents=True)
    for split, listed in names.items():
        lines = "".join(f"{name}\n" for name in listed)
        (root / f"ImageSets/Segmentation/{split}.txt").write_text(lines)
    (root / "ImageSets/Main/car_train.txt").write_text("2007_000032 -1\n")
    return root


MASK_IDS = blocks([0, 1, 2, 2, 1, 0])
MASK_PALETTE = Palette(
    "yard",
    {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 255, 0)},
    {0: "background", 1: "garden shed", 2: "lawn"},
)


def write_masks(root: Path, splits: Sequence[str] = ("train", "val")) -> Path:
    """Three images a split, each with a folder of masks, one a class."""
    for split in splits:
        for i in range(3):
            save(root / f"images/{split}/{i}.jpg", photo(*MASK_IDS.shape, i))
            for class_id, name in ((1, "garden_shed"), (2, "lawn")):
                mask = np.where(class_id == MASK_IDS, 255, 0).astype(np.uint8)
                save(root / f"masks/{split}/{i}/{name}.png", mask)
    return root


def write_label_studio(root: Path) -> Path:
    """Three images, their brush masks as Label Studio exports them, and its JSON export."""
    tasks = []
    for i in range(3):
        save(root / f"images/yard-{i}.jpg", photo(*MASK_IDS.shape, i))
        upload = f"/data/upload/1/0a1b2c3{i}-yard-{i}.jpg"
        local = f"/data/local-files/?d=photos%2Fyard-{i}.jpg"
        result = {"from_name": "brush-tag", "type": "brushlabels", "value": {"rle": [0, 1]}}
        tasks.append(
            {
                "id": 7 + i,
                "data": {"image": local if i else upload},
                "annotations": [{"id": 20 + i, "result": [result]}],
            }
        )
        for class_id, name in ((1, "garden shed"), (2, "lawn")):
            # Brushes have smooth edges, and each stroke is a file.
            mask = np.where(class_id == MASK_IDS, 255, 0).astype(np.uint8)
            mask[:, ::10] = np.minimum(mask[:, ::10], 140)
            for stroke, rows in enumerate((slice(0, 5), slice(5, None))):
                part = np.zeros_like(mask)
                part[rows] = mask[rows]
                file = f"task-{7 + i}-annotation-{20 + i}-by-me@example.org-brush-tag-{name}"
                save(root / f"masks/{file}-{stroke}.png", part)
    (root / "project-1-at-2026-01-01.json").write_text(json.dumps(tasks))
    return root


WRITERS = {
    "cityscapes": write_cityscapes,
    "ade20k": write_ade,
    "ade20k-full": write_ade_full,
    "coco-stuff": write_coco,
    "coco-panoptic": write_coco_panoptic,
    "mapillary-vistas": write_vistas,
    "mapillary-vistas-v2": write_vistas,
    "bdd100k": write_bdd,
    "kitti": write_kitti,
    "voc": write_voc,
    "masks": write_masks,
    "pairs": write_two_folders,
}


def find_tree(layout: str, root: Path, split: str = "train") -> Layout:
    """`find_dataset` with the palette that a layout needs."""
    return find_dataset(layout, root, split, palette=MASK_PALETTE if layout == "masks" else None)
