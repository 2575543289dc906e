"""Images without label maps, read from disk one at a time: a prior of them is spatial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import PriorError, listing
from .dataset import LabelledImage, as_pixels, check_reading
from .pairs import IMAGE_SUFFIXES, Check, is_picture, visible_files
from .picture_files import read_image

# What datasets call the folders of their label maps, without case.
_OF_LABELS = ("label", "annotation", "mask", "gtfine", "gtcoarse", "segm", "stuffthingmaps")


class ImageFile(NamedTuple):
    """An image file, and its path inside the folder that it was found in.

    >>> find_images(folder / "images")[0].name
    'a.png'
    """

    name: str
    path: Path


def find_images(folder: Path | str, check: Check | None = None) -> list[ImageFile]:
    """The picture files of a folder, subfolders included, by name.

    `check`: see `visible_files`. Raises PriorError if the folder is missing or holds no pictures.

    >>> [image.name for image in find_images(folder / "images")]
    ['a.png', 'b.png']
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PriorError(f"the image folder {folder.name!r} does not exist")
    found = sorted(pair for pair in visible_files(folder, check) if is_picture(pair[0]))
    if not found:
        raise PriorError(
            f"the image folder {folder.name!r} holds no pictures; expected files ending in "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )
    return [ImageFile(name, Path(path)) for name, path in found]


def label_folders_among(images: Sequence[ImageFile]) -> str:
    """Says which of the images lie in subfolders that are named as of label maps; "" if none."""
    folders = Counter(
        part
        for name, _ in images
        for part in name.split("/")[:-1]
        if part.lower().startswith(_OF_LABELS)
    )
    if not folders:
        return ""
    named = listing([f"{count} in {name}" for name, count in sorted(folders.items())], 3)
    return (
        f"pictures in folders that are named as of label maps count as images too: {named}. If "
        "they are label maps, name the folder of the images alone"
    )


@dataclass(frozen=True)
class ImageDataset:
    """Images read from disk at one size, without label maps.

    Attributes:
        images: see `find_images`.
        size: (width, height) in pixels that images are brought to.
        resize: see `PairDataset`.

    Raises PriorError for a size below one pixel, and for an unknown way to resize.

    >>> looks = ImageDataset(find_images(folder / "images"), (32, 16))
    >>> build_prior(looks, encode).labelled
    False
    """

    images: Sequence[ImageFile]
    size: tuple[int, int]
    resize: str = "stretch"

    # Not a field: none of them has labels.
    labelled = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_reading(self.size, self.resize))

    @property
    def ignored(self) -> tuple[int, ...]:
        """No class ids.

        >>> ImageDataset(find_images(folder / "images"), (32, 16)).ignored
        ()
        """
        return ()

    @property
    def metadata(self) -> dict[str, Any]:
        """The fields of `PriorMetadata` that the dataset tells.

        >>> ImageDataset(find_images(folder / "images"), (32, 16)).metadata
        {'source_size': (32, 16), 'resize_policy': 'stretch'}
        """
        return {"source_size": self.size, "resize_policy": self.resize}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        """Read one image; PriorError names the file that cannot be used and says why."""
        image = read_image(self.images[index].path, "image")
        return LabelledImage(as_pixels(image, self.size, self.resize), None)

    def name(self, index: int) -> str:
        """What to call item `index` in a message.

        >>> ImageDataset(find_images(folder / "images"), (32, 16)).name(0)
        'a.png'
        """
        return self.images[index].name

    def files(self, index: int) -> tuple[Path, ...]:
        """The file that item `index` is read from.

        >>> [file.name for file in ImageDataset(find_images(folder), (32, 16)).files(0)]
        ['a.png']
        """
        return (self.images[index].path,)

    def subset(self, indices: Sequence[int]) -> ImageDataset:
        """The same dataset with these images only.

        >>> len(ImageDataset(find_images(folder / "images"), (32, 16)).subset([1]))
        1
        """
        return replace(self, images=[self.images[i] for i in indices])
