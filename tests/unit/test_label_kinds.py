"""docs/labels.md: each kind of label file that it lists is read, or refused, as it says."""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prior_tools import PALETTES, Palette, PriorError
from prior_tools.datasets.label_files import read_label_file
from prior_tools.labels.findings import findings
from prior_tools.labels.id_maps import CITYSCAPES_TRAIN_IDS, get_id_map
from prior_tools.labels.palette_colors import bit_color
from prior_tools.labels.palette_files import load_palette
from prior_tools.labels.reading import LabelRules

DOCUMENT = Path(__file__).parents[2] / "docs" / "labels.md"
TRAIN, LABEL = np.array([[0, 1, 13, 18, 255]]), np.array([[7, 8, 26, 33, 0]])
VOC_IDS = np.array([[0, 1, 15, 20, 255]])


def grey(ids: np.ndarray, kind: type = np.uint8) -> Image.Image:
    return Image.fromarray(ids.astype(kind))


def tabled(ids: np.ndarray, colors: Callable[[int], tuple[int, ...]]) -> Image.Image:
    picture = grey(ids)
    picture.putpalette([level for i in range(256) for level in colors(i)])
    return picture


def painted(palette: str, ids: np.ndarray, alpha: bool = False) -> Image.Image:
    known = torch.from_numpy(np.where(np.isin(ids, [*PALETTES[palette].colors]), ids, -1))
    picture = Image.fromarray(PALETTES[palette].paint(known).numpy())
    return picture.convert("RGBA") if alpha else picture


def city_colors(label_id: int) -> tuple[int, int, int]:
    """As the game's dataset shows Cityscapes' labelIds: in the colors of their classes."""
    train_id = CITYSCAPES_TRAIN_IDS.get(label_id, 255)
    return PALETTES["cityscapes"].colors.get(train_id, (0, 0, 0))


def deep_png(ids: np.ndarray) -> bytes:
    """Three channels of 16 bits, ids in the first; no library at hand writes it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    pixels = np.zeros((*ids.shape, 3), ">u2")
    pixels[..., 0] = ids
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def nibbles(_: object = None) -> bytes:
    """Grey of 4 bits: 0, 1, 2, 3."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", 4, 1, 4, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\x01\x23"))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


def segment_ids(_: object = None) -> Image.Image:
    """COCO's panoptic files: numbers of segments as r + 256 g + 65536 b."""
    return Image.fromarray(np.array([[(54, 12, 200), (201, 7, 3), (9, 88, 121)]], np.uint8))


def full_ade(_: object = None) -> Image.Image:
    """r / 10 * 256 + g is the class, b the instance."""
    return Image.fromarray(np.array([[(10, 130, 3), (20, 44, 250), (0, 155, 77)]], np.uint8))


def blurred(_: object = None) -> Image.Image:
    picture = painted("camvid", np.array([[0, 3], [8, 5]])).resize(
        (64, 64), Image.Resampling.NEAREST
    )
    return picture


@dataclass
class Kind:
    """A file, what it is read with, and the ids that come of it; or what the refusal says."""

    picture: Image.Image | bytes
    palette: str | tuple[str, str]
    ids: object = None
    refused: str = ""
    name: str = "a.png"
    id_map: str = ""
    told: str = ""
    options: dict[str, object] = field(default_factory=dict)


CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:61,61,245::\nroad:128,64,128::\n"
CVAT_COLORS = np.array([[(0, 0, 0), (61, 61, 245), (128, 64, 128)]], np.uint8)
ROBOFLOW = "Pixel Value, Class\n0, background\n1, car\n2, road\n"
RED = np.array([[(7, 0, 0, 255), (1, 0, 0, 255), (20, 0, 0, 255)]], np.uint8)

