"""Masks of one class each, several files an image.

Their names say image and class: IMAGE/CLASS.png, CLASS/IMAGE.png, IMAGE_CLASS.png or
IMAGE-CLASS.png, also with a number after the class; or as Label Studio's brushes export them, with
the JSON export beside them, which says the image of each task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from ..errors import PriorError, listing
from ..json_stream import entries_of_lists
from ..labels.class_matching import class_named
from ..labels.palettes import Palette
from .layout import Found
from .names import composed
from .pairs import Check, add_file, files_by_name, is_picture, paired, visible_files
from .picture_files import open_picture, upright
from .two_folders import Places, folders_of_split

MASKS = "masks"

_SEPARATOR = re.compile(r"[/_-]")
_NUMBERED = re.compile(r"(.+)[ _-]\d+")
# Whoever drew it, its tag and its class, all of which may hold hyphens.
_LABEL_STUDIO = re.compile(r"task-(\d+)-annotation-(\d+)-by-(.*-.+)-\d+")
# Before the names of files that were uploaded to Label Studio.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")

_SHOWN = 12
_BACKGROUND = "background"
# A mask with smooth edges holds all levels up to this one.
_WHITE = 255


@dataclass(frozen=True)
class ClassMasks:
    """Reads masks of a class each.

    Pixels in masks of two classes are of none; those in no mask are of the background.

    Attributes:
        masks: the first mask of an image -> (file, class id) of all of them.
        background: class id of what is in no mask, -1 for none.
    """

    masks: Mapping[Path, Sequence[tuple[Path, int]]]
    background: int

    def files(self, path: Path) -> Sequence[Path]:
        """All masks of the image."""
        return [file for file, _ in self.masks[path]]

    def told(self, path: Path) -> str:
        """The classes of the masks."""
        return " ".join(str(i) for i in (self.background, *(c for _, c in self.masks[path])))

    def values(self, path: Path, name: str) -> np.ndarray:
        """See `LabelForm`."""
        found: np.ndarray | None = None
        for file, class_id in self.masks[path]:
            inside = _covered(file)
            if found is None:
                found = np.full(inside.shape, self.background, np.int64)
                taken = np.zeros(inside.shape, bool)
            if inside.shape != found.shape:
                raise PriorError(
                    f"mask {file.name} has {inside.shape[1]}x{inside.shape[0]} pixels, others of "
                    f"{name} have {found.shape[1]}x{found.shape[0]}"
                )
            both = inside & taken & (found != class_id)
            found[inside] = class_id
            found[both] = -1
            taken |= inside
        assert found is not None, "an image without masks is no pair"
        return found


def _covered(file: Path) -> np.ndarray:
    """bool [H, W]: where a mask lies."""
    picture = upright(open_picture(file, "mask", exact=True))
    if picture.mode in ("LA", "La"):
        picture = picture.getchannel(0)
    elif picture.mode not in ("1", "L", "P", "I", "F") and not picture.mode.startswith("I;16"):
        picture = picture.convert("RGB")
    levels = np.asarray(picture).astype(np.float64)
    levels = levels.max(-1) if levels.ndim == 3 else levels
    largest = float(levels.max())
    values = np.unique(levels)
    if len(values) > 2 and largest != _WHITE:
        raise PriorError(
            f"mask {file.name} holds {len(values)} levels up to {largest:g}; expected a mask of "
            "one class, black and white. A file of several classes is a label map: choose layout "
            "pairs"
        )
    covered: np.ndarray = (levels > 0) & (2 * levels >= largest)
    return covered


def find_class_masks(
    root: Path, split: str, places: Places, palette: Palette | None, check: Check | None
) -> tuple[Found, str]:
    """The images that have masks, and the split's name, "" where the folders are read whole.

    Raises PriorError if a folder or the split is missing, no image has a mask, or masks are of
    classes that the palette does not have, or none is given; the text then lists them.
    """
    used, (images, folder) = folders_of_split(root, split, places, MASKS, check)
    files = files_by_name(images, "image", check)
    masks = _mask_files(folder, check)
    if masks.studio:
        beside = (folder, folder.parent) if folder != root else (folder,)
        found, strays = _of_label_studio(masks, files, (*beside, root), check)
        expected = "Label Studio's JSON export of these tasks, with the names of these images"
    else:
        found, strays = _by_name(masks.plain, files, palette)
        expected = "IMAGE/CLASS.png, CLASS/IMAGE.png or IMAGE_CLASS.png"
    if not found:
        raise PriorError(
            f"{images} and {folder}: no image has a mask; there are {len(files)} images, such as "
            f"{min(files)}, and {len(masks.plain) + len(masks.studio)} masks, such as "
            f"{listing(strays, 2)}. Expected {expected}"
        )
    if palette is None:
        texts = sorted({text for named in found.values() for _, text in named})
        raise PriorError(
            f"the masks in {folder} are of {listing([repr(text) for text in texts], _SHOWN)}; give "
            "the palette that says the id of each, such as a file of "
            '{"classes": [{"id": 0, "name": "background"}, {"id": 1, "name": "car"}]}'
        )
    classes = _Classes(palette)
    masks_of = {name: sorted(named) for name, named in found.items()}
    by_first = {
        named[0][0]: [(path, classes.of(text, path)) for path, text in named]
        for named in masks_of.values()
    }
    labels = {name: named[0][0] for name, named in masks_of.items()}
    pairs, unpaired = paired(files, labels)
    unpaired = replace(unpaired, labels=(*unpaired.labels, *strays))
    return Found(
        pairs, unpaired, palette, "masks", {}, ClassMasks(by_first, classes.background)
    ), used


@dataclass
class _Masks:
    """Files by their path inside the folder without suffix, apart by who wrote them."""

    plain: dict[str, Path] = field(default_factory=dict)
    studio: dict[str, Path] = field(default_factory=dict)


def _mask_files(folder: Path, check: Check | None) -> _Masks:
    paths: dict[str, str] = {}
    for inside, path in visible_files(folder, check):
        if is_picture(inside):
            add_file(paths, inside.rpartition(".")[0], path, "mask")
    found = _Masks()
    for name, file in paths.items():
        is_studio = _LABEL_STUDIO.fullmatch(name.rpartition("/")[2])
        (found.studio if is_studio else found.plain)[name] = Path(file)
    if found.studio and found.plain:
        raise PriorError(
            f"{folder} holds masks as Label Studio names them, such as {min(found.studio)}, and "
            f"others, such as {min(found.plain)}; expected one kind"
        )
    return found


class _Classes:
    """Class ids of the texts in names."""

    def __init__(self, palette: Palette) -> None:
        self._palette = palette
        self._known: dict[str, int] = {}
        try:
            self.background = class_named(_BACKGROUND, palette)
        except PriorError:
            self.background = -1

    def of(self, text: str, file: Path) -> int:
        """The class of a text; PriorError if the palette has none."""
        try:
            return self._of(text)
        except PriorError as error:
            raise PriorError(f"mask {file.name}: {error}") from None

    def has(self, text: str) -> bool:
        """Whether the palette has a class for a text."""
        try:
            self._of(text)
        except PriorError:
            return False
        return True

    def _of(self, text: str) -> int:
        if text not in self._known:
            try:
                self._known[text] = class_named(text, self._palette)
            except PriorError:
                match = _NUMBERED.fullmatch(text)
                if match is None:
                    raise
                self._known[text] = class_named(match[1], self._palette)
        return self._known[text]


_Found = dict[str, list[tuple[Path, str]]]


def _by_name(
    masks: Mapping[str, Path], images: Mapping[str, Path], palette: Palette | None
) -> tuple[_Found, list[str]]:
    """(image -> its masks and the texts of their classes, masks of no image)."""
    classes = None if palette is None else _Classes(palette)
    found: _Found = {}
    strays = []
    for name, path in sorted(masks.items()):
        ways = list(_ways(name, images))
        if classes and len(ways) > 1:
            ways = [way for way in ways if classes.has(way[1])] or ways
        if len(ways) > 1:
            raise PriorError(
                f"mask {name} could be {' or '.join(f'{c!r} of image {i}' for i, c in ways)}; "
                "rename it, such as IMAGE/CLASS.png"
            )
        if not ways:
            strays.append(name)
            continue
        image, text = ways[0]
        found.setdefault(image, []).append((path, text))
    return found, strays


def _ways(name: str, images: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """(image, text of the class) of each way to read a mask's name."""
    for match in _SEPARATOR.finditer(name):
        before, after = name[: match.start()], name[match.end() :]
        if before in images and after:
            yield before, after
        if match[0] == "/" and after in images and before:
            yield after, before


