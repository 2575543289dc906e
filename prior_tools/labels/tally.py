"""What label files were found to hold: pixels by class, and those that nobody understood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..json_values import by_id, integer, items, table, text
from .palette_colors import Color

# The most frequent colors that are kept of those that are in no palette.
KEPT = 16

# Ways of reading that a person should know of.
LOSSY = "lossy"
IDS_IN_GREY = "ids in grey"
IDS_IN_CHANNEL = "ids in one channel"
EITHER = "ids or colors"
SHIFTED = "shifted levels"
NOTES = (LOSSY, IDS_IN_GREY, IDS_IN_CHANNEL, EITHER, SHIFTED)


@dataclass
class LabelTally:
    """Counts over label files.

    Attributes:
        files: label files, or images of a batch.
        pixels: of all of them.
        void: pixels that say "no class": void colors, values that an id map drops.
        unknown: pixels in no color of the palette.
        near: pixels that are only near the color of their class.
        classes: class id -> pixels, ignored ids too.
        colors: the most frequent unknown colors -> pixels.
        notes: one of NOTES -> files that were read that way.
    """

    files: int = 0
    pixels: int = 0
    void: int = 0
    unknown: int = 0
    near: int = 0
    classes: Counter[int] = field(default_factory=Counter)
    colors: Counter[Color] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of_ids(cls, ids: Tensor) -> LabelTally:
        """Of integer class ids [...] of one file, -1 = no class, none greater than MAX_CLASS_ID."""
        counts = torch.bincount((ids.to(torch.int64) + 1).flatten())
        present = {int(i) - 1: int(counts[i]) for i in counts.nonzero().flatten()}
        void = present.pop(-1, 0)
        return cls(1, ids.numel(), void, classes=Counter(present))

    def __add__(self, other: LabelTally) -> LabelTally:
        colors = self.colors + other.colors
        return LabelTally(
            self.files + other.files,
            self.pixels + other.pixels,
            self.void + other.void,
            self.unknown + other.unknown,
            self.near + other.near,
            self.classes + other.classes,
            Counter(dict(colors.most_common(KEPT))),
            self.notes + other.notes,
        )

    def share(self, pixels: int) -> float:
        """A number of pixels as a fraction of all."""
        return pixels / self.pixels if self.pixels else 0.0

    def labelled(self, ignored: Iterable[int] = ()) -> float:
        """Fraction of pixels that are of a class which is not ignored."""
        out = set(ignored)
        return self.share(sum(n for i, n in self.classes.items() if i not in out))

    def to_json(self) -> dict[str, Any]:
        """Plain data for a file's header."""
        return {
            "files": self.files,
            "pixels": self.pixels,
            "void": self.void,
            "unknown": self.unknown,
            "near": self.near,
            "classes": {str(i): n for i, n in self.classes.items()},
            "colors": [[*color, n] for color, n in self.colors.items()],
            "notes": [[name, n] for name, n in self.notes.items()],
        }

    @classmethod
    def from_json(cls, data: object) -> LabelTally:
        """The tally that `to_json` wrote; ValueError says why it is none."""
        names = ("files", "pixels", "void", "unknown", "near", "classes", "colors", "notes")
        found = table(data, names, "the tally of labels")
        files, pixels, void, unknown, near = (_count(found[name], name) for name in names[:5])
        colors: Counter[Color] = Counter()
        for entry in items(found["colors"], "unknown colors"):
            r, g, b, count = items(entry, "an unknown color")
            red, green, blue = (integer(level, 0, 255, "a level") for level in (r, g, b))
            colors[red, green, blue] = _count(count, "an unknown color")
        classes = Counter(by_id(found["classes"], _count, "the classes of a tally"))
        return cls(files, pixels, void, unknown, near, classes, colors, _notes(found["notes"]))


def _count(value: object, what: str) -> int:
    return integer(value, 0, 2**63, what)


def _notes(value: object) -> Counter[str]:
    found: Counter[str] = Counter()
    for entry in items(value, "the notes of a tally"):
        name, count = items(entry, "a note")
        found[text(name, "a note")] = _count(count, "a note")
    return found
