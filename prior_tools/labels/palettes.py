"""Label images: which color means which class, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from ..errors import PriorError
from ..json_values import by_id, integer, items, table, text
from ..whole_numbers import whole, whole_numbers
from . import tables
from .ids import MAX_CLASS_ID, check_integers

Color = tuple[int, int, int]

# A palette is compared color by color with itself and with a label image's.
_MOST_COLORS = 4096


@dataclass(frozen=True)
class Palette:
    """Colors of a dataset's classes.

    Attributes:
        name: what a person calls it.
        colors: class id -> (r, g, b) in 0..255. Where two classes share a color, a label image
            cannot tell them apart and the lower id wins. Empty for plain grey ids.
        names: class id -> name.
        void: colors that mean "no class": exactly these decode to -1 without counting as
            unmatched.
        ignore_ids: classes that statistics leave out unless told otherwise.

    Raises PriorError for class ids outside 0..MAX_CLASS_ID, colors that are none, more than 4096
    colors, and names that are no texts.

    >>> roofs = Palette("roofs", {0: (0, 0, 0), 1: (255, 0, 0)}, {0: "ground", 1: "roof"})
    >>> roofs.paint(torch.tensor([0, 1])).tolist()
    [[0, 0, 0], [255, 0, 0]]
    """

    name: str
    colors: Mapping[int, Color]
    names: Mapping[int, str] = field(default_factory=dict)
    void: tuple[Color, ...] = ()
    ignore_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        this = f"of palette {self.name!r}"

        def by_class(given: Mapping[int, Any], take: Callable[[Any], Any]) -> dict[int, Any]:
            return {
                whole(i, f"a class id {this}", 0, MAX_CLASS_ID): take(v) for i, v in given.items()
            }

        def color(levels: Any) -> Color:
            rgb = whole_numbers(levels, f"a level of a color {this}", 0, 255)
            if len(rgb) != 3:
                raise PriorError(f"a color {this} is {levels!r}; expected (r, g, b)")
            return rgb[0], rgb[1], rgb[2]

        if not all(isinstance(text, str) for text in (self.name, *self.names.values())):
            raise PriorError(f"a name {this} is no text; expected texts in names and in name")
        taken = {
            "colors": by_class(self.colors, color),
            "names": by_class(self.names, str),
            "void": tuple(color(levels) for levels in self.void),
            "ignore_ids": whole_numbers(self.ignore_ids, f"an ignored id {this}", 0, 2**31),
        }
        if len(taken["colors"]) + len(taken["void"]) > _MOST_COLORS:
            raise PriorError(f"palette {self.name!r} has more than {_MOST_COLORS} colors")
        for name, value in taken.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"Palette({self.name!r}, {len(self.colors)} colors)"

    @property
    def is_grey(self) -> bool:
        """Whether a pixel's grey value is its class id (r = g = b).

        >>> [name for name, palette in PALETTES.items() if palette.is_grey]
        ['grey_ids']
        """
        return not self.colors

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """(colors int64 [M, 3], class ids int64 [M]): distinct colors, void ones with id -1."""
        ids = {color: class_id for class_id, color in sorted(self.colors.items(), reverse=True)}
        for color in self.void:
            ids.setdefault(color, -1)
        return torch.tensor(list(ids), dtype=torch.int64), torch.tensor(list(ids.values()))

    @cached_property
    def _tolerance(self) -> float:
        """Half the smallest distance between two colors; a match lies strictly closer."""
        colors = self._table[0].double()
        if len(colors) < 2:
            return 255.0
        return float(torch.pdist(colors).min()) / 2

    @cached_property
    def _exact(self) -> tuple[Tensor, Tensor]:
        """(color codes ascending, class ids): `_table` for searching."""
        colors, ids = self._table
        codes, order = color_codes(colors).sort()
        return codes, ids[order]

    def holds(self, class_id: int) -> bool:
        """Whether the palette has this class.

        >>> PALETTES["camvid"].holds(11), PALETTES["camvid"].holds(12)
        (True, False)
        """
        return 0 <= class_id <= 255 if self.is_grey else class_id in self.colors

    def paint(self, ids: Tensor) -> Tensor:
        """Class ids [...] to colors uint8 [..., 3]; black where an id has none.

        Raises PriorError for ids that are no integers.

        >>> PALETTES["camvid"].paint(torch.tensor([[3, -1]]))  # road
        tensor([[[128,  64, 128],
                 [  0,   0,   0]]], dtype=torch.uint8)
        """
        check_integers(ids)
        if self.is_grey:
            return ids.clamp(0, 255).to(torch.uint8).unsqueeze(-1).expand(*ids.shape, 3)
        lookup = torch.zeros(max(self.colors) + 2, 3, dtype=torch.uint8)
        for class_id, color in self.colors.items():
            lookup[class_id] = torch.tensor(color, dtype=torch.uint8)
        return lookup[torch.where(ids < 0, len(lookup) - 1, ids).clamp(max=len(lookup) - 1)]

    def to_json(self) -> dict[str, object]:
        """Plain data for a file's header.

        >>> PALETTES["camvid"].to_json()["names"]["3"]
        'road'
        """
        return {
            "name": self.name,
            "colors": {str(i): list(c) for i, c in self.colors.items()},
            "names": {str(i): n for i, n in self.names.items()},
            "void": [list(c) for c in self.void],
            "ignore_ids": list(self.ignore_ids),
        }

    @classmethod
    def from_json(cls, data: object) -> Palette:
        """The palette that `to_json` wrote; ValueError says why it is none.

        >>> Palette.from_json(PALETTES["camvid"].to_json()) == PALETTES["camvid"]
        True
        """
        data = table(data, ("name", "colors", "names", "void", "ignore_ids"), "the palette")
        colors = by_id(data["colors"], _color, "the palette's colors", ids=range(2**16))
        void = [_color(color, "a void color") for color in items(data["void"], "void")]
        return cls(
            name=text(data["name"], "the palette's name"),
            colors=colors,
            names=by_id(data["names"], text, "the palette's names"),
            void=tuple(void),
            ignore_ids=tuple(
                integer(class_id, 0, 2**31, "an ignored id")
                for class_id in items(data["ignore_ids"], "ignore_ids")
            ),
        )


def get_palette(palette: Palette | str) -> Palette:
    """The palette of this name, or the palette itself; PriorError lists the names.

    >>> get_palette("camvid").names[3]
    'road'
    """
    if isinstance(palette, Palette):
        return palette
    if not isinstance(palette, str) or palette not in PALETTES:
        raise PriorError(f"no palette is named {palette!r}; expected one of {', '.join(PALETTES)}")
    return PALETTES[palette]


def color_codes(colors: Tensor) -> Tensor:
    """Levels [..., 3] in 0..255 as one number each."""
    return (colors[..., 0] << 16) | (colors[..., 1] << 8) | colors[..., 2]


def _color(values: object, what: str) -> Color:
    """A color out of a file's plain data."""
    r, g, b = (integer(level, 0, 255, f"a level of {what}") for level in items(values, what))
    return r, g, b


