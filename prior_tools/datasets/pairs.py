"""Image files and the label files of the same scenes, paired by name."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import PriorError, counted, listing
from .names import composed, look_alikes

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

# Links of folders to each other can make more ways to a file than there are atoms.
MOST_WAYS = 100

# Called as check(name inside the folder, path), see `visible_files`.
Check = Callable[[str, str], None]


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
            told = counted(len(self.images), "image has", "images have")
            parts.append(f"{told} no label: {listing(self.images)}")
        if self.labels:
            told = counted(len(self.labels), "label has", "labels have")
            parts.append(f"{told} no image: {listing(self.labels)}")
        if alike := look_alikes(self.images, self.labels):
            parts.append(alike)
        return "; ".join(parts)


def find_pairs(
    images: Path | str, labels: Path | str, check: Check | None = None
) -> tuple[list[Pair], Unpaired]:
    """Pair the files of two folders by their path without suffix, subfolders included.

    `check`: see `visible_files`. Raises PriorError if a folder is missing or empty, if two files
    share a name, or if no image has a label.

    >>> (folder / "labels" / "b.png").unlink()
    >>> pairs, unpaired = find_pairs(folder / "images", folder / "labels")
    >>> [pair.name for pair in pairs]
    ['a']
    >>> print(unpaired)
    1 image has no label: b
    """
    image_files, label_files = (
        files_by_name(Path(folder), what, check)
        for folder, what in ((images, "image"), (labels, "label"))
    )
    pairs, unpaired = paired(image_files, label_files)
    if not pairs:
        raise PriorError(
            f"no image in {Path(images).name} has a label of the same name in "
            f"{Path(labels).name}; {unpaired}. A pair is two files whose names differ only in the "
            "suffix, such as images/0001.jpg and labels/0001.png"
        )
    return pairs, unpaired


def paired(images: Mapping[str, Path], labels: Mapping[str, Path]) -> tuple[list[Pair], Unpaired]:
    """Files by name, paired by it, and the names that only one side has."""
    pairs = [Pair(n, images[n], labels[n]) for n in sorted(images.keys() & labels.keys())]
    return pairs, Unpaired(
        tuple(sorted(images.keys() - labels.keys())),
        tuple(sorted(labels.keys() - images.keys())),
    )


def same_files(files: Mapping[str, Path], what: str) -> str:
    """Says which files are others of them under another name, by links; "" if none.

    They are kept, as copies are: two names may be meant. `what` the files are is for the text.
    """
    first: dict[tuple[int, int], str] = {}
    again = []
    for name, path in files.items():
        try:
            state = path.stat()
        except OSError:
            # For its reader to tell of.
            continue
        known = first.setdefault((state.st_dev, state.st_ino), name)
        if known != name:
            again.append(f"{name} is {known}")
    if not again:
        return ""
    one = len(again) == 1
    return (
        f"{len(again)} of {len(files)} {what} {'is' if one else 'are'} among them under another "
        f"name as well, by links, and {'counts' if one else 'count'} again: "
        f"{listing(again, 3)}. If each is to count once, remove links"
    )


def choose_subset(count: int, most: int, seed: int) -> list[int]:
    """Ascending indices of a seeded subset of `most` of `count` items; all if `most` is 0."""
    if most <= 0 or most >= count:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), most))


def visible_files(folder: Path | str, check: Check | None = None) -> Iterator[tuple[str, str]]:
    """(path inside `folder` with "/" between its parts, whole path) of each file, in any order.

    Subfolders are read as well, links are followed, but not back into a folder that they lie in.
    What has a leading dot is left out, as are the "._" companions that macOS puts beside every
    file. Letters with accents are one character in the path inside, see `composed`. The folders'
    own entries tell files from folders: among 100,000 files none but links is touched.

    `check` is called as check(path inside, whole path) for each subfolder and each link to a file
    before it is taken; what it raises ends the listing. PriorError if a folder cannot be listed, if
    a link leads nowhere (one named as a picture is given, for its reader to say so), or if links
    lead to a folder in more than MOST_WAYS ways.
    """
    ways: Counter[tuple[int, int]] = Counter()
    waiting: list[tuple[str, str, tuple[tuple[int, int], ...]]] = [("", str(folder), ())]
    while waiting:
        inside, path, above = waiting.pop()
        name = inside.rstrip("/") or Path(folder).name
        try:
            state = Path(path).stat()
            here = state.st_dev, state.st_ino
            if here in above:
                continue
            ways[here] += 1
            if ways[here] > MOST_WAYS:
                raise PriorError(
                    f"links lead to the folder {name!r} in more than {MOST_WAYS} ways; remove links"
                )
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    found = inside + composed(entry.name)
                    is_folder, is_file = _kind(entry, found)
                    if check and (is_folder or (is_file and entry.is_symlink())):
                        check(found, entry.path)
                    if is_folder:
                        waiting.append((f"{found}/", entry.path, (*above, here)))
                    elif is_file:
                        yield found, entry.path
        except OSError as error:
            raise PriorError(f"the folder {name!r} cannot be read: {error.strerror}") from error


def _kind(entry: os.DirEntry[str], name: str) -> tuple[bool, bool]:
    """Whether an entry is a folder, and whether a file, at the end of links."""
    try:
        if entry.is_dir():
            return True, False
        if entry.is_file():
            return False, True
        if entry.is_symlink():
            Path(entry.path).stat()
        # Pipes and devices.
        return False, False
    except OSError as error:
        # Who reads pictures says what is wrong with one, or leaves it out if that was asked for.
        if is_picture(name):
            return False, True
        raise PriorError(
            f"the link {name!r} cannot be followed: {error.strerror}; mend it or remove it"
        ) from error


def is_picture(name: str) -> bool:
    """Whether a file name has the ending of a picture."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def add_file(files: dict[str, str], name: str, path: str, what: str) -> None:
    """Note a file under its name; PriorError if there is one of this name already.

    `what` the files are is for that message.
    """
    other = files.setdefault(name, path)
    if other == path:
        return
    first, second = sorted((Path(other), Path(path)))
    if composed(str(first)) == composed(str(second)):
        raise PriorError(
            f"two {what} files are named {name!r}, one with accents as characters of their own "
            f"(Unicode forms NFD and NFC): {_told_apart(first, second)}; remove one"
        )
    raise PriorError(
        f"two {what} files are named {name!r}: {first.name} and {second.name}; remove one"
    )


