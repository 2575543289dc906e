"""Cityscapes' files: several label files a frame, with endings that say what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import PriorError
from ..labels.id_maps import CITYSCAPES_TRAIN_IDS
from ..labels.palettes import get_palette
from .layout import Found
from .pairs import add_file, files_ending, paired, visible_files
from .trees import Sides

# Endings of label files, best first: (ending, what they hold, id map).
_LABELS: tuple[tuple[str, str, Mapping[int, int] | None], ...] = (
    ("_gtFine_labelTrainIds.png", "trainIds", {}),
    ("_gtFine_labelIds.png", "labelIds", CITYSCAPES_TRAIN_IDS),
    # Colors cannot tell pole groups from poles; the others agree with the ids.
    ("_gtFine_color.png", "colors", None),
)
_IMAGE = "_leftImg8bit.png"


def find_cityscapes(sides: Sides) -> Found:
    """The pairs of a split; their names are city/city_sequence_frame.

    Of trainIds, labelIds and colors the kind that labels most images is taken, of equal ones the
    first. Raises PriorError if no image has a label.
    """
    images = files_ending(sides.images, _IMAGE, "image", sides.check)
    by_ending: dict[str, dict[str, str]] = {ending: {} for ending, _, _ in _LABELS}
    for inside, path in visible_files(sides.labels, sides.check):
        for ending, files in by_ending.items():
            if inside.endswith(ending):
                add_file(files, inside.removesuffix(ending), path, "label")
    # Making trainIds is a step of its own that may have stopped half way.
    ending, kind, id_map = max(
        _LABELS, key=lambda choice: len(by_ending[choice[0]].keys() & images.keys())
    )
    labels = {name: Path(path) for name, path in by_ending[ending].items()}
    pairs, unpaired = paired(images, labels)
    if not pairs:
        counts = ", ".join(f"{len(files)} *{ending}" for ending, files in by_ending.items())
        raise PriorError(
            f"no image has a label; there are {len(images)} *{_IMAGE}, {counts}. A pair is "
            f"<city>/NAME{_IMAGE} and <city>/NAME{_LABELS[0][0]}, NAME{_LABELS[1][0]} or "
            f"NAME{_LABELS[2][0]}"
        )
    return Found(pairs, unpaired, get_palette("cityscapes"), kind, id_map)
