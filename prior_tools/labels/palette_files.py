"""Palettes in files: one's own, and those that annotation tools and datasets write.

A file is recognised by what is in it, whatever its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import PriorError
from ..text_file import read_text
from .ids import MAX_CLASS_ID
from .palette_colors import Color, own_colors
from .palette_formats import NOT_RECOGNISED, Listed, Row, in_json, in_lines
from .palettes import MOST_COLORS, Palette

PALETTE_SUFFIXES = (".json", ".txt", ".csv")


def load_palette(path: Path | str) -> Palette:
    """The palette in a file.

    Read are a JSON object {"name", "classes": [{"id", "name", "color", "ignored"}, ...]}, in which
    all but "classes" and "id" may be left out, colors are [r, g, b] or "#rrggbb", and "void" may
    list colors of no class; CVAT's labelmap.txt; Roboflow's _classes.csv; Mapillary's
    config_v*.json; COCO's panoptic categories. Classes without a color get that of `bit_color`. Of
    several classes of one color, color files are read as the first; see `own_colors`.

    Raises PriorError, with the line or the entry, for what is none of these, and OSError for a file
    that cannot be read.

    >>> _ = (folder / "yard.json").write_text('{"classes": [{"id": 3, "color": "#804080"}]}')
    >>> load_palette(folder / "yard.json").colors
    {3: (128, 64, 128)}
    """
    return read_palette_file(Path(path))[0]


def read_palette_file(path: Path) -> tuple[Palette, list[str]]:
    """As `load_palette`, and what there is to say: which classes cannot be told apart by color."""
    what = f"palette file {path.name}"
    text = read_text(path, "palette file")
    try:
        listed = in_json(text) if text.lstrip()[:1] in ("{", "[") else in_lines(text)
        if listed is None:
            raise PriorError(f"{what} is not one that can be read; {NOT_RECOGNISED}")
        return palette_of(listed.name or path.stem, listed, what)
    except PriorError:
        raise
    except ValueError as error:
        raise PriorError(f"{what}: {error}") from error


def palette_text(name: str, rows: Iterable[Row]) -> str:
    """A palette file of one's own, a line a class, to be edited."""
    lines = []
    for row in rows:
        entry: dict[str, object] = {"id": row.class_id, "name": row.name}
        if row.color is not None:
            entry["color"] = list(row.color)
        lines.append(json.dumps({**entry, "ignored": row.ignored}, ensure_ascii=False))
    classes = ",\n    ".join(lines)
    title = json.dumps(name, ensure_ascii=False)
    return f'{{\n  "name": {title},\n  "classes": [\n    {classes}\n  ]\n}}\n'


def palette_of(name: str, listed: Listed, what: str) -> tuple[Palette, list[str]]:
    """The palette of listed classes, and what there is to say; see `read_palette_file`.

    what: where they are listed, for errors. Raises PriorError or ValueError where something is
    wrong.
    """
    rows = listed.rows
    if not rows:
        raise PriorError(f"{what} holds no classes")
    if len(rows) > MOST_COLORS:
        raise PriorError(f"{what} holds {len(rows)} classes; expected at most {MOST_COLORS}")
    first: dict[int, Row] = {}
    for row in rows:
        if not 0 <= row.class_id <= MAX_CLASS_ID:
            raise ValueError(f"{row.place} has the id {row.class_id}, expected 0..{MAX_CLASS_ID}")
        if (other := first.setdefault(row.class_id, row)) is not row:
            raise ValueError(f"{row.place} has the id {row.class_id}, as {other.place} has")
    ignored = tuple(sorted(row.class_id for row in rows if row.ignored))
    # An ignored id needs no color of its own.
    colors = {r.class_id: r.color for r in rows if r.color is not None or not r.ignored}
    own = own_colors(colors, ignored, listed.void)
    if not own:
        raise ValueError("all of its classes are ignored")
    names = {row.class_id: row.name for row in rows if row.name}
    return Palette(name, own, names, listed.void, ignored), _shared(rows, own)


def _shared(rows: Sequence[Row], own: dict[int, Color]) -> list[str]:
    """Which classes have the color of another, in words."""
    notes = []
    keepers = {own[row.class_id]: row for row in rows if row.class_id in own}
    for row in rows:
        if row.color is not None and own[row.class_id] != row.color:
            keeper = keepers[row.color]
            notes.append(
                f"classes {keeper.class_id} {keeper.name} and {row.class_id} {row.name} have one "
                f"color, {row.color}: color files are read as the first, and the second is painted "
                f"in {own[row.class_id]}"
            )
    return notes
