"""Palettes that options name: built-in ones and files."""

from __future__ import annotations

import argparse

from ..errors import PriorError
from ..labels.palette_files import read_palette_file
from ..labels.palettes import PALETTES, Palette
from ..text_file import named_file
from .output import warn


def add_palette(group: argparse._ActionsContainer, what: str) -> None:
    """Add --palette; `what` it is of."""
    group.add_argument(
        "--palette",
        metavar="PALETTE",
        help=f"{what}: {', '.join(PALETTES)}, or a palette file: JSON, CVAT's labelmap.txt, "
        "Roboflow's _classes.csv, Mapillary's config_v*.json, COCO's panoptic categories",
    )


def read_palette(given: str, option: str = "--palette") -> Palette:
    """The built-in palette of this name, or that of a file, with a warning of shared colors.

    Raises PriorError for what is neither, and for a file that is no palette.
    """
    if given in PALETTES:
        return PALETTES[given]
    path = named_file(given)
    if path is None:
        raise PriorError(
            f"{option} is {given[:80]!r}; expected a palette file or one of {', '.join(PALETTES)}"
        )
    palette, notes = read_palette_file(path)
    for note in notes:
        warn(f"{option} {path.name}: {note}")
    return palette
