"""What a form is: its classes, the places of its files, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...labels.palettes import Palette
from ..classes import Classes, classes_of
from ..items import Item

# A line of the manifest, see `journal`.
Line = Mapping[str, Any]


def _nothing_more(_root: Path, _lines: Callable[[], Iterable[Line]], _classes: Classes) -> None:
    pass


def _nothing_told(_ids: np.ndarray, _classes: Classes) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Form:
    """How a dataset of a form is written.

    Attributes:
        name: by which --format names it.
        title: what a person calls it.
        image: (item) -> path of its image without suffix.
        labels: (item, ids [H, W] in the form's numbering, classes) -> path -> content, of its label
            files.
        note: what a reader of the dataset must know.
        picture: "PNG" or "JPEG", what images of the form are; None takes both.
        target: the form's own classes; None takes over the palette's.
        own: names of palettes that count as the form's classes do.
        void: what the form writes where there is no class; None takes what the palette ignores.
        shift: (palette) -> what is added to its ids.
        keeps_ignored: whether classes that the palette ignores are written.
        told: (ids, classes) -> what more the manifest's line of an image holds.
        finish: (root, lines, classes) -> files that are of the whole dataset, written at the end.
        shards: whether images and labels go into archives instead of a tree.
    """

    name: str
    title: str
    image: Callable[[Item], str]
    labels: Callable[[Item, np.ndarray, Classes], Mapping[str, bytes]]
    note: str
    picture: str | None = None
    target: Palette | None = None
    own: tuple[str, ...] = ()
    void: int | None = None
    shift: Callable[[Palette], int] = lambda _palette: 0
    keeps_ignored: bool = True
    told: Callable[[np.ndarray, Classes], Mapping[str, Any]] = _nothing_told
    finish: Callable[[Path, Callable[[], Iterable[Line]], Classes], None] = _nothing_more
    shards: bool = False

    def classes(self, palette: Palette, id_map: str | None) -> tuple[Classes, frozenset[int]]:
        """See `classes_of`; the id map is of classes."""
        shift = self.shift(palette)
        return classes_of(palette, self.target, self.void, shift, self.keeps_ignored, id_map)

    def takes_over(self, palette: Palette) -> bool:
        """Whether the palette's classes are the form's, so that an id map is of the files."""
        return self.target is None or palette.name in self.own
