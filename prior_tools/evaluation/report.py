"""Figures as cells of a table to read, and as plain data to keep."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ..atomic import remove_leftovers_of, write_bytes, write_new_bytes
from .intervals import LEVEL, Interval, Resampled

# Whether more of a figure is better (1) or worse (-1); of diversity it is neither by itself.
_BETTER = {"FID": -1, "KID": -1, "mIoU": 1, "pixel accuracy": 1}
# What stands in a table for an interval that is zero but for rounding.
_NOTHING = 5e-7
_PACKAGES = ("torch", "torchvision", "transformers", "numpy", "pillow")


@dataclass(frozen=True)
class Figure:
    """A measured figure, or the difference of two, and what it rests on.

    Attributes:
        name: such as "FID".
        found: its value and interval.
        images: how many generated images it is of; in a difference, on either side.
        maps: how many label maps these are of.
        real: how many real images it compares with, or None.
        note: what a reader of the figure must know.
    """

    name: str
    found: Resampled
    images: int
    maps: int
    real: int | None
    note: str = ""

    @property
    def value(self) -> float:
        """Of all label maps."""
        return self.found.value

    @property
    def interval(self) -> Interval | None:
        """At level 0.95; None where there are too few label maps for one."""
        return self.found.interval

    @property
    def method(self) -> str:
        """How the interval was found, or why there is none."""
        return self.found.method

    def to_json(self) -> dict[str, Any]:
        """Plain data; a value that is not a number becomes None, which JSON knows."""
        interval = self.interval
        return {
            "name": self.name,
            "value": self.value if math.isfinite(self.value) else None,
            "interval": [interval.low, interval.high] if interval else None,
            "level": LEVEL,
            "generated_images": self.images,
            "label_maps": self.maps,
            "real_images": self.real,
            "method": self.method,
            "note": self.note,
        }


def rows(figures: Sequence[Figure]) -> list[list[str]]:
    """The cells of a table: a heading, then a row for each figure."""
    cells = [["figure", "value", "95% interval", "images", "label maps", "real images"]]
    for figure in figures:
        interval = figure.interval
        cells.append(
            [
                figure.name,
                _number(figure.value),
                f"{_number(interval.low)} to {_number(interval.high)}" if interval else "-",
                str(figure.images),
                str(figure.maps),
                "-" if figure.real is None else str(figure.real),
            ]
        )
    return cells


def difference_rows(
    figures: Sequence[Figure], baseline: Sequence[Figure], differences: Sequence[Figure]
) -> list[list[str]]:
    """The cells of a table: a heading, then a row for each difference, beside what it is of.

    Values stand with half of their 95% interval.
    """
    cells = [["figure", "baseline", "generated", "difference", "verdict", "label maps"]]
    ours, theirs = ({figure.name: figure for figure in side} for side in (figures, baseline))
    for difference in differences:
        both = [theirs[difference.name], ours[difference.name]]
        decimals = _decimals([*both, difference])
        shown = [_with_half(figure, decimals) for figure in both]
        shown += [_with_half(difference, decimals, "+"), _in_words(difference)]
        cells.append([difference.name, *shown, str(difference.maps)])
    return cells


def notes(figures: Sequence[Figure]) -> list[str]:
    """What a reader must know of each figure, and how its interval was found."""
    return [f"{f.name}: {'; '.join(filter(None, (f.note, f.method)))}" for f in figures]


def write_json(path: Path, data: Mapping[str, Any], overwrite: bool = False) -> None:
    """Write data as JSON in one step; FileExistsError if the file is there, unless `overwrite`."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    remove_leftovers_of(path)
    (write_bytes if overwrite else write_new_bytes)(path, text.encode())


def versions() -> dict[str, str | None]:
    """Of Python and of the packages that figures may depend on; None for one not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _in_words(difference: Figure) -> str:
    """What a difference says, where its interval leaves out zero."""
    interval = difference.interval
    if interval is None:
        return "-"
    if max(abs(interval.low), abs(interval.high)) < _NOTHING:
        return "equal"
    if interval.low <= 0 <= interval.high:
        return "not clear"
    sign = 1 if interval.low > 0 else -1
    if difference.name not in _BETTER:
        return "more" if sign > 0 else "less"
    return "better" if sign == _BETTER[difference.name] else "worse"


def _decimals(figures: Sequence[Figure]) -> int:
    """So many that the narrowest interval has two significant digits, or the values four."""
    halves = [figure.interval.half for figure in figures if figure.interval]
    for sizes, digits in ((halves, 2), ([abs(figure.value) for figure in figures[:-1]], 4)):
        if seen := [size for size in sizes if math.isfinite(size) and size > _NOTHING]:
            return min(6, max(0, digits - 1 - math.floor(math.log10(min(seen)))))
    return 0


def _with_half(figure: Figure, decimals: int, sign: str = "") -> str:
    """Such as "12.3 ± 0.4"; a `sign` "+" shows that of a positive value."""
    # What rounds to zero has no sign.
    value = round(figure.value, decimals) + 0.0
    text = f"{value:{sign if value else ''}.{decimals}f}"
    interval = figure.interval
    return f"{text} ± {interval.half:.{decimals}f}" if interval else text


def _number(value: float) -> str:
    """Four significant digits, without an exponent; below half a millionth 0."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) < _NOTHING:
        return "0"
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 6)}f}"