KINDS = {
    "Cityscapes, `*_gtFine_labelTrainIds.png`": [
        Kind(grey(TRAIN), "cityscapes", TRAIN, name="a_gtFine_labelTrainIds.png")
    ],
    "Cityscapes, `*_gtFine_labelIds.png`": [
        Kind(grey(LABEL), "cityscapes", refused="--id-map", name="a_gtFine_labelIds.png"),
        Kind(grey(LABEL), "cityscapes_label_ids", LABEL, name="a_gtFine_labelIds.png"),
        Kind(
            grey(LABEL),
            "cityscapes",
            TRAIN,
            name="a_gtFine_labelIds.png",
            id_map="cityscapes_labelids_to_trainids",
        ),
    ],
    "Cityscapes, `*_gtFine_color.png`": [
        Kind(
            painted("cityscapes", TRAIN, alpha=True),
            "cityscapes",
            np.where(TRAIN == 255, -1, TRAIN),
            name="a_gtFine_color.png",
        )
    ],
    "KITTI, `training/semantic`": [
        Kind(grey(LABEL), "cityscapes", TRAIN, id_map="cityscapes_labelids_to_trainids")
    ],
    "Cityscapes' labelIds under other names": [
        Kind(grey(LABEL), "cityscapes", refused="--id-map cityscapes_labelids_to_trainids")
    ],
    "ADE20K, scene parsing": [Kind(grey(np.array([[0, 1, 150]])), "ade20k", [[0, 1, 150]])],
    "ADE20K in full, `*_seg.png`": [Kind(full_ade(), "ade20k", refused="in no color")],
    "COCO-Stuff pixel maps": [
        Kind(grey(np.array([[0, 90, 181, 255]])), "coco_stuff", refused="90"),
        Kind(grey(np.array([[0, 91, 181, 255]])), "coco_stuff", [[0, 91, 181, 255]]),
    ],
    "COCO panoptic": [Kind(segment_ids(), "coco_stuff", refused="in no color")],
    "PASCAL VOC, labelme": [Kind(tabled(VOC_IDS, bit_color), "pascal_voc", VOC_IDS)],
    "Mapillary Vistas v1.2, v2.0": [
        Kind(
            tabled(
                np.array([[0, 13, 55, 64]]),
                lambda i: PALETTES["mapillary_vistas"].colors.get(i, (0, 0, 0)),
            ),
            "mapillary_vistas",
            [[0, 13, 55, 64]],
        )
    ],
    "CamVid, 32 colors": [
        Kind(painted("camvid32", np.array([[1, 2, 4, 5]])), "camvid32", [[1, 2, 4, 5]])
    ],
    "CamVid, 11 classes": [
        Kind(grey(np.array([[0, 3, 11]])), "camvid", [[0, 3, 11]]),
        Kind(painted("camvid", np.array([[0, 3, 11]])), "camvid", [[0, 3, 11]]),
    ],
    "BDD100K": [
        Kind(grey(TRAIN), "bdd100k", TRAIN),
        Kind(painted("bdd100k", TRAIN[:, :4], alpha=True), "bdd100k", TRAIN[:, :4]),
    ],
    "GTA5 (Playing for Data)": [
        Kind(tabled(LABEL[:, :4], city_colors), "cityscapes", TRAIN[:, :4])
    ],
    "CVAT, segmentation mask": [
        Kind(Image.fromarray(CVAT_COLORS), ("labelmap.txt", CVAT), [[0, 1, 2]])
    ],
    "Roboflow, semantic masks": [
        Kind(grey(np.array([[0, 1, 2]])), ("_classes.csv", ROBOFLOW), [[0, 1, 2]]),
        Kind(grey(np.array([[0, 3]])), ("_classes.csv", ROBOFLOW), refused="class ids 3"),
    ],
    "Masks of 0 and 255 (Label Studio and others)": [
        Kind(grey(np.array([[0, 255]])), "grey_ids", [[0, 255]], told="ignored labels")
    ],
    "Ids in grey pictures of three channels": [
        Kind(
            Image.fromarray(np.stack([TRAIN.astype(np.uint8)] * 3, -1)),
            "grey_ids",
            TRAIN,
            told="ids in grey pictures",
        )
    ],
    "CARLA and other simulators, ids in the red channel": [
        Kind(Image.fromarray(RED), "grey_ids", [[7, 1, 20]], told="ids in one channel"),
        Kind(Image.fromarray(RED), "cityscapes_label_ids", [[7, 1, 20]], told="ids in one channel"),
    ],
    "SYNTHIA and others, channels of 16 bits": [
        Kind(deep_png(np.array([[3, 200, 7]])), "grey_ids", refused="channels of 16 bits")
    ],
    "Grey of 16 or 32 bits, floats in TIFF": [
        Kind(grey(np.array([[0, 129, 255]]), np.uint16), "grey_ids", [[0, 129, 255]]),
        Kind(grey(np.array([[0, 300]]), np.uint16), "grey_ids", refused="--id-map"),
        Kind(grey(np.array([[0, 129]]), np.int32), "grey_ids", [[0, 129]], name="a.tif"),
        Kind(grey(np.array([[0, 129]]), np.float32), "grey_ids", [[0, 129]], name="a.tif"),
        Kind(grey(np.array([[0, 0.5]]), np.float32), "grey_ids", refused="floats", name="a.tif"),
    ],
    "Grey of 2 or 4 bits": [Kind(nibbles(), "grey_ids", refused="grey of 8 bits")],
    "1 bit": [Kind(Image.fromarray(np.array([[True, False]])), "grey_ids", [[1, 0]])],
    "Segmentation preprocessors of ControlNets": [
        Kind(painted("ade20k", np.array([[1, 7, 150]])), "ade20k", [[1, 7, 150]])
    ],
    "JPEG or lossy WebP of colors": [
        Kind(blurred(), "camvid", None, name="a.jpg", told="lossy label maps"),
        Kind(blurred(), "camvid", None, name="a.webp", told="lossy label maps"),
    ],
    "JPEG or lossy WebP of ids": [
        Kind(grey(np.array([[0, 7] * 8] * 8)), "grey_ids", refused="lossy", name="a.jpg"),
        Kind(grey(np.array([[0, 7] * 8] * 8)), "grey_ids", refused="lossy", name="a.webp"),
    ],
}


def test_the_document_lists_what_is_tested_here():
    rows = re.findall(r"^\| ([^|]+?) \| ", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert [row for row in rows if row not in ("file", "---")] == list(KINDS)


@pytest.mark.parametrize(
    ("title", "at"), [(title, i) for title, kinds in KINDS.items() for i in range(len(kinds))]
)
def test_it_is_read_or_refused_as_the_document_says(tmp_path, title, at):
    kind = KINDS[title][at]
    path = tmp_path / kind.name
    if isinstance(kind.picture, bytes):
        path.write_bytes(kind.picture)
    else:
        kind.picture.save(path)
    palette = palette_of(kind.palette, tmp_path)
    id_map = get_id_map(kind.id_map) if kind.id_map else None
    rules = LabelRules(palette, palette.ignore_ids, id_map)
    if kind.refused:
        with pytest.raises(PriorError, match=kind.refused):
            read_label_file(path, rules)
        return
    reading = read_label_file(path, rules)
    if kind.ids is not None:
        assert reading.ids.tolist() == np.asarray(kind.ids).tolist()
    told = [each for each, _ in findings(reading.tally, palette, palette.ignore_ids)]
    assert kind.told in told if kind.told else told in ([], ["ignored labels"])


def palette_of(palette: str | tuple[str, str], folder: Path) -> Palette:
    if isinstance(palette, str):
        return PALETTES[palette]
    (folder / palette[0]).write_text(palette[1])
    return load_palette(folder / palette[0])