def _of_label_studio(
    masks: _Masks, images: Mapping[str, Path], places: Iterable[Path], check: Check | None
) -> tuple[_Found, list[str]]:
    """As `_by_name`, of masks named after tasks."""
    exported = _export(places, check)
    tasks = _tasks(exported)
    by_stem: dict[str, list[str]] = {}
    for name in images:
        by_stem.setdefault(name.rpartition("/")[2], []).append(name)
    found: _Found = {}
    strays: list[str] = []
    annotations: dict[str, str] = {}
    for name, path in sorted(masks.studio.items()):
        match = _LABEL_STUDIO.fullmatch(name.rpartition("/")[2])
        assert match is not None, "told apart by this"
        task, annotation, rest = match.groups()
        if annotations.setdefault(task, annotation) != annotation:
            raise PriorError(
                f"task {task} has masks of annotations {annotations[task]} and {annotation}; keep "
                "those of one"
            )
        stems, tags = tasks.get(task, ((), ()))
        named = [image for stem in stems for image in by_stem.get(stem, [])]
        if len({*named}) > 1:
            raise PriorError(
                f"task {task} in {exported.name} could be of images {listing(sorted({*named}), 3)}"
            )
        if not named:
            strays.append(name)
            continue
        tag = max((t for t in tags if f"-{t}-" in rest), key=len, default=None)
        after = rest.partition("-")[2].partition("-") if tag is None else rest.partition(f"-{tag}-")
        text = after[2]
        found.setdefault(named[0], []).append((path, text))
    return found, strays


