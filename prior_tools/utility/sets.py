"""Images with their label maps, read at one size and kept in memory: a set to train on or to test.

An image is cut to its largest centred part of the size's shape and resized by antialiased bicubic
interpolation; label maps get the same treatment by nearest neighbor, so ids are never mixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..datasets.label_files import check_shape, read_label_file, survey
from ..datasets.layout import Layout
from ..datasets.pairs import Pair
from ..datasets.picture_files import read_image
from ..errors import PriorError, counted, listing
from ..evaluation.files import GeneratedImage
from ..helper_threads import HelperThreads, InOrder
from ..labels.findings import check_any_class
from ..labels.geometry import crop_box, fit_labels
from ..labels.palettes import Palette
from ..labels.reading import LabelRules
from ..labels.tally import LabelTally

# In label maps of indices: a pixel of no class, which neither trains nor counts.
VOID = 255
# Indices 0..254 beside VOID.
MOST_CLASSES = 255

_READERS = 4


@dataclass(frozen=True)
class Source:
    """The files of a set.

    Attributes:
        title: what it is called in messages, such as "--real streets".
        images: image, label map and the label map's name.
        rules: how label maps are read.
        made_of_maps: whether images show the largest centred part of their label map that has their
            shape, as images made with a ControlNet do; else another shape is an error.
    """

    title: str
    images: Sequence[GeneratedImage]
    rules: LabelRules
    made_of_maps: bool = False

    @classmethod
    def of_layout(cls, title: str, layout: Layout, rules: LabelRules | None = None) -> Source:
        """The pairs of a dataset."""
        return cls(title, [_as_image(pair) for pair in layout.pairs], rules or layout.rules)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class LabelledSet:
    """Images with label maps at one size.

    Attributes:
        title: what it is called in messages.
        palette: of its label maps.
        ignored: classes that do not count.
        maps: the label map's name of each image.
        images: uint8 [N, H, W, 3].
        ids: class ids int32 [N, H, W], -1 where no class that counts is.
        prints: a digest of each label map as its file has it, and of its mirror image.
        tally: what the label files hold.
    """

    title: str
    palette: Palette
    ignored: tuple[int, ...]
    maps: tuple[str, ...]
    images: Tensor
    ids: Tensor
    prints: tuple[tuple[str, str], ...]
    tally: LabelTally

    def __len__(self) -> int:
        return len(self.images)

    @property
    def digest(self) -> str:
        """16 hex digits over images, label maps and names."""
        digest = hashlib.sha256("\n".join(self.maps).encode(errors="surrogateescape"))
        for tensor in (self.images, self.ids):
            digest.update(f"{tuple(tensor.shape)}".encode())
            digest.update(np.ascontiguousarray(tensor.numpy()).data)
        return digest.hexdigest()[:16]

    @property
    def classes(self) -> set[int]:
        """Ids of the classes that its label maps hold at this size."""
        found = torch.bincount((self.ids.flatten() + 1).long())[1:]
        return {int(i) for i in found.nonzero().flatten()}


@dataclass(frozen=True)
class IndexedSet:
    """What a training or a test takes of a set.

    Attributes:
        images: uint8 [N, H, W, 3].
        labels: uint8 [N, H, W], indices of classes, or VOID.
        maps, digest: as of the `LabelledSet`.
    """

    images: Tensor
    labels: Tensor
    maps: tuple[str, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.images)


def read_set(
    source: Source,
    size: tuple[int, int],
    progress: Callable[[int], None] = lambda _: None,
) -> LabelledSet:
    """Read all files of a set.

    Args:
        source: its files.
        size: (width, height) in pixels that images and label maps are brought to.
        progress: called with the number of further images that are read.

    Raises PriorError that names the set and the file if one cannot be read or holds ids that the
    palette lacks, if an image and its label map are of different shapes, or if no pixel is of a
    class that counts.
    """
    try:
        return _read_set(source, size, progress)
    except PriorError as error:
        raise PriorError(f"{source.title}: {error}") from error


def _read_set(
    source: Source, size: tuple[int, int], progress: Callable[[int], None]
) -> LabelledSet:
    files = sorted({(image.label.name, image.label) for image in source.images})
    rules, _ = survey(files, source.rules)
    width, height = size
    count = len(source)
    images = torch.empty(count, height, width, 3, dtype=torch.uint8)
    ids = torch.empty(count, height, width, dtype=torch.int32)
    prints, tally = [], LabelTally()
    threads = HelperThreads(_READERS, "scp-read")

    def read(image: GeneratedImage) -> _Item | PriorError:
        try:
            return _read(image, size, rules, source.made_of_maps)
        except PriorError as error:
            return error

    try:
        reading = InOrder(threads, read, source.images, 4 * _READERS, lambda: None)
        for index, item in enumerate(reading):
            if isinstance(item, PriorError):
                raise item
            images[index], ids[index] = item.image, item.ids
            prints.append(item.prints)
            tally += item.tally
            progress(1)
    finally:
        threads.end()
    check_any_class(tally, rules.palette, rules.ignore_ids, "--ignore")
    maps = tuple(image.map for image in source.images)
    return LabelledSet(
        source.title, rules.palette, rules.ignore_ids, maps, images, ids, tuple(prints), tally
    )


@dataclass(frozen=True)
class _Item:
    image: Tensor
    ids: Tensor
    prints: tuple[str, str]
    tally: LabelTally


def _read(
    image: GeneratedImage, size: tuple[int, int], rules: LabelRules, made_of_maps: bool
) -> _Item:
    reading = read_label_file(image.label, rules)
    ids = reading.ids.flip(-1) if image.mirrored else reading.ids
    height, width = ids.shape
    whole = ids
    picture = read_image(image.image, "image", label_size=(width, height))
    if made_of_maps:
        left, top, right, bottom = crop_box((width, height), picture.size)
        ids = ids[top:bottom, left:right]
    else:
        check_shape(image.label.name, (width, height), f"image {image.image.name}", picture.size)
    if picture.size != size:
        picture = picture.crop(crop_box(picture.size, size))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    ignored = torch.tensor(rules.ignore_ids, dtype=torch.int64)
    ids = fit_labels(ids, size)
    return _Item(
        torch.from_numpy(np.array(picture)),
        torch.where(torch.isin(ids, ignored), -1, ids).int(),
        (_print(whole), _print(whole.flip(-1))),
        reading.tally,
    )


def _print(ids: Tensor) -> str:
    """A digest of a label map; "" of one of a single class, which says nothing."""
    if bool((ids == ids[0, 0]).all()):
        return ""
    digest = hashlib.sha256(f"{tuple(ids.shape)}".encode())
    digest.update(np.ascontiguousarray(ids.numpy()).data)
    return digest.hexdigest()


def _as_image(pair: Pair) -> GeneratedImage:
    return GeneratedImage(pair.image, pair.label, pair.name)


def check_same_classes(first: LabelledSet, other: LabelledSet) -> None:
    """Raise PriorError if an id that both sets hold has two names."""
    ours, theirs = first.palette.names, other.palette.names
    for class_id in sorted(first.classes & other.classes):
        names = ours.get(class_id, ""), theirs.get(class_id, "")
        if all(names) and names[0].casefold() != names[1].casefold():
            raise PriorError(
                f"class {class_id} is {names[0]!r} in {first.title} and {names[1]!r} in "
                f"{other.title}; expected the same classes. Export the images with the ids of the "
                "real dataset, or name one --palette for all"
            )


def all_classes(sets: Sequence[LabelledSet]) -> tuple[int, ...]:
    """Ascending ids of the classes that any of the sets holds.

    Raises PriorError for more than MOST_CLASSES.
    """
    found = sorted(set().union(*(one.classes for one in sets)))
    if len(found) > MOST_CLASSES:
        raise PriorError(
            f"the label maps hold {len(found)} classes; expected at most {MOST_CLASSES}. Unite "
            "some of them by --id-map, or leave some out by --ignore"
        )
    return tuple(found)


def class_names(sets: Sequence[LabelledSet]) -> Mapping[int, str]:
    """Class id -> name, of the first set that has one."""
    names: dict[int, str] = {}
    for one in reversed(sets):
        names |= {i: name for i, name in one.palette.names.items() if name}
    return names


def indexed(one: LabelledSet, classes: Sequence[int]) -> IndexedSet:
    """The set with the place of each class among `classes` in place of its id."""
    table = torch.full((max(classes, default=0) + 2,), VOID, dtype=torch.uint8)
    for index, class_id in enumerate(classes):
        table[class_id + 1] = index
    return IndexedSet(one.images, table[(one.ids + 1).long()], one.maps, one.digest)


def missing_classes(one: LabelledSet, val: LabelledSet) -> list[int]:
    """Classes that the held-out images hold and no image of a set does."""
    return sorted(val.classes - one.classes)


def with_ignored(rules: LabelRules, ignore_ids: Sequence[int] | None) -> LabelRules:
    """The rules with classes that do not count: these, or those that they have, and 255.

    255 is what tools write where no class is; a palette that has it as a class keeps it.
    """
    if ignore_ids is not None:
        return replace(rules, ignore_ids=tuple(ignore_ids))
    palette = rules.palette
    if palette.is_grey or VOID in palette.colors or VOID in palette.names:
        return rules
    return replace(rules, ignore_ids=tuple(dict.fromkeys((*rules.ignore_ids, VOID))))


def check_enough(one: Source, batch: int) -> None:
    """Raise PriorError if a set has fewer images than a batch."""
    if len(one) < batch:
        names = listing([image.map for image in one.images], 3)
        raise PriorError(
            f"{one.title} holds {counted(len(one), 'image')} ({names}), fewer than a batch of "
            f"{batch}; give more images, or a smaller --batch"
        )
