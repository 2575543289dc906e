"""Label images: which color means which class, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..errors import PriorError, listing
from ..json_values import by_id, integer, items, table, text
from ..whole_numbers import whole, whole_numbers
from .built_in_palettes import BUILT_IN
from .ids import MAX_CLASS_ID, check_integers
from .palette_colors import Color, color_codes, free_colors

# A palette is compared color by color with itself and with a label image's.
MOST_COLORS = 4096

_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Palette:
    """Colors of a dataset's classes.

    Attributes:
        name: what a person calls it.
        colors: class id -> (r, g, b) in 0..255; of its own for each class that is not ignored (see
            `own_colors`). Empty for plain grey ids.
        names: class id -> name.
        void: colors that mean "no class": exactly these decode to -1 without counting as
            unmatched. The first one paints unknown pixels and ignored classes without a color. If
            there is none they are painted as an ignored class, or in a color that is free.
        ignore_ids: classes that statistics leave out unless told otherwise.

    Raises PriorError for class ids outside 0..MAX_CLASS_ID, colors that are none, more than 4096
    colors, two classes of one color, and names that are no texts.

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
        if len(taken["colors"]) + len(taken["void"]) > MOST_COLORS:
            raise PriorError(f"palette {self.name!r} has more than {MOST_COLORS} colors")
        for name, value in taken.items():
            object.__setattr__(self, name, value)
        self._check_colors()

    def _check_colors(self) -> None:
        """Raise PriorError if two classes cannot be told apart, ignored ones excepted."""
        first: dict[Color, int] = {}
        for class_id, color in sorted(self.colors.items()):
            other = first.setdefault(color, class_id)
            if other != class_id and not {other, class_id} <= {*self.ignore_ids}:
                raise PriorError(
                    f"classes {other} and {class_id} of palette {self.name!r} have one color, "
                    f"{color}; expected a color of its own for each class that is not ignored"
                )
            if color in self.void and class_id not in self.ignore_ids:
                raise PriorError(
                    f"class {class_id} of palette {self.name!r} has the color {color}, which is "
                    "also a void one; expected a color of its own"
                )

    def __repr__(self) -> str:
        return f"Palette({self.name!r}, {len(self.colors)} colors)"

    @property
    def is_grey(self) -> bool:
        """Whether a pixel's grey value is its class id (r = g = b).

        >>> [name for name, palette in PALETTES.items() if palette.is_grey]
        ['grey_ids']
        """
        return not self.colors

    @property
    def unknown_color(self) -> Color:
        """What paints unknown pixels: it decodes to unknown or to an ignored class.

        Raises PriorError for plain ids of which none is ignored.

        >>> PALETTES["ade20k"].unknown_color, PALETTES["grey_ids"].unknown_color
        ((0, 0, 0), (255, 255, 255))
        """
        if self.is_grey:
            levels = [class_id for class_id in self.ignore_ids if self.holds(class_id)]
            if not levels:
                raise PriorError(
                    f"palette '{self.name}' paints ids and ignores none, so that unknown pixels "
                    "cannot be painted; expected an ignored id in 0..255"
                )
            return (levels[0],) * 3
        ignored = [self.colors[i] for i in sorted(self.ignore_ids) if i in self.colors]
        # White is what masks of one class are drawn in: not to be taken for "no class".
        return next(chain(self.void, ignored, free_colors((_WHITE, *self.colors.values()))))

    @property
    def by_color(self) -> Mapping[Color, int]:
        """Color -> class id; -1 for void ones.

        >>> PALETTES["camvid"].by_color[128, 64, 128]
        3
        """
        return self._by_color

    @cached_property
    def _by_color(self) -> dict[Color, int]:
        ids = {color: class_id for class_id, color in sorted(self.colors.items(), reverse=True)}
        for color in (*self.void, *(() if self.is_grey else (self.unknown_color,))):
            ids.setdefault(color, -1)
        return ids

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """(colors int64 [M, 3], class ids int64 [M]) of `by_color`."""
        ids = self._by_color
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
        """Class ids [...] to colors uint8 [..., 3].

        -1, unknown, and ignored ids without a color are painted in `unknown_color`. Raises
        PriorError for other ids without a color, and for ids that are no integers.

        >>> PALETTES["camvid"].paint(torch.tensor([[3, -1]]))  # road, and the unlabelled's color
        tensor([[[128,  64, 128],
                 [  0,   0,   0]]], dtype=torch.uint8)
        """
        check_integers(ids)
        table, known = self._paints
        unknown = len(table) - 1
        at = torch.where((ids < 0) | (ids > unknown), unknown, ids).to(torch.int64)
        if not (found := known[at]).all():
            loose = ids[~found].unique()
            self._check_ignored(loose[loose != -1].tolist())
            table = torch.where(known.unsqueeze(-1), table, torch.tensor(self.unknown_color))
        return table.to(torch.uint8)[at]

    @cached_property
    def _paints(self) -> tuple[Tensor, Tensor]:
        """(int64 [M + 1, 3], bool [M + 1]): the color of each id, and whether it has one.

        The last is that of what is unknown.
        """
        colors = {i: (i, i, i) for i in range(256)} if self.is_grey else self.colors
        table = torch.zeros(max(colors) + 2, 3, dtype=torch.int64)
        known = torch.zeros(len(table), dtype=torch.bool)
        known[list(colors)] = True
        table[list(colors)] = torch.tensor(list(colors.values()))
        return table, known

    def _check_ignored(self, class_ids: list[int]) -> None:
        """Raise PriorError for ids without a color that are not ignored either."""
        wrong = [str(class_id) for class_id in class_ids if class_id not in self.ignore_ids]
        if wrong:
            expected = (
                "expected 0..255 for grey levels; choose a palette with colors"
                if self.is_grey
                else "expected ids of the palette, -1 where there is no class"
            )
            raise PriorError(
                f"palette '{self.name}' has no color for class ids {listing(wrong)}; {expected}"
            )

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


def _color(values: object, what: str) -> Color:
    """A color out of a file's plain data."""
    r, g, b = (integer(level, 0, 255, f"a level of {what}") for level in items(values, what))
    return r, g, b


class _BuiltIn(Mapping[str, Palette]):
    """Made as they are asked for: each start of ComfyUI would wait for all of them."""

    def __init__(self) -> None:
        self._made: dict[str, Palette] = {}

    def __getitem__(self, name: str) -> Palette:
        if name not in self._made:
            made = BUILT_IN[name]()
            self._made[name] = Palette(name, made.colors, made.names, made.void, made.ignore_ids)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(BUILT_IN)

    def __len__(self) -> int:
        return len(BUILT_IN)

    def __contains__(self, name: object) -> bool:
        return name in BUILT_IN


PALETTES: Mapping[str, Palette] = _BuiltIn()
"""Colors and names of the classes of common datasets."""
