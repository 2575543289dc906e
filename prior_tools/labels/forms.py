"""Label files of which the values alone do not tell the class ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np


class LabelForm(Protocol):
    """How label maps are read that are no picture of ids or of a palette's colors.

    Such as numbers of segments, of which another file tells the classes, or a mask a class.
    """

    def files(self, path: Path) -> Sequence[Path]:
        """All pictures that make the label map that `path` stands for."""
        ...

    def told(self, path: Path) -> str:
        """What the class ids depend on beside the content of these pictures."""
        ...

    def values(self, path: Path, name: str) -> np.ndarray:
        """Class ids int64 [H, W], -1 for no class.

        name: what to call the label map in a message. Raises PriorError if it cannot be read.
        """
        ...
