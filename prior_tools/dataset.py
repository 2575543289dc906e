"""Folders of images and label maps, paired by name and read one pair at a time."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .errors import PriorError, listing
from .labels import crop_box
from .palettes import Palette, check_matched, decode_label_image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
RESIZE_POLICIES = ("stretch", "crop")


@dataclass(frozen=True)
class Pair:
    """An image file and the label file of the same scene."""

    name: str
    image: Path
    label: Path


@dataclass(frozen=True)
class LabelledImage:
    """One item of a dataset.

    Attributes:
        image: float32 [H, W, 3] in 0..1.
        labels: int64 ids at the label file's own resolution, -1 = unknown; the same part of the
            scene as the image.
    """

    image: Tensor
    labels: Tensor


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
    """
    image_files, label_files = (
        _files_by_name(Path(folder), what)
        for folder, what in ((images, "image"), (labels, "label"))
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


@dataclass(frozen=True)
class PairDataset:
    """Pairs read from disk at one size.

    Attributes:
        pairs: see `find_pairs`.
        size: (width, height) in pixels that images are brought to.
        palette: of the label files. Colour files are decoded by it. Files of one channel hold
            class ids, and so do files with a colour table none of whose colours is the palette's.
        resize: "stretch" changes the aspect ratio; "crop" keeps it and cuts off what lies outside
            the largest centred part of the wanted ratio. Labels get the same treatment.
        ignore_ids: ids that labels may hold beside those of the palette.
        id_map: value in the file -> class id, for label files that are known to hold ids: colour
            tables are then not looked at. A value that it lacks is an id already, so {} renames
            nothing. None tells ids from colours file by file, as said under palette.
    """

    pairs: Sequence[Pair]
    size: tuple[int, int]
    palette: Palette
    resize: str = "stretch"
    ignore_ids: tuple[int, ...] = ()
    id_map: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        if self.resize not in RESIZE_POLICIES:
            raise PriorError(
                f"resize is {self.resize!r}; expected one of {', '.join(RESIZE_POLICIES)}"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> LabelledImage:
        """Read one pair; PriorError names the file that cannot be used and says why."""
        pair = self.pairs[index]
        return LabelledImage(self._image(pair), self._labels(pair))

    def name(self, index: int) -> str:
        """What to call item `index` in a message."""
        return self.pairs[index].name

    def subset(self, indices: Sequence[int]) -> PairDataset:
        """The same dataset with these pairs only."""
        return replace(self, pairs=[self.pairs[i] for i in indices])

    def _image(self, pair: Pair) -> Tensor:
        picture = _open(pair.image, "image")
        if picture.mode.startswith("I;16"):
            # Pillow's own conversion of 16-bit grey clips instead of scaling.
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        picture = picture.convert("RGB")
        width, height = self.size
        if self.resize == "crop":
            # Cut first: resizing a box would read across its edge.
            picture = picture.crop(crop_box(*picture.size, width, height))
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(picture)).to(torch.float32) / 255

    def _labels(self, pair: Pair) -> Tensor:
        picture = _open(pair.label, "label map")
        if self.resize == "crop":
            picture = picture.crop(crop_box(*picture.size, *self.size))
        ids = self._ids(picture, pair)
        # Out-of-range ids are a wrong palette or wrong files, not something to guess about.
        present = ids.unique().tolist()
        wrong = [
            i for i in present if i >= 0 and not self.palette.holds(i) and i not in self.ignore_ids
        ]
        if wrong:
            raise PriorError(
                f"label map {pair.label.name} holds class ids {listing([str(i) for i in wrong])}, "
                f"which palette '{self.palette.name}' does not have; choose the palette of this "
                "dataset, or add the ids to ignore_ids"
            )
        return ids

    def _ids(self, picture: Image.Image, pair: Pair) -> Tensor:
        if picture.mode == "P" and self.id_map is None:
            colored = torch.from_numpy(np.array(picture.convert("RGB")))
            decoded, unmatched = decode_label_image(colored, self.palette)
            if not self.palette.is_grey and unmatched == 0:
                return decoded
        if picture.mode == "1" or picture.mode in ("L", "P", "I") or picture.mode.startswith("I;"):
            return torch.from_numpy(_renamed(np.array(picture).astype(np.int64), self.id_map))
        colored = torch.from_numpy(np.array(picture.convert("RGB")))
        ids, unmatched = decode_label_image(colored, self.palette)
        check_matched(colored, unmatched, self.palette, f"label map {pair.label.name}")
        return ids


def _open(path: Path, what: str) -> Image.Image:
    """Read a picture whole, turned as its EXIF data says."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except UnidentifiedImageError as error:
        # Its own text is the whole path.
        raise PriorError(f"{what} {path.name} cannot be read: it is not a picture") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PriorError(f"{what} {path.name} cannot be read: {error}") from error


def _renamed(values: np.ndarray, id_map: Mapping[int, int] | None) -> np.ndarray:
    """Ids int64 [H, W] of a label file's values int64 [H, W]; see `PairDataset.id_map`."""
    low, high = int(values.min()), int(values.max())
    # A wider range is no label map; its ids are refused by the palette, without a huge table here.
    if not id_map or high - low > 65535:
        return values
    table = np.arange(low, high + 1)
    for value, class_id in id_map.items():
        if low <= value <= high:
            table[value - low] = class_id
    return table[values - low]


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


def _files_by_name(folder: Path, what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise PriorError(f"the {what} folder {folder.name!r} does not exist")
    files: dict[str, Path] = {}
    for inside, path in sorted(visible_files(folder)):
        name, dot, suffix = inside.rpartition(".")
        if (dot + suffix).lower() not in IMAGE_SUFFIXES:
            continue
        if name in files:
            raise PriorError(
                f"two {what} files are named {name!r}: {files[name].name} and {Path(path).name}; "
                "remove one"
            )
        files[name] = Path(path)
    if not files:
        raise PriorError(
            f"the {what} folder {folder.name!r} holds no pictures; expected files ending in "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )
    return files
