"""The palettes of common datasets, put together from their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import tables
from .palette_colors import Color, bit_color, own_colors

_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class Definition:
    """What a built-in palette is made of; see `Palette`."""

    colors: Mapping[int, Color]
    names: Mapping[int, str]
    void: tuple[Color, ...] = ()
    ignore_ids: tuple[int, ...] = ()


def _ade20k() -> Definition:
    names, colors = _columns(f"other: 0 0 0\n{tables.ADE20K.strip()}")
    return _own(colors, names, ignore_ids=(0,))


def _ade20k_base7() -> Definition:
    names, _ = _columns(f"other: 0 0 0\n{tables.ADE20K.strip()}")
    # The published ADE20K ControlNet writes the id itself in base 7, 30 grey levels per digit.
    base7 = {i: (30 * (i // 49), 30 * (i // 7 % 7), 30 * (i % 7)) for i in names}
    return _own(base7, names, ignore_ids=(0,))


def _train_ids() -> tuple[dict[int, Color], dict[int, str]]:
    """Colors and names of Cityscapes' classes that are evaluated, by trainId."""
    names, colors = _columns(tables.CITYSCAPES)
    evaluated = tables.CITYSCAPES_EVALUATED
    return (
        {train_id: colors[i] for train_id, i in enumerate(evaluated)},
        {train_id: names[i] for train_id, i in enumerate(evaluated)},
    )


def _label_ids_without_train_id() -> tuple[int, ...]:
    names, _ = _columns(tables.CITYSCAPES)
    return tuple(i for i in names if i not in tables.CITYSCAPES_EVALUATED)


def _cityscapes() -> Definition:
    colors, names = _train_ids()
    all_colors = cityscapes_label_colors()
    # In color files a pole group is a pole, and a licence plate a car.
    others = dict.fromkeys(all_colors[i] for i in _label_ids_without_train_id())
    void = tuple(color for color in others if color not in colors.values())
    return _own(colors, names, void, (255,))


def _cityscapes_label_ids() -> Definition:
    names, colors = _columns(tables.CITYSCAPES)
    # A licence plate, of id -1, is 255 in a file of 8 bits.
    return _own(colors, names, ignore_ids=(*_label_ids_without_train_id(), 255))


def _bdd100k() -> Definition:
    return _own(*_train_ids(), (_BLACK,), (255,))


def _mapillary_vistas() -> Definition:
    names, colors = _columns(tables.MAPILLARY_VISTAS)
    return _own(colors, names, ignore_ids=(65,))


def _coco_stuff() -> Definition:
    ids = [i for i in range(182) if i not in tables.COCO_STUFF_UNUSED_IDS]
    names = dict(zip(ids, _listed(tables.COCO_STUFF), strict=True))
    return _own({i: bit_color(i + 1) for i in ids}, names, (_BLACK,), (255,))


def _pascal_voc() -> Definition:
    names = dict(enumerate(_listed(tables.PASCAL_VOC)))
    # Borders of objects have the color of 255.
    return _own(dict.fromkeys(names), names, (bit_color(255),), (255,))


def _camvid() -> Definition:
    names, colors = _columns(tables.CAMVID)
    return _own(colors, names, ignore_ids=(11,))


def _camvid32() -> Definition:
    names, colors = _columns(tables.CAMVID_32)
    return _own(colors, names, ignore_ids=(30,))


def _grey_ids() -> Definition:
    return Definition({}, {}, ignore_ids=(255,))


# Name -> what makes it, in the order in which they are listed.
BUILT_IN: Mapping[str, Callable[[], Definition]] = {
    "ade20k": _ade20k,
    "ade20k_base7": _ade20k_base7,
    "cityscapes": _cityscapes,
    "cityscapes_label_ids": _cityscapes_label_ids,
    "bdd100k": _bdd100k,
    "mapillary_vistas": _mapillary_vistas,
    "coco_stuff": _coco_stuff,
    "pascal_voc": _pascal_voc,
    "camvid": _camvid,
    "camvid32": _camvid32,
    "grey_ids": _grey_ids,
}


def cityscapes_label_colors() -> Mapping[int, Color]:
    """The colors of Cityscapes' color files by labelId: pole and polegroup share one."""
    return _columns(tables.CITYSCAPES)[1]


def _own(
    colors: Mapping[int, Color | None],
    names: Mapping[int, str],
    void: tuple[Color, ...] = (),
    ignore_ids: tuple[int, ...] = (),
) -> Definition:
    return Definition(own_colors(colors, ignore_ids, void), names, void, ignore_ids)


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