def _export(places: Iterable[Path], check: Check | None) -> Path:
    places = list(dict.fromkeys(places))
    for place in places:
        files = sorted(p for p in place.glob("*.json") if p.name[0] != ".")
        if len(files) > 1:
            raise PriorError(
                f"{place} holds {listing([p.name for p in files], 3)}; expected Label Studio's "
                "JSON export of these masks alone"
            )
        if files:
            if check:
                check(files[0].name, str(files[0]))
            return files[0]
    raise PriorError(
        f"Label Studio's masks in {places[0]} are named by numbers of tasks; put its JSON export, "
        "which tells the image of each, beside them"
    )


def _tasks(path: Path) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Number of a task -> (names that its image may have, names of its tags)."""
    found = {}
    try:
        for _, task in entries_of_lists(path):
            if isinstance(task, dict) and type(task.get("id")) is int:
                data = task.get("data", task)
                texts = [*data.values()] if isinstance(data, dict) else []
                texts.append(task.get("file_upload"))
                stems = [stem for text in texts for stem in _stems(text)]
                found[str(task["id"])] = tuple(dict.fromkeys(stems)), tuple(_tags(task))
    except ValueError as error:
        raise PriorError(f"{path} is no JSON export of Label Studio ({error})") from error
    return found


def _tags(task: Mapping[str, object]) -> Iterator[str]:
    annotations = task.get("annotations")
    for annotation in annotations if isinstance(annotations, list) else []:
        results = annotation.get("result") if isinstance(annotation, dict) else None
        for result in results if isinstance(results, list) else []:
            if isinstance(result, dict) and isinstance(result.get("from_name"), str):
                yield result["from_name"]


def _stems(text: object) -> Iterator[str]:
    """Names without suffix that the file at an address may have had, the likeliest first."""
    if not isinstance(text, str):
        return
    try:
        address = urlsplit(text)
    except ValueError:
        # Other text of the task.
        return
    # Files of the server's own disk: /data/local-files/?d=photos/a.jpg
    inside = parse_qs(address.query).get("d", [unquote(address.path)])[0]
    name = composed(inside.replace("\\", "/").rpartition("/")[2])
    if not is_picture(name):
        return
    stem = name.rpartition(".")[0]
    yield stem
    if match := _UPLOADED.fullmatch(stem):
        yield match[1]