def _told_apart(first: Path, second: Path) -> str:
    """Two paths that look alike, from where they differ on, in characters that can be told."""
    pairs = zip(first.parts, second.parts, strict=True)
    start = next(i for i, (a, b) in enumerate(pairs) if a != b)
    return " and ".join(ascii("/".join(path.parts[start:])) for path in (first, second))


def files_ending(
    folder: Path, ending: str, what: str, check: Check | None = None
) -> dict[str, Path]:
    """Path inside the folder without the ending -> file, of files with this ending alone.

    `what` the files are is for messages; `check`: see `visible_files`. Empty if there are none.
    """
    files: dict[str, str] = {}
    for inside, path in visible_files(folder, check):
        if inside.endswith(ending) and inside != ending:
            add_file(files, inside.removesuffix(ending), path, what)
    return {name: Path(path) for name, path in files.items()}


def files_by_name(
    folder: Path, what: str, check: Check | None = None, without: str = ""
) -> dict[str, Path]:
    """Path inside the folder without suffix -> picture file, subfolders included.

    `what` the pictures are is for messages; `check`: see `visible_files`; `without`: an ending of
    names that are left out. Raises PriorError if the folder is missing or holds no pictures, or if
    two of them differ only in the suffix or in the form of their letters.
    """
    if not folder.is_dir():
        raise PriorError(f"the {what} folder {folder.name!r} does not exist")
    files: dict[str, str] = {}
    for inside, path in visible_files(folder, check):
        if is_picture(inside) and not (without and inside.endswith(without)):
            add_file(files, inside.rpartition(".")[0], path, what)
    if not files:
        raise PriorError(
            f"the {what} folder {folder.name!r} holds no pictures"
            + f" but those that end in {without!r}" * bool(without)
            + f"; expected files ending in {', '.join(IMAGE_SUFFIXES)}"
        )
    return {name: Path(path) for name, path in files.items()}
