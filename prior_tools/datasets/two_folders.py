"""Pairs in any two folders, or in one, by equal names or by how names end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import PriorError, listing
from ..labels.palette_files import read_palette_file
from ..labels.palettes import Palette, get_palette
from .folder_contents import holds, near, subfolders
from .layout import Found
from .names import path_in
from .pairs import (
    Check,
    Pair,
    Unpaired,
    files_by_name,
    files_ending,
    find_pairs,
    paired,
)

# Beside the two folders, the classes that the label maps count.
PALETTE_FILE = "palette.json"

# What folders of splits are called.
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Places:
    """Where the two sides lie.

    Attributes:
        images, labels: folders relative to the root; None for the usual name, or for the root
            itself where files are told apart by their endings and there is no such folder.
        image_suffix, label_suffix: how the names of the files end, such as "_leftImg8bit.png"; ""
            for equal names, or for all pictures that do not end as the other side's.
    """

    images: str | None = None
    labels: str | None = None
    image_suffix: str = ""
    label_suffix: str = ""

    @property
    def by_suffix(self) -> bool:
        """Whether files are told apart by their endings."""
        return bool(self.image_suffix or self.label_suffix)


def find_two_folders(
    root: Path, split: str, places: Places, usual_labels: str, check: Check | None
) -> tuple[Found, str]:
    """The pairs of a split, and the split's name, "" where the folders are read whole.

    usual_labels: name of the folder of labels that is looked for if none is given. Raises
    PriorError if a folder or the split is missing, or no image has a label.
    """
    used, (images, labels) = folders_of_split(root, split, places, usual_labels, check)
    try:
        if places.by_suffix:
            pairs, unpaired = _pair_by_suffix(images, labels, places, check)
        else:
            pairs, unpaired = find_pairs(images, labels, check)
    except PriorError as error:
        raise PriorError(f"{images} and {labels}: {error}") from error
    return Found(pairs, unpaired, palette_of_folder(root, check), "ids or colors"), used


def palette_of_folder(root: Path, check: Check | None) -> Palette:
    """That of palette.json, which export writes; else plain ids."""
    path = root / PALETTE_FILE
    if not path.is_file():
        return get_palette("grey_ids")
    if check:
        check(PALETTE_FILE, str(path))
    return read_palette_file(path)[0]


def folders_of_split(
    root: Path, split: str, places: Places, usual_labels: str, check: Check | None
) -> tuple[str, tuple[Path, Path]]:
    """(the split's name or "", (folder of images, folder of labels)); see `find_two_folders`."""
    names = (
        _name(root, places.images, "images", places),
        _name(root, places.labels, usual_labels, places),
    )
    sides = [path_in(root, name) for name in names]
    absent = [str(side) for side in dict.fromkeys(sides) if not side.is_dir()]
    if absent:
        meant = near(root, lambda folder: all((folder / name).is_dir() for name in names))
        raise PriorError(
            f"there is no folder {' and no folder '.join(absent)}. "
            + (
                f"Both are in {meant}: give that as root"
                if meant
                else f"{holds(root)}. Name the folder of images and the folder of label maps, "
                "relative to root"
            )
        )
    inner = [path_in(side, split) for side in sides]
    there = [side.is_dir() for side in inner]
    if split and any(there) and not all(there):
        raise PriorError(
            f"{inner[there.index(True)]} is there, {inner[there.index(False)]} is not: "
            f"{holds(sides[there.index(False)])}. Both folders need the same subfolders, or none"
        )
    if split and not any(there):
        # Reading the whole of two folders that hold splits would mix train with val.
        splits = [name for name in subfolders(sides[0]) if name.lower().startswith(_SPLITS)]
        if splits:
            raise PriorError(
                f"{sides[0]} has no split {split!r}; there is {listing(splits)}. Choose one of "
                "these, or give no split to read all"
            )
    used = split if split and all(there) else ""
    folders = inner if used else sides
    for name, folder in zip(names, folders, strict=True):
        if check:
            check(name, str(folder))
    return used, (folders[0], folders[1])


def _name(root: Path, given: str | None, usual: str, places: Places) -> str:
    if given is not None:
        return given
    return "." if places.by_suffix and not (root / usual).is_dir() else usual


def _pair_by_suffix(
    images: Path, labels: Path, places: Places, check: Check | None
) -> tuple[list[Pair], Unpaired]:
    image_end, label_end = places.image_suffix, places.label_suffix
    if image_end == label_end and images == labels:
        raise PriorError(
            f"images and labels both end in {image_end!r} and lie in one folder; give endings that "
            "tell them apart"
        )
    image_files = _side(images, "image", image_end, label_end, check)
    label_files = _side(labels, "label", label_end, image_end, check)
    pairs, unpaired = paired(image_files, label_files)
    if not pairs:
        raise PriorError(
            f"no image has a label; there are {len(image_files)} images NAME{image_end or '.*'} "
            f"and {len(label_files)} labels NAME{label_end or '.*'}, {unpaired}. A pair has one "
            "NAME, subfolders included"
        )
    return pairs, unpaired


def _side(folder: Path, what: str, ending: str, other: str, check: Check | None) -> dict[str, Path]:
    if ending:
        return files_ending(folder, ending, what, check)
    # All pictures but those of the other side.
    return files_by_name(folder, what, check, without=other)
