"""The palettes of common datasets, put together from their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from . import tables
from .palette_colors import Color, bit_color, own_colors


@dataclass(frozen=True)
class Definition:
    """What a built-in palette is made of; see `Palette`."""

    name: str
    colors: Mapping[int, Color]
    names: Mapping[int, str]
    void: tuple[Color, ...] = ()
    ignore_ids: tuple[int, ...] = ()


def definitions() -> Iterator[Definition]:
    """The built-in palettes, in the order in which they are listed."""
    black = (0, 0, 0)
    ade_names, ade_colors = _columns(f"other: 0 0 0\n{tables.ADE20K.strip()}")
    yield _own("ade20k", ade_colors, ade_names, ignore_ids=(0,))
    # The published ADE20K ControlNet writes the id itself in base 7, 30 grey levels per digit.
    base7 = {i: (30 * (i // 49), 30 * (i // 7 % 7), 30 * (i % 7)) for i in ade_names}
    yield _own("ade20k_base7", base7, ade_names, ignore_ids=(0,))

    label_names, label_colors = _columns(tables.CITYSCAPES)
    evaluated = tables.CITYSCAPES_EVALUATED
    others = tuple(i for i in label_names if i not in evaluated)
    colors = {train_id: label_colors[i] for train_id, i in enumerate(evaluated)}
    names = {train_id: label_names[i] for train_id, i in enumerate(evaluated)}
    # In color files a pole group is a pole, and a licence plate a car.
    void = tuple(dict.fromkeys(label_colors[i] for i in others))
    void = tuple(color for color in void if color not in colors.values())
    yield _own("cityscapes", colors, names, void, (255,))
    # A licence plate, of id -1, is 255 in a file of 8 bits.
    yield _own("cityscapes_label_ids", label_colors, label_names, ignore_ids=(*others, 255))
    yield _own("bdd100k", colors, names, (black,), (255,))

    vistas_names, vistas_colors = _columns(tables.MAPILLARY_VISTAS)
    yield _own("mapillary_vistas", vistas_colors, vistas_names, ignore_ids=(65,))

    coco_ids = [i for i in range(182) if i not in tables.COCO_STUFF_UNUSED_IDS]
    coco_names = dict(zip(coco_ids, _listed(tables.COCO_STUFF), strict=True))
    yield _own("coco_stuff", {i: bit_color(i + 1) for i in coco_ids}, coco_names, (black,), (255,))
    voc_names = dict(enumerate(_listed(tables.PASCAL_VOC)))
    # Borders of objects have the color of 255.
    yield _own("pascal_voc", dict.fromkeys(voc_names), voc_names, (bit_color(255),), (255,))

    for name, table, ignored in (
        ("camvid", tables.CAMVID, 11),
        ("camvid32", tables.CAMVID_32, 30),
    ):
        camvid_names, camvid_colors = _columns(table)
        yield _own(name, camvid_colors, camvid_names, ignore_ids=(ignored,))
    yield Definition("grey_ids", {}, {}, ignore_ids=(255,))


def cityscapes_label_colors() -> Mapping[int, Color]:
    """The colors of Cityscapes' color files by labelId: pole and polegroup share one."""
    return _columns(tables.CITYSCAPES)[1]


def _own(
    name: str,
    colors: Mapping[int, Color | None],
    names: Mapping[int, str],
    void: tuple[Color, ...] = (),
    ignore_ids: tuple[int, ...] = (),
) -> Definition:
    return Definition(name, own_colors(colors, ignore_ids, void), names, void, ignore_ids)


def _columns(table: str) -> tuple[dict[int, str], dict[int, Color]]:
    """Names and colors of the lines of a table, by their number."""
    names: dict[int, str] = {}
    colors: dict[int, Color] = {}
    for class_id, line in enumerate(table.strip().splitlines()):
        names[class_id], _, levels = line.rpartition(": ")
        r, g, b = map(int, levels.split())
        colors[class_id] = r, g, b
    return names, colors


def _listed(table: str) -> list[str]:
    return " ".join(table.split()).split(", ")
