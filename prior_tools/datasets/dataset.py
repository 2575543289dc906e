"""Pairs of images and label maps, read from disk one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import PriorError
from ..labels.findings import check_any_class
from ..labels.forms import LabelForm
from ..labels.geometry import RESIZE_POLICIES, crop_box
from ..labels.palettes import Palette, get_palette
from ..labels.reading import LabelRules
from ..labels.tally import LabelTally
from ..whole_numbers import two_sides, whole_numbers
from .label_files import check_shape, pictures_of, read_label_file, survey
from .pairs import Pair
from .picture_files import read_image

# As a script and a node have it.
HOW_TO_SKIP = "set on_error to skip"

# By so much rounding may lead out of 0..1.
_HAIR = 1e-3


@dataclass(frozen=True)
class LabelledImage:
    """One item of a dataset.

    Attributes:
        image: [H, W, 3], uint8 in 0..255 or float in 0..1.
        labels: int64 ids at the label file's own resolution, -1 = unknown; the same part of the
            scene as the image. None in a dataset without label maps.
        tally: what was found in the label file, for a build to sum up; None counts the labels.

    >>> item = dataset[0]
    >>> item.image.shape, item.labels.unique()  # 0 is sky, 3 is road
    (torch.Size([16, 32, 3]), tensor([0, 3]))
    """

    image: Tensor
    labels: Tensor | None
    tally: LabelTally | None = None


def as_floats(images: Tensor) -> Tensor:
    """Images [..., H, W, 3], uint8 or float in 0..1, as float32 in 0..1."""
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images.float()


def check_image(image: Tensor) -> None:
    """Raise PriorError for what is no image [H, W, 3], uint8 or float in 0..1."""
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        given = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise PriorError(f"the image is {given}; expected a tensor [H, W, 3]")
    if image.dtype == torch.uint8:
        return
    if not image.is_floating_point():
        raise PriorError(f"the image is {image.dtype}; expected uint8, or floats in 0..1")
    low, high = (float(level) for level in image.aminmax())
    if not (low >= -_HAIR and high <= 1 + _HAIR):
        raise PriorError(
            f"the image holds floats from {low:g} to {high:g}; expected 0..1. Divide levels of "
            "0..255 by 255, or give them as uint8"
        )


def check_reading(size: tuple[int, int], resize: str) -> tuple[int, int]:
    """The size, (width, height); PriorError for one below a pixel, and no way to resize."""
    if resize not in RESIZE_POLICIES:
        raise PriorError(f"resize is {resize!r}; expected one of {', '.join(RESIZE_POLICIES)}")
    return two_sides(size, "size", "(width, height) in pixels")


def as_pixels(image: Image.Image, size: tuple[int, int], resize: str) -> Tensor:
    """An RGB image brought to `size` (width, height), uint8 [H, W, 3]; see `PairDataset`."""
    if resize == "crop":
        # Cut first: resizing a box would read across its edge.
        image = image.crop(crop_box(image.size, size))
    return torch.from_numpy(np.array(image.resize(size, Image.Resampling.BICUBIC)))


@dataclass(frozen=True)
class PairDataset:
    """Pairs read from disk at one size.

    Attributes:
        pairs: see `find_pairs`.
        size: (width, height) in pixels that images are brought to.
        palette: of the label files, or its name. Color files are decoded by it. Files of one
            channel hold class ids. Files with a color table hold ids too, unless most of their
            colors are the palette's and they are no usual colors for ids. Grey files of three
            channels hold colors if all of their levels are the palette's, else ids.
        resize: "stretch" changes the aspect ratio; "crop" keeps it and cuts off what lies outside
            the largest centred part of the wanted ratio. Labels get the same treatment.
        ignore_ids: class ids that labels may hold and that statistics leave out; None takes the
            palette's.
        id_map: value in the file -> class id, for label files that are known to hold ids: color
            tables are then not looked at. A value that it lacks is an id already, so {} renames
            nothing. None tells ids from colors file by file, as said under palette.
        grey_is_ids: whether grey files of three channels of which both can be said hold ids; the
            other files tell, see `surveyed`.
        form: reads label maps that are no pictures of ids or colors; layouts know it.

    Raises PriorError for a size below one pixel, and for an unknown palette or way to resize.

    >>> pairs, _ = find_pairs(folder / "images", folder / "labels")
    >>> dataset = PairDataset(pairs, (24, 8), "camvid", resize="crop")
    >>> len(dataset), dataset[0].image.shape
    (2, torch.Size([8, 24, 3]))
    """

    pairs: Sequence[Pair]
    size: tuple[int, int]
    palette: Palette | str
    resize: str = "stretch"
    ignore_ids: tuple[int, ...] | None = None
    id_map: Mapping[int, int] | None = None
    grey_is_ids: bool = False
    form: LabelForm | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_reading(self.size, self.resize))
        object.__setattr__(self, "palette", get_palette(self.palette))
        if self.ignore_ids is not None:
            ignored = whole_numbers(self.ignore_ids, "an ignored id", -(2**31), 2**31)
            object.__setattr__(self, "ignore_ids", ignored)

    # Not a field: all of them have labels.
    labelled = True

    @property
    def ignored(self) -> tuple[int, ...]:
        """Class ids that labels may hold and that statistics leave out.

        >>> dataset.ignored
        (11,)
        """
        if self.ignore_ids is not None:
            return self.ignore_ids
        return get_palette(self.palette).ignore_ids

    @property
    def metadata(self) -> dict[str, Any]:
        """The fields of `PriorMetadata` that the dataset tells.

        >>> dataset.metadata["source_size"], dataset.metadata["class_names"][8]
        ((32, 16), 'car')
        """
        palette = get_palette(self.palette)
        return {
            "source_size": self.size,
            "palette": palette,
            "class_names": dict(palette.names),
            "resize_policy": self.resize,
        }

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def rules(self) -> LabelRules:
        """How the label files are read.

        >>> dataset.rules.ignore_ids
        (11,)
        """
        palette = get_palette(self.palette)
        return LabelRules(palette, self.ignored, self.id_map, self.grey_is_ids, self.form)

    def surveyed(
        self,
        workers: int = 4,
        look: Callable[[], None] = lambda: None,
        skip_errors: bool = False,
        how_to_skip: str = HOW_TO_SKIP,
    ) -> tuple[PairDataset, LabelTally]:
        """The dataset once some of its label files were looked through, and what they hold.

        See `survey`, which raises PriorError for files that cannot be meant; so does this for
        files of which all are read and none holds a class. how_to_skip: what an error at a file
        that cannot be read tells to do to leave it out.

        >>> surveyed, tally = dataset.surveyed()
        >>> tally.labelled(surveyed.ignored)
        1.0
        """
        files = [(pair.label.name, pair.label) for pair in self.pairs]
        rules, tally = survey(
            files,
            self.rules,
            workers=workers,
            look=look,
            skip_errors=skip_errors,
            hint=f". To leave such files out, {how_to_skip}",
        )
        if tally.files == len(files):
            check_any_class(tally, rules.palette, self.ignored)
        return replace(self, grey_is_ids=rules.grey_is_ids), tally

    def __getitem__(self, index: int) -> LabelledImage:
        """Read one pair; PriorError names the file that cannot be used and says why."""
        pair = self.pairs[index]
        reading = read_label_file(pair.label, self.rules)
        labels = reading.ids
        label_size = labels.shape[1], labels.shape[0]
        image = read_image(pair.image, "image", label_size=label_size)
        check_shape(pair.label.name, label_size, f"image {pair.image.name}", image.size)
        if self.resize == "crop":
            left, top, right, bottom = crop_box(label_size, self.size)
            labels = labels[top:bottom, left:right]
        return LabelledImage(as_pixels(image, self.size, self.resize), labels, reading.tally)

    def name(self, index: int) -> str:
        """What to call item `index` in a message.

        >>> dataset.name(0)
        'a'
        """
        return self.pairs[index].name

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that item `index` is read from, the image's first.

        >>> [file.parent.name for file in dataset.files(0)]
        ['images', 'labels']
        """
        pair = self.pairs[index]
        return pair.image, *pictures_of(pair.label, self.rules)

    def subset(self, indices: Sequence[int]) -> PairDataset:
        """The same dataset with these pairs only.

        >>> some = dataset.subset([1])
        >>> some.name(0)
        'b'
        """
        return replace(self, pairs=[self.pairs[i] for i in indices])
