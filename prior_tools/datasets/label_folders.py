"""Folders of label maps alone, without images."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ..errors import PriorError
from .pairs import files_by_name, files_ending

# What datasets write beside each other for one image: of Cityscapes, and of the full ADE20K.
_KIND = re.compile(
    r"(?:_gtFine|_gtCoarse)?"
    r"_(?:color|labelIds|labelTrainIds|instanceIds|instanceTrainIds|seg|parts_\d+)"
)
_ENDING = re.compile(rf".*?({_KIND.pattern}\.\w+)")


def label_maps_in(folder: Path, ending: str = "") -> dict[str, Path]:
    """Path inside a folder without its ending -> label file, subfolders included.

    ending: of label files, such as "_gtFine_labelIds.png"; "" for the suffix alone, of all
    pictures.

    Raises PriorError if there are none, if two have one name, or if without an ending the folder
    holds several kinds of label files of the same images, as datasets do.
    """
    if ending:
        if not folder.is_dir():
            raise PriorError(f"the label folder {folder.name!r} does not exist")
        files = files_ending(folder, ending, "label")
        if not files:
            raise PriorError(f"the label folder {folder.name!r} holds no files NAME{ending}")
        return files
    files = files_by_name(folder, "label")
    _check_one_kind(folder, files)
    return files


def _check_one_kind(folder: Path, files: dict[str, Path]) -> None:
    found: Counter[str] = Counter()
    images: dict[str, str] = {}
    several = False
    for name, path in files.items():
        if match := _ENDING.fullmatch(path.name):
            found[match[1]] += 1
            image = name[: len(name) - len(match[1].rpartition(".")[0])]
            several |= images.setdefault(image, match[1]) != match[1]
    if several:
        counts = ", ".join(f"{count} *{ending}" for ending, count in sorted(found.items()))
        ids = next((ending for ending in sorted(found) if "labelIds" in ending), min(found))
        raise PriorError(
            f"the label folder {folder.name!r} holds several files of each image: {counts}. Choose "
            f"one kind, such as with --label-suffix {ids}, or the dataset itself, with --dataset, "
            "--root and --split"
        )
