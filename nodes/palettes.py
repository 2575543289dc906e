"""The palettes that nodes offer: the built-in ones, and files in `models/scp_palettes`."""

from __future__ import annotations

import logging

from ..prior_tools import PALETTES, Palette
from ..prior_tools.labels.palette_files import read_palette_file
from .host_folders import file_state, palette_file_names, palette_path

# Build SCP Prior's choice for images without label maps; no palette's name.
NO_LABELS = "none (images alone)"

_log = logging.getLogger("scp-diff")


def palette_names() -> list[str]:
    """What a node's palette can be chosen from."""
    return [*PALETTES, *palette_file_names()]


def palette_named(name: str) -> Palette:
    """The palette of this name in the list; PriorError if there is none, or if its file is none."""
    if name in PALETTES:
        return PALETTES[name]
    palette, notes = read_palette_file(palette_path(name))
    for note in notes:
        _log.warning("SCP-Diff: palette %s: %s", name, note)
    return palette


def palette_state(*names: str | None) -> str:
    """For `fingerprint_inputs`: what changes when the file of one of these palettes does."""
    built_in = (NO_LABELS, *PALETTES)
    files = [name for name in names if name is not None and name not in built_in]
    return "; ".join(file_state(name, palette_path) for name in files)
