"""PASCAL VOC: three folders, and lists of the names of each split.

As the VOC challenges wrote it (Everingham et al., IJCV 2010), with the larger SegmentationClassAug
of later work, and as labelme writes it: without lists, and with its own classes.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import PriorError, listing
from ..labels.palette_files import palette_of
from ..labels.palette_formats import Listed, Row
from ..labels.palettes import Palette, get_palette
from ..text_file import read_text
from .folder_contents import holds, near
from .layout import Found
from .pairs import Check, Unpaired, files_by_name, paired

_IMAGES, _LISTS = "JPEGImages", "ImageSets/Segmentation"
_LABELS, _MORE_LABELS, _LABELME_LABELS = (
    "SegmentationClass",
    "SegmentationClassAug",
    "SegmentationClassPNG",
)
_NAMES = "class_names.txt"
# Below a root, what the challenges' archives unpack.
_YEARS = ("VOC[0-9]*", "VOCdevkit/VOC[0-9]*")
_SOURCE = "VOCtrainval_11-May-2012.tar or another of its years; the folder with JPEGImages in it"

# Of borders, and what labelme ignores.
_IGNORED = 255


def voc_splits(root: Path) -> list[str]:
    """Names of the splits that a folder has lists of; [""] where it has none, [] if it is no VOC.

    The test sets have lists, too, but no labels.
    """
    if not (root / _IMAGES).is_dir() or _label_folder(root, "") is None:
        return []
    if not (root / _LISTS).is_dir():
        return [""]
    names = sorted(path.stem for path in (root / _LISTS).glob("*.txt"))
    return [name for name in names if name[0] != "." and name != "test"]


def voc_folders(root: Path) -> list[Path]:
    """The folders with splits: the root itself, else VOC2012 and the like below it."""
    if voc_splits(root):
        return [root]
    return [path for way in _YEARS for path in sorted(root.glob(way)) if voc_splits(path)]


def find_voc(root: Path, split: str, check: Check | None) -> tuple[Found, str]:
    """The pairs of a split, and the split's name, "" where there are none.

    Raises PriorError if a folder or the list is missing, or no image has a label.
    """
    folders = voc_folders(root)
    if len(folders) > 1:
        years = listing([folder.relative_to(root).as_posix() for folder in folders])
        raise PriorError(f"PASCAL VOC: {root} holds {years}; give one of these as root")
    root = folders[0] if folders else root
    splits = voc_splits(root)
    if not splits:
        raise _missing(root)
    if split == "test":
        raise PriorError(
            "split 'test' of PASCAL VOC cannot be used: its labels are not published; choose "
            "train, val or trainval"
        )
    if splits == [""]:
        split = ""
    elif split not in splits:
        raise PriorError(
            f"PASCAL VOC: {root} has no list {_LISTS}/{split}.txt; there is {listing(splits)}. "
            "Choose one of these as split"
        )
    labels = _label_folder(root, split)
    assert labels is not None
    images = root / _IMAGES
    for folder in (images, labels):
        if check:
            check(folder.name, str(folder))
    image_files = files_by_name(images, "image", check)
    label_files = files_by_name(labels, "label", check)
    names, absent = set[str](), set[str]()
    if split:
        names = _listed(root / _LISTS / f"{split}.txt", check)
        absent = names - image_files.keys() - label_files.keys()
        image_files = {name: path for name, path in image_files.items() if name in names}
        label_files = {name: path for name, path in label_files.items() if name in names}
    pairs, unpaired = paired(image_files, label_files)
    if not pairs:
        said = f"PASCAL VOC, {images} and {labels}: no image has a label"
        if split:
            said += (
                f"; the list {split}.txt has {len(names)} names, of which {len(image_files)} are "
                f"images and {len(label_files)} labels"
            )
        raise PriorError(said)
    if absent:
        # Neither side has them; either will do to tell of them.
        unpaired = Unpaired(unpaired.images, tuple(sorted({*unpaired.labels, *absent})))
    return Found(pairs, unpaired, _palette(root, check), "ids", {}), split


def _label_folder(root: Path, split: str) -> Path | None:
    names: tuple[str, ...] = (_LABELS, _LABELME_LABELS, _MORE_LABELS)
    if split.endswith("aug"):
        names = (_MORE_LABELS, *names)
    # Older releases of labelme have arrays in the first folder, and pictures in the second.
    if (root / _LABELME_LABELS).is_dir():
        names = (_LABELME_LABELS, *names)
    return next((root / name for name in names if (root / name).is_dir()), None)


def _listed(path: Path, check: Check | None) -> set[str]:
    if check:
        check(path.name, str(path))
    lines = read_text(path, "list").splitlines()
    # A second column says whether an object is in the image.
    return {line.split()[0] for line in lines if line.strip()}


def _palette(root: Path, check: Check | None) -> Palette:
    path = root / _NAMES
    if not path.is_file():
        return get_palette("pascal_voc")
    if check:
        check(_NAMES, str(path))
    names = [line.strip() for line in read_text(path, "class names").splitlines()]
    rows = [Row(f"line {i}", i, name, None) for i, name in enumerate(names) if name]
    rows.append(Row("what is ignored", _IGNORED, "", None, ignored=True))
    try:
        palette, _ = palette_of(root.resolve().name, Listed(rows), _NAMES)
    except PriorError:
        raise
    except ValueError as error:
        raise PriorError(f"{path}: {error}") from error
    return palette


def _missing(root: Path) -> PriorError:
    absent = [] if (root / _IMAGES).is_dir() else [_IMAGES]
    if _label_folder(root, "") is None:
        absent.append(_LABELS)
    said = f"PASCAL VOC: {root} has no folder {', and no folder '.join(absent)}"
    if meant := near(root, lambda folder: bool(voc_splits(folder))):
        return PriorError(f"{said}. The dataset's folders are in {meant}: give that as root")
    return PriorError(f"{said}; {holds(root)}. Give the folder with the files of {_SOURCE}")