def _levels(color: str) -> Color:
    r, g, b = map(int, color.split())
    return r, g, b


def _rows(table: str) -> list[tuple[str, Color]]:
    lines = (line.rpartition(": ") for line in table.strip().splitlines())
    return [(name, _levels(color)) for name, _, color in lines]


@cache
def _palettes() -> dict[str, Palette]:
    ade = dict(enumerate(_rows(tables.ADE20K), start=1)) | {0: ("other", (0, 0, 0))}
    ade_names = {i: name for i, (name, _) in ade.items()}
    # The published ADE20K ControlNet writes the id itself in base 7, 30 grey levels per digit.
    base7 = {i: (30 * (i // 49), 30 * (i // 7 % 7), 30 * (i % 7)) for i in ade}
    coco_ids = [i for i in range(182) if i not in tables.COCO_STUFF_UNUSED_IDS]
    coco_names = " ".join(tables.COCO_STUFF.split()).split(", ")
    cityscapes, camvid = (dict(enumerate(_rows(t))) for t in (tables.CITYSCAPES, tables.CAMVID))
    palettes = [
        Palette(
            "ade20k",
            {i: color for i, (_, color) in ade.items()},
            ade_names,
            ignore_ids=(0,),
        ),
        Palette("ade20k_base7", base7, ade_names, ignore_ids=(0,)),
        Palette(
            "cityscapes",
            {i: color for i, (_, color) in cityscapes.items()},
            {i: name for i, (name, _) in cityscapes.items()},
            void=tuple(_levels(line) for line in tables.CITYSCAPES_VOID.strip().splitlines()),
            ignore_ids=(255,),
        ),
        Palette(
            "coco_stuff",
            {i: bit_color(i + 1) for i in coco_ids},
            dict(zip(coco_ids, coco_names, strict=True)),
            void=((0, 0, 0),),
            ignore_ids=(255,),
        ),
        Palette(
            "camvid",
            {i: color for i, (_, color) in camvid.items()},
            {i: name for i, (name, _) in camvid.items()},
            ignore_ids=(11,),
        ),
        Palette("grey_ids", {}, ignore_ids=(255,)),
    ]
    return {palette.name: palette for palette in palettes}


def bit_color(index: int) -> Color:
    """The color code of PASCAL VOC, which COCO-Stuff uses for id + 1: bits dealt to r, g, b."""
    levels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            levels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return levels[0], levels[1], levels[2]


PALETTES: Mapping[str, Palette] = _palettes()
