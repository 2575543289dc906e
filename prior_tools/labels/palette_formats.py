"""The forms that palettes are written in, as rows.

Each function raises ValueError, which says where something is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..json_values import integer, items, parsed, text
from .ids import MAX_CLASS_ID
from .palette_colors import Color

NOT_RECOGNISED = (
    'expected JSON such as {"classes": [{"id": 0, "name": "road", "color": [128, 64, 128]}]}, '
    "CVAT's labelmap.txt, Roboflow's _classes.csv, Mapillary's config_v*.json or COCO's panoptic "
    "categories"
)

_HEADING = re.compile(r"pixel value\s*[,;]\s*class", re.IGNORECASE)
_PIXEL_VALUE = re.compile(r"(\d{1,5})\s*[,;]\s*(.*)", re.ASCII)
_LABEL = re.compile(r"(.*):(?:(\d+),\s*(\d+),\s*(\d+))?:([^:]*):([^:]*)", re.ASCII)
_HEX = re.compile(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A class as a file lists it; `place` is where, for errors."""

    place: str
    class_id: int
    name: str
    color: Color | None
    ignored: bool = False


@dataclass(frozen=True)
class Listed:
    """What a file lists; the name is "" where it has none."""

    rows: list[Row]
    name: str = ""
    void: tuple[Color, ...] = ()


def in_lines(data: str) -> Listed | None:
    """The classes of CVAT's labelmap.txt or of Roboflow's _classes.csv; None for another text."""
    lines = [(f"line {i}", line.strip()) for i, line in enumerate(data.splitlines(), 1)]
    lines = [(place, line) for place, line in lines if line and not line.startswith("#")]
    if lines and _HEADING.fullmatch(lines[0][1]):
        return Listed([_pixel_value(place, line) for place, line in lines[1:]])
    if any(_LABEL.fullmatch(line) for _, line in lines):
        return Listed(list(_labels(lines)))
    return None


def _pixel_value(place: str, line: str) -> Row:
    """A line of Roboflow's: `1, car`."""
    match = _PIXEL_VALUE.fullmatch(line)
    if not match:
        raise ValueError(f"{place} is {line[:40]!r}, expected ID, NAME")
    return Row(place, int(match[1]), match[2].strip('" '), None)


def _labels(lines: list[tuple[str, str]]) -> Iterator[Row]:
    """Lines of CVAT's, `car:0,0,142::`, where a class's number is its id."""
    first: dict[str, str] = {}
    for class_id, (place, line) in enumerate(lines):
        match = _LABEL.fullmatch(line)
        if not match:
            raise ValueError(f"{place} is {line[:40]!r}, expected NAME:R,G,B:PARTS:ACTIONS")
        name, levels = match[1].strip(), match.groups()[1:4]
        if (other := first.setdefault(name, place)) != place:
            raise ValueError(f"{place} names {name[:40]!r} again, as {other} does")
        color = None if levels[0] is None else _color([int(level[:9]) for level in levels], place)
        yield Row(place, class_id, name, color)


def in_json(data: str) -> Listed | None:
    """The classes of one's own JSON, of Mapillary's or of COCO's; None for another JSON."""
    found = parsed(data)
    if isinstance(found, list) and found:
        return Listed([_category(i, entry) for i, entry in enumerate(found)])
    if not isinstance(found, dict):
        return None
    if "classes" in found:
        return _own(found)
    if "labels" in found:
        return Listed(
            [_label(i, entry) for i, entry in enumerate(items(found["labels"], "labels"))]
        )
    if "categories" in found:
        entries = items(found["categories"], "categories")
        return Listed([_category(i, entry) for i, entry in enumerate(entries)])
    return None


def _own(found: dict[str, Any]) -> Listed:
    _known(found, ("name", "classes", "void"), "the palette")
    rows = []
    for number, entry in enumerate(items(found["classes"], "classes")):
        place = f"classes[{number}]"
        _known(_object(entry, place), ("id", "name", "color", "ignored"), place)
        ignored = entry.get("ignored", False)
        if type(ignored) is not bool:
            raise ValueError(f"ignored of {place} is {ignored!r:.40}, expected true or false")
        rows.append(_row(entry, place, _id(entry, place), ignored))
    void = items(found.get("void", []), "void")
    void = [_color(color, f"void[{i}]") for i, color in enumerate(void)]
    return Listed(rows, text(found.get("name", ""), "name"), tuple(void))


def _label(number: int, entry: object) -> Row:
    """An entry of Mapillary's labels, whose number is its id."""
    place = f"labels[{number}]"
    found = _object(entry, place)
    name = found.get("readable") or found.get("name", "")
    return _row({**found, "name": name}, place, number, found.get("evaluate") is False)


def _category(number: int, entry: object) -> Row:
    """An entry of COCO's categories."""
    place = f"category {number}"
    return _row(_object(entry, place), place, _id(_object(entry, place), place))


def _row(entry: dict[str, Any], place: str, class_id: int, ignored: bool = False) -> Row:
    color = entry.get("color")
    name = text(entry.get("name", ""), f"the name of {place}")
    return Row(place, class_id, name, None if color is None else _color(color, place), ignored)


def _id(entry: dict[str, Any], place: str) -> int:
    if "id" not in entry:
        raise ValueError(f"{place} has no id")
    return integer(entry["id"], 0, MAX_CLASS_ID, f"the id of {place}")


def _color(value: object, place: str) -> Color:
    if isinstance(value, str) and (match := _HEX.fullmatch(value)):
        value = [int(level, 16) for level in match.groups()]
    levels = value if isinstance(value, list) else []
    if len(levels) != 3 or not all(type(level) is int and 0 <= level <= 255 for level in levels):
        raise ValueError(
            f'the color of {place} is {value!r:.40}, expected [r, g, b] in 0..255 or "#rrggbb"'
        )
    return levels[0], levels[1], levels[2]


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place} is {value!r:.40}, expected a table")
    return value


def _known(entry: dict[str, Any], names: tuple[str, ...], place: str) -> None:
    """Raise ValueError for a name that is not known: a slip of the pen changes the meaning."""
    for name in entry:
        if name not in names:
            raise ValueError(f"{place} holds {name!r:.40}, expected {', '.join(names)}")
