"""COCO panoptic: pictures of segments, and a JSON file that tells the class of each segment."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PriorError, listing
from ..json_stream import entries_of_lists
from ..json_values import integer, items, text
from ..labels.ids import MAX_CLASS_ID
from ..labels.palette_files import palette_of
from ..labels.palette_formats import Listed, Row
from .layout import Found
from .names import composed
from .pairs import files_by_name, paired
from .picture_files import open_picture, upright
from .trees import Sides

_MOST_SEGMENT = 256**3 - 1


@dataclass(frozen=True)
class PanopticSegments:
    """Reads pictures of segments: red + 256 green + 256**2 blue, 0 for none.

    Attributes:
        places: stem of a picture -> where its segments are, (first, one after the last).
        segments: numbers of segments, ascending for each picture.
        classes: of each segment.
    """

    places: Mapping[str, tuple[int, int]]
    segments: array[int]
    classes: array[int]

    def files(self, path: Path) -> Sequence[Path]:
        """The one picture."""
        return (path,)

    def told(self, path: Path) -> str:
        """A hash of the picture's segments and their classes."""
        segments, classes = self._of(path)
        return hashlib.sha256(segments.tobytes() + classes.tobytes()).hexdigest()[:16]

    def values(self, path: Path, name: str) -> np.ndarray:
        """See `LabelForm`."""
        picture = upright(open_picture(path, "label map", name, exact=True))
        levels = np.asarray(picture.convert("RGB")).astype(np.int64)
        codes, inverse = np.unique(levels @ np.array([1, 256, 65536]), return_inverse=True)
        segments, classes = self._of(path)
        at = np.searchsorted(segments, codes).clip(max=max(0, len(segments) - 1))
        known = segments[at] == codes if len(segments) else np.zeros(len(codes), bool)
        if strange := codes[~known & (codes != 0)].tolist():
            raise PriorError(
                f"label map {name} holds segments that the JSON file does not list: "
                f"{listing([str(code) for code in strange])}; are both of one version?"
            )
        ids = np.full(len(codes), -1)
        ids[known] = classes[at[known]]
        return ids[inverse].reshape(levels.shape[:2])

    def _of(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        first, end = self.places[_stem(path.name)]
        return np.array(self.segments[first:end]), np.array(self.classes[first:end])


@dataclass
class _Annotations:
    """What the JSON file lists.

    Attributes:
        categories: a row a class.
        images: number of an image -> its file's name.
        pictures: (number of the image, name of the picture of its segments).
        ends: one after each picture's last segment.
        segments, classes: of all pictures, one after the other.
    """

    categories: list[Row] = field(default_factory=list)
    images: dict[int, str] = field(default_factory=dict)
    pictures: list[tuple[int, str]] = field(default_factory=list)
    ends: array[int] = field(default_factory=lambda: array("q"))
    segments: array[int] = field(default_factory=lambda: array("q"))
    classes: array[int] = field(default_factory=lambda: array("H"))


def find_coco_panoptic(sides: Sides) -> Found:
    """The pairs of a split; PriorError if the JSON file is not there, or is another.

    Class ids are the category ids of the JSON file, which have gaps.
    """
    path = _json_file(sides)
    what = f"annotations {path.name}"
    try:
        listed = _read(path)
        palette, _ = palette_of("coco_panoptic", Listed(listed.categories), what)
        form = _form(listed)
    except PriorError:
        raise
    except ValueError as error:
        raise PriorError(f"{what}: {error}") from error
    images = files_by_name(sides.images, "image", sides.check)
    # By the images' names, which need not be those of the pictures of segments.
    names = {
        _stem(picture): _stem(listed.images.get(number, picture))
        for number, picture in listed.pictures
    }
    labels = files_by_name(sides.labels, "label", sides.check)
    pairs, unpaired = paired(
        images, {names[stem]: label for stem, label in labels.items() if stem in names}
    )
    if not pairs:
        raise PriorError(
            f"no image has a label; {path.name} lists {len(names)} pictures of segments, of which "
            f"{len(names.keys() & labels.keys())} are in {sides.labels}, and "
            f"{len({*names.values()} & images.keys())} of their images in {sides.images}"
        )
    strays = tuple(sorted(labels.keys() - names.keys()))
    unpaired = replace(unpaired, labels=(*unpaired.labels, *strays))
    return Found(pairs, unpaired, palette, "segments", {}, form)


def _stem(name: str) -> str:
    """Without folders and suffix: annotations name files alone."""
    return composed(name).rpartition("/")[2].rpartition(".")[0]


def _json_file(sides: Sides) -> Path:
    name = f"panoptic_{sides.split}.json"
    places = (sides.labels.parent / name, sides.root / "annotations" / name, sides.root / name)
    for path in places:
        if path.is_file():
            if sides.check:
                sides.check(name, str(path))
            return path
    shown = " or ".join(dict.fromkeys(str(path.relative_to(sides.root)) for path in places))
    raise PriorError(
        f"there is no file {shown}, which tells the classes of the segments; it is in "
        "panoptic_annotations_trainval2017.zip"
    )


def _read(path: Path) -> _Annotations:
    """What the file lists; the last one is kept, since a node looks at it twice for each run."""
    state = path.stat()
    return _read_once(path.absolute(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _read_once(path: Path, _modified: int, _size: int) -> _Annotations:
    found = _Annotations()
    for name, entry in entries_of_lists(path):
        if name == "categories":
            found.categories.append(_category(len(found.categories), entry))
        elif name == "images":
            number = integer(_of(entry, "id", "an image"), 0, 2**63, "the id of an image")
            found.images[number] = text(_of(entry, "file_name", "an image"), "file_name")
        elif name == "annotations":
            _add(found, entry)
    for part, what in ((found.categories, "categories"), (found.pictures, "annotations")):
        if not part:
            raise ValueError(f"it has no list of {what}; expected COCO's panoptic format")
    return found


def _category(number: int, entry: object) -> Row:
    place = f"category {number}"
    class_id = integer(_of(entry, "id", place), 0, MAX_CLASS_ID, f"the id of {place}")
    return Row(place, class_id, text(_of(entry, "name", place), f"the name of {place}"), None)


def _add(found: _Annotations, entry: object) -> None:
    what = f"annotation {len(found.pictures)}"
    number = integer(_of(entry, "image_id", what), 0, 2**63, f"image_id of {what}")
    if "segments_info" not in entry:  # type: ignore[operator]
        raise ValueError(f"{what} has no segments_info; is it of objects, not panoptic?")
    picture = text(_of(entry, "file_name", what), f"file_name of {what}")
    classes: dict[int, int] = {}
    for segment in items(_of(entry, "segments_info", what), f"segments_info of {what}"):
        segment_id = integer(
            _of(segment, "id", f"a segment of {what}"), 0, _MOST_SEGMENT, f"a segment of {what}"
        )
        category = _of(segment, "category_id", f"a segment of {what}")
        classes[segment_id] = integer(category, 0, MAX_CLASS_ID, f"a category of {what}")
    found.pictures.append((number, picture))
    found.segments.extend(sorted(classes))
    found.classes.extend(classes[segment_id] for segment_id in sorted(classes))
    found.ends.append(len(found.segments))


def _form(listed: _Annotations) -> PanopticSegments:
    unknown = sorted({*listed.classes} - {row.class_id for row in listed.categories})
    if unknown:
        raise ValueError(
            f"segments are of the categories {listing([str(i) for i in unknown])}, which are not "
            "in its list of categories"
        )
    places: dict[str, tuple[int, int]] = {}
    first = 0
    for (_, picture), end in zip(listed.pictures, listed.ends, strict=True):
        if _stem(picture) in places:
            raise ValueError(f"it has two annotations of {picture!r:.80}")
        places[_stem(picture)], first = (first, end), end
    return PanopticSegments(places, listed.segments, listed.classes)


def _of(entry: object, name: str, what: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise ValueError(f"{what} has no {name}")
    return entry[name]
