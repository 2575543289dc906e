"""Where well-known datasets keep their images and label maps, and what their label files hold.

Folders as the datasets' own archives unpack them: Cityscapes (Cordts et al., CVPR 2016), the scene
parsing benchmark of ADE20K (Zhou et al., CVPR 2017), COCO-Stuff (Caesar et al., CVPR 2018). Files
are listed, not opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import PriorError, listing
from ..labels.id_maps import CITYSCAPES_TRAIN_IDS
from ..labels.palettes import Palette, get_palette
from .dataset import PairDataset
from .names import path_in
from .pairs import Pair, Unpaired, add_file, find_pairs, visible_files

LAYOUTS = ("cityscapes", "ade20k", "coco-stuff", "pairs")


@dataclass(frozen=True)
class Layout:
    """One split of a dataset, as found on disk.

    Attributes:
        name: one of LAYOUTS.
        split: name of the split's folder, such as "train2017"; "" if there is none.
        pairs: the images that have a label, in the order of their names.
        unpaired: names of images without a label and of labels without an image.
        palette: the dataset's own, a default; see `with_palette`.
        ignore_ids: class ids that label files may hold and that statistics leave out.
        label_kind: what label files hold, in words: "trainIds", "labelIds", "colors", "ids",
            "ids or colors".
        id_map: see `PairDataset`.

    >>> layout = find_dataset("pairs", folder, split="").with_palette("camvid")
    >>> layout.dataset(size=(32, 16)).name(0)
    'a'
    """

    name: str
    split: str
    pairs: list[Pair]
    unpaired: Unpaired
    palette: Palette
    ignore_ids: tuple[int, ...]
    label_kind: str
    id_map: Mapping[int, int] | None

    def with_palette(self, palette: Palette | str) -> Layout:
        """The same files read by another palette, with the ids that this one ignores.

        >>> layout.with_palette("cityscapes").ignore_ids
        (255,)
        """
        palette = get_palette(palette)
        return replace(self, palette=palette, ignore_ids=palette.ignore_ids)

    def with_id_map(self, id_map: Mapping[int, int]) -> Layout:
        """The same files, which hold ids that this map makes the palette's; see `PairDataset`.

        >>> layout.with_id_map({1: 0, 2: 1}).label_kind
        'ids'
        """
        return replace(self, id_map=id_map, label_kind="ids")

    def dataset(self, size: tuple[int, int], resize: str = "stretch") -> PairDataset:
        """The pairs, read at `size` (width, height) in pixels; see `PairDataset`.

        >>> layout.dataset((16, 16), resize="crop")[0].image.shape
        torch.Size([16, 16, 3])
        """
        return PairDataset(self.pairs, size, self.palette, resize, self.ignore_ids, self.id_map)


@dataclass(frozen=True)
class _Tree:
    """A dataset's folders: files lie in root/<side>/<split's folder>.

    Attributes:
        title: what a person calls the dataset.
        images, labels: folders of each side, "" = root itself; the first with the split is taken.
        splits: what a person may call a split -> its folder.
        refused: splits that exist but cannot be used -> why.
        palette: name of the default palette.
        source: where the files come from, for errors.
    """

    title: str
    images: tuple[str, ...]
    labels: tuple[str, ...]
    splits: Mapping[str, str]
    refused: Mapping[str, str]
    palette: str
    source: str

    def sides(self, root: Path, split: str) -> tuple[Path | None, Path | None]:
        """Folders of the images and of the labels of a split; None for one that is missing."""
        images, labels = (
            next((folder for name in side if (folder := root / name / split).is_dir()), None)
            for side in (self.images, self.labels)
        )
        return images, labels

    def present(self, root: Path) -> list[str]:
        """Folder names of the splits of which `root` has both sides."""
        folders = dict.fromkeys(self.splits.values())
        return [name for name in folders if None not in self.sides(root, name)]

    def wanted(self, side: tuple[str, ...], split: str) -> str:
        """The places where one side of a split may lie, for a text."""
        return " or ".join(f"{name}/{split}" if name else split for name in side)


_TREES: Mapping[str, _Tree] = {
    "cityscapes": _Tree(
        title="Cityscapes",
        images=("leftImg8bit",),
        labels=("gtFine",),
        splits={"train": "train", "val": "val"},
        refused={
            "test": "its classes are not published, its label files are placeholders",
            "train_extra": "it has coarse labels only (gtCoarse), which are not read",
        },
        palette="cityscapes",
        source="leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, unpacked into one folder",
    ),
    "ade20k": _Tree(
        title="ADE20K",
        images=("images",),
        labels=("annotations",),
        splits={
            "train": "training",
            "val": "validation",
            "training": "training",
            "validation": "validation",
        },
        refused={"test": "its labels are not published"},
        palette="ade20k",
        source="ADEChallengeData2016.zip, the scene parsing benchmark (the full ADE20K, with "
        "*_seg.png beside its images, has other classes)",
    ),
    "coco-stuff": _Tree(
        title="COCO-Stuff",
        images=("images", ""),
        labels=("annotations", "stuffthingmaps", "stuffthingmaps_trainval2017"),
        splits={
            "train": "train2017",
            "val": "val2017",
            "train2017": "train2017",
            "val2017": "val2017",
        },
        refused=dict.fromkeys(("test", "test2017", "unlabeled2017"), "it has no pixel maps"),
        palette="coco_stuff",
        source="train2017.zip and val2017.zip unpacked into images, and "
        "stuffthingmaps_trainval2017.zip unpacked into annotations",
    ),
}

# Endings of Cityscapes' label files, best first: (ending, what they hold, id map).
_CITYSCAPES_LABELS: tuple[tuple[str, str, Mapping[int, int] | None], ...] = (
    ("_gtFine_labelTrainIds.png", "trainIds", {}),
    ("_gtFine_labelIds.png", "labelIds", CITYSCAPES_TRAIN_IDS),
    # Colors cannot tell pole groups from poles; the others agree with the ids.
    ("_gtFine_color.png", "colors", None),
)
_CITYSCAPES_IMAGE = "_leftImg8bit.png"


def find_dataset(
    layout: str,
    root: Path | str,
    split: str,
    *,
    images: str | None = None,
    labels: str | None = None,
) -> Layout:
    """List the images and label maps of one split of a dataset.

    Cityscapes: of trainIds, labelIds and colors the kind that labels most images is taken, of
    equal ones the first. COCO-Stuff: the maps that other tools derive and put beside the dataset's
    own (*_labelTrainIds.png) are passed over.

    Args:
        layout: one of LAYOUTS.
        root: the folder that holds the dataset's folders.
        split: "train" or "val", or the name of the split's folder. With "pairs" any subfolder of
            the two folders; if neither has subfolders for splits, or `split` is "", they are read
            whole.
        images: with "pairs" the folder of images, relative to `root`; "images" if None.
        labels: with "pairs" the folder of label maps; "labels" if None.

    Returns:
        Files without a partner are listed in `unpaired`, not an error.

    Raises:
        PriorError: a folder or the split is missing, or no image has a label; the text says what
            was looked for, what is there and what to do.

    >>> layout = find_dataset("pairs", folder, split="")
    >>> [pair.name for pair in layout.pairs], layout.label_kind
    (['a', 'b'], 'ids or colors')
    """
    if layout not in LAYOUTS:
        raise PriorError(f"no layout is named {layout!r}; expected one of {', '.join(LAYOUTS)}")
    root = Path(root)
    try:
        _check_root(root)
        if layout == "pairs":
            return _find_two_folders(root, split, images or "images", labels or "labels")
        if images is not None or labels is not None:
            raise PriorError(
                f"images and labels were given, but {layout} has folders of its own; leave them "
                "out, or choose layout pairs"
            )
        return _find_tree(layout, root, split)
    except OSError as error:
        raise PriorError(f"{root} cannot be listed: {error}") from error


def _find_tree(layout: str, root: Path, split: str) -> Layout:
    tree = _TREES[layout]
    if split in tree.refused:
        raise PriorError(
            f"split {split!r} of {tree.title} cannot be used: {tree.refused[split]}; choose "
            "train or val"
        )
    if split not in tree.splits:
        present = tree.present(root)
        raise PriorError(
            f"{tree.title} has no split {split!r}; expected {' or '.join(tree.splits)}"
            + (f"; in {root} there is {', '.join(present)}" if present else "")
        )
    folder = tree.splits[split]
    images, labels = tree.sides(root, folder)
    if images is None or labels is None:
        raise _missing(tree, root, folder)
    kind = "ids"
    id_map: Mapping[int, int] | None = {}
    try:
        if layout == "cityscapes":
            pairs, unpaired, kind, id_map = _pair_cityscapes(images, labels)
        else:
            pairs, unpaired = find_pairs(images, labels)
    except PriorError as error:
        raise PriorError(f"{tree.title}, {images} and {labels}: {error}") from error
    if layout == "coco-stuff":
        own = tuple(name for name in unpaired.labels if "_labelTrainIds" not in name)
        unpaired = replace(unpaired, labels=own)
    palette = get_palette(tree.palette)
    return Layout(layout, folder, pairs, unpaired, palette, palette.ignore_ids, kind, id_map)


def _find_two_folders(root: Path, split: str, images: str, labels: str) -> Layout:
    sides = (path_in(root, images), path_in(root, labels))
    absent = [str(side) for side in sides if not side.is_dir()]
    if absent:
        near = _near(root, lambda folder: all((folder / s).is_dir() for s in (images, labels)))
        raise PriorError(
            f"there is no folder {' and no folder '.join(absent)}. "
            + (
                f"Both are in {near}: give that as root"
                if near
                else f"{_holds(root)}. Name the folder of images and the folder of label maps, "
                "relative to root"
            )
        )
    inner = [path_in(side, split) for side in sides]
    there = [side.is_dir() for side in inner]
    if split and any(there) and not all(there):
        raise PriorError(
            f"{inner[there.index(True)]} is there, {inner[there.index(False)]} is not: "
            f"{_holds(sides[there.index(False)])}. Both folders need the same subfolders, or none"
        )
    if split and not any(there):
        # Reading the whole of two folders that hold splits would mix train with val.
        starts = ("train", "val", "test")
        splits = [name for name in _subfolders(sides[0]) if name.lower().startswith(starts)]
        if splits:
            raise PriorError(
                f"{sides[0]} has no split {split!r}; there is {listing(splits)}. Choose one of "
                "these, or give no split to read all"
            )
    used = bool(split) and all(there)
    try:
        pairs, unpaired = find_pairs(*(inner if used else sides))
    except PriorError as error:
        raise PriorError(f"{sides[0]} and {sides[1]}: {error}") from error
    palette = get_palette("grey_ids")
    return Layout(
        name="pairs",
        split=split if used else "",
        pairs=pairs,
        unpaired=unpaired,
        palette=palette,
        ignore_ids=palette.ignore_ids,
        label_kind="ids or colors",
        id_map=None,
    )


def _pair_cityscapes(
    images: Path, labels: Path
) -> tuple[list[Pair], Unpaired, str, Mapping[int, int] | None]:
    """(pairs, unpaired, what the labels hold, id map); names are city/city_sequence_frame."""
    image_files: dict[str, str] = {}
    for inside, path in visible_files(images):
        if inside.endswith(_CITYSCAPES_IMAGE):
            add_file(image_files, inside.removesuffix(_CITYSCAPES_IMAGE), path, "image")
    label_files: dict[str, dict[str, str]] = {ending: {} for ending, _, _ in _CITYSCAPES_LABELS}
    for inside, path in visible_files(labels):
        for ending, files in label_files.items():
            if inside.endswith(ending):
                add_file(files, inside.removesuffix(ending), path, "label")
    # Making trainIds is a step of its own that may have stopped half way.
    ending, kind, id_map = max(
        _CITYSCAPES_LABELS, key=lambda choice: len(label_files[choice[0]].keys() & image_files)
    )
    files = label_files[ending]
    both = sorted(files.keys() & image_files)
    if not both:
        counts = ", ".join(f"{len(files)} *{ending}" for ending, files in label_files.items())
        raise PriorError(
            f"no image has a label; there are {len(image_files)} *{_CITYSCAPES_IMAGE}, {counts}. "
            f"A pair is <city>/NAME{_CITYSCAPES_IMAGE} and <city>/NAME{_CITYSCAPES_LABELS[0][0]}, "
            f"NAME{_CITYSCAPES_LABELS[1][0]} or NAME{_CITYSCAPES_LABELS[2][0]}"
        )
    unpaired = Unpaired(
        tuple(sorted(image_files.keys() - files.keys())),
        tuple(sorted(files.keys() - image_files.keys())),
    )
    pairs = [Pair(name, Path(image_files[name]), Path(files[name])) for name in both]
    return pairs, unpaired, kind, id_map


def _missing(tree: _Tree, root: Path, split: str) -> PriorError:
    """What to say of a split that `root` does not have both sides of."""
    images, labels = tree.sides(root, split)
    absent = [
        tree.wanted(names, split)
        for found, names in ((images, tree.images), (labels, tree.labels))
        if found is None
    ]
    said = f"{tree.title}: {root} has no folder {', and no folder '.join(absent)}"
    if present := tree.present(root):
        return PriorError(
            f"{said}; complete splits: {', '.join(present)}. Choose one of these, or get the rest: "
            f"{tree.source}"
        )
    if near := _near(root, lambda folder: bool(tree.present(folder))):
        return PriorError(f"{said}. The dataset's folders are in {near}: give that as root")
    # The archives of images and labels, each unpacked into a folder of its own.
    around = [root, *(root / name for name in _subfolders(root))]
    with_images, with_labels = (
        next((folder for folder in around if tree.sides(folder, split)[side]), None)
        for side in (0, 1)
    )
    if with_images and with_labels:
        return PriorError(
            f"{said}. The images' folder is in {with_images}, the labels' in {with_labels}: move "
            f"both into {root}"
        )
    return PriorError(f"{said}; {_holds(root)}. Give the folder with the files of {tree.source}")


def _check_root(root: Path) -> None:
    if root.is_file():
        raise PriorError(f"{root} is a file; unpack it if it is an archive, and give the folder")
    if not root.is_dir():
        raise PriorError(f"the folder {root} does not exist; give the folder of the dataset")


def _near(root: Path, fits: Callable[[Path], bool]) -> Path | None:
    """The folder that was meant, if it is one level below `root` or up to two above."""
    whole = root.resolve()
    around = [root / name for name in _subfolders(root)] + list(whole.parents[:2])
    return next((folder for folder in around if fits(folder)), None)


def _holds(folder: Path) -> str:
    """What is in a folder, in words."""
    names = [f"{name}/" if is_dir else name for name, is_dir in _entries(folder)]
    return f"{folder} holds {listing(names)}" if names else f"{folder} is empty"


def _subfolders(folder: Path) -> list[str]:
    return [name for name, is_dir in _entries(folder) if is_dir]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link in a circle: for those to tell who come to read it.
        return False


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a folder), sorted, without hidden ones and macOS's copies."""
    with os.scandir(folder) as entries:
        found = sorted((entry.name, _is_folder(entry)) for entry in entries)
    return ((name, is_dir) for name, is_dir in found if name[0] != "." and name != "__MACOSX")
