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

from ..atomic import write_bytes, write_new_bytes
from .intervals import LEVEL, Interval

_PACKAGES = ("torch", "torchvision", "transformers", "numpy", "pillow")


@dataclass(frozen=True)
class Figure:
    """A measured figure and what it rests on.

    Attributes:
        name, value: such as "FID".
        interval: at level 0.95; None where there are too few label maps for one.
        images: how many generated images it is of.
        maps: how many label maps these are of.
        real: how many real images it compares with, or None.
        method: how the interval was found, or why there is none.
        note: what a reader of the figure must know.
    """

    name: str
    value: float
    interval: Interval | None
    images: int
    maps: int
    real: int | None
    method: str
    note: str = ""

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


def notes(figures: Sequence[Figure]) -> list[str]:
    """What a reader must know of each figure, and how its interval was found."""
    return [f"{f.name}: {'; '.join(filter(None, (f.note, f.method)))}" for f in figures]


def write_json(path: Path, data: Mapping[str, Any], overwrite: bool = False) -> None:
    """Write data as JSON in one step; FileExistsError if the file is there, unless `overwrite`."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
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


def _number(value: float) -> str:
    """Four significant digits, without an exponent; below half a millionth 0."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) < 5e-7:
        return "0"
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 6)}f}"
