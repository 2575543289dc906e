"""Image files and the label files of the same scenes, paired by name."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import PriorError, listing

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Pair:
    """An image file and the label file of the same scene.

    >>> pairs, _ = find_pairs(folder / "images", folder / "labels")
    >>> pairs[0].name, pairs[0].label == folder / "labels" / "a.png"
    ('a', True)
    """

    name: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Unpaired:
    """Files of a dataset's folders that have no partner, as names without suffix."""

    images: tuple[str, ...]
    labels: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.images or self.labels)

    def __str__(self) -> str:
        parts = []
        if self.images:
            parts.append(f"{len(self.images)} images have no label: {listing(self.images)}")
        if self.labels:
            parts.append(f"{len(self.labels)} labels have no image: {listing(self.labels)}")
        return "; ".join(parts)


def find_pairs(images: Path | str, labels: Path | str) -> tuple[list[Pair], Unpaired]:
    """Pair the files of two folders by their path without suffix, subfolders included.

    Raises PriorError if a folder is missing or empty, if two files share a name, or if no image
    has a label.

    >>> (folder / "labels" / "b.png").unlink()
    >>> pairs, unpaired = find_pairs(folder / "images", folder / "labels")
    >>> [pair.name for pair in pairs]
    ['a']
    >>> print(unpaired)
    1 images have no label: b
    """
    image_files, label_files = (
        files_by_name(Path(folder), what) for folder, what in ((images, "image"), (labels, "label"))
    )
    both = sorted(image_files.keys() & label_files.keys())
    unpaired = Unpaired(
        tuple(sorted(image_files.keys() - label_files.keys())),
        tuple(sorted(label_files.keys() - image_files.keys())),
    )
    if not both:
        raise PriorError(
            f"no image in {Path(images).name} has a label of the same name in "
            f"{Path(labels).name}; {unpaired}. A pair is two files whose names differ only in the "
            "suffix, such as images/0001.jpg and labels/0001.png"
        )
    return [Pair(name, image_files[name], label_files[name]) for name in both], unpaired


def choose_subset(count: int, most: int, seed: int) -> list[int]:
    """Ascending indices of a seeded subset of `most` of `count` items; all if `most` is 0."""
    if most <= 0 or most >= count:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), most))


def visible_files(folder: Path | str) -> Iterator[tuple[str, str]]:
    """(path inside `folder` with "/" between its parts, whole path) of each file, in any order.

    Subfolders are read as well, links to folders are not followed. What has a leading dot is left
    out, as are the "._" companions that macOS puts beside every file. The folders' own entries
    tell files from folders: among 100,000 files none is touched. PriorError if a folder cannot be
    listed.
    """
    waiting = [("", str(folder))]
    while waiting:
        inside, path = waiting.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((f"{inside}{entry.name}/", entry.path))
                    elif entry.is_file():
                        yield inside + entry.name, entry.path
        except OSError as error:
            name = inside.rstrip("/") or Path(folder).name
            raise PriorError(f"the folder {name!r} cannot be read: {error.strerror}") from error


def files_by_name(folder: Path, what: str) -> dict[str, Path]:
    """Path inside the folder without suffix -> picture file, subfolders included.

    `what` the pictures are is for messages. Raises PriorError if the folder is missing or holds no
    pictures, or if two of them differ only in the suffix.
    """
    if not folder.is_dir():
        raise PriorError(f"the {what} folder {folder.name!r} does not exist")
    files: dict[str, Path] = {}
    for inside, path in visible_files(folder):
        name, dot, suffix = inside.rpartition(".")
        if (dot + suffix).lower() not in IMAGE_SUFFIXES:
            continue
        if name in files:
            double = " and ".join(sorted((files[name].name, Path(path).name)))
            raise PriorError(f"two {what} files are named {name!r}: {double}; remove one")
        files[name] = Path(path)
    if not files:
        raise PriorError(
            f"the {what} folder {folder.name!r} holds no pictures; expected files ending in "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )
    return files
