"""Folders of well-known datasets, as their own archives unpack them.

Cityscapes (Cordts et al., CVPR 2016), ADE20K and its scene parsing benchmark (Zhou et al., CVPR
2017), COCO-Stuff (Caesar et al., CVPR 2018), COCO panoptic (Kirillov et al., CVPR 2019), Mapillary
Vistas (Neuhold et al., ICCV 2017), BDD100K (Yu et al., CVPR 2020), KITTI's semantic benchmark
(Alhaija et al., IJCV 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import PriorError
from .folder_contents import holds, near, subfolders
from .pairs import Check


@dataclass(frozen=True)
class Sides:
    """The two folders of a split.

    check: is called for each folder, see `visible_files`.
    """

    root: Path
    split: str
    images: Path
    labels: Path
    check: Check | None


@dataclass(frozen=True)
class Tree:
    """A dataset's folders.

    Attributes:
        title: what a person calls the dataset.
        images, labels: folders of each side below the root, "{split}" for the split's; the first
            that is there is taken.
        splits: what a person may call a split -> its folders, of which the first with both sides
            is taken.
        refused: splits that exist but cannot be used -> why.
        source: where the files come from, for errors.
        without: a folder that must not be there, "{split}" for the split's: it is of another
            dataset in the same folders.
    """

    title: str
    images: tuple[str, ...]
    labels: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]
    refused: Mapping[str, str]
    source: str
    without: str = ""

    def sides(self, root: Path, split: str) -> tuple[Path | None, Path | None]:
        """Folders of the images and of the labels of a split; None for one that is missing."""
        if self.without and (root / self.without.format(split=split)).is_dir():
            return None, None
        images, labels = (
            next((folder for way in side if (folder := _folder(root, way, split)).is_dir()), None)
            for side in (self.images, self.labels)
        )
        return images, labels

    def present(self, root: Path) -> list[str]:
        """Folder names of the splits of which `root` has both sides."""
        folders = dict.fromkeys(name for names in self.splits.values() for name in names)
        return [name for name in folders if None not in self.sides(root, name)]

    def find(self, root: Path, split: str, check: Check | None) -> Sides:
        """The folders of a split; PriorError says what was looked for and what is there."""
        if split in self.refused:
            raise PriorError(
                f"split {split!r} of {self.title} cannot be used: {self.refused[split]}; choose "
                f"{' or '.join(self._usual())}"
            )
        if split not in self.splits:
            present = self.present(root)
            raise PriorError(
                f"{self.title} has no split {split!r}; expected {' or '.join(self.splits)}"
                + (f"; in {root} there is {', '.join(present)}" if present else "")
            )
        names = self.splits[split]
        folder = next((name for name in names if None not in self.sides(root, name)), names[0])
        images, labels = self.sides(root, folder)
        if images is None or labels is None:
            raise self._missing(root, folder)
        for side in (images, labels):
            if check:
                check(str(side.relative_to(root)), str(side))
        return Sides(root, folder, images, labels, check)

    def _usual(self) -> list[str]:
        return [name for name in ("train", "val") if name in self.splits]

    def _wanted(self, side: tuple[str, ...], split: str) -> str:
        """The places where one side of a split may lie, for a text."""
        return " or ".join(way.format(split=split) for way in side)

    def _missing(self, root: Path, split: str) -> PriorError:
        """What to say of a split that `root` does not have both sides of."""
        images, labels = self.sides(root, split)
        absent = [
            self._wanted(ways, split)
            for found, ways in ((images, self.images), (labels, self.labels))
            if found is None
        ]
        absent = list(dict.fromkeys(absent))
        said = f"{self.title}: {root} has no folder {', and no folder '.join(absent)}"
        other = self.without.format(split=split)
        if other and (root / other).is_dir():
            said = f"{self.title}: {root} has a folder {other}, which it has not"
        if present := self.present(root):
            return PriorError(
                f"{said}; complete splits: {', '.join(present)}. Choose one of these, or get the "
                f"rest: {self.source}"
            )
        if meant := near(root, lambda folder: bool(self.present(folder))):
            return PriorError(f"{said}. The dataset's folders are in {meant}: give that as root")
        # The archives of images and labels, each unpacked into a folder of its own.
        around = [root, *(root / name for name in subfolders(root))]
        with_images, with_labels = (
            next((folder for folder in around if self.sides(folder, split)[side]), None)
            for side in (0, 1)
        )
        if with_images and with_labels:
            return PriorError(
                f"{said}. The images' folder is in {with_images}, the labels' in {with_labels}: "
                f"move both into {root}"
            )
        return PriorError(f"{said}; {holds(root)}. Give the folder with the files of {self.source}")


def _folder(root: Path, way: str, split: str) -> Path:
    return root / way.format(split=split)


_PLAIN = {"train": ("train",), "val": ("val",)}
_LONG = {
    "train": ("training",),
    "val": ("validation",),
    "training": ("training",),
    "validation": ("validation",),
}
# What other tools write in COCO's form has no year.
_COCO = {
    "train": ("train2017", "train"),
    "val": ("val2017", "val"),
    "train2017": ("train2017",),
    "val2017": ("val2017",),
}
_NOT_PUBLISHED = "its labels are not published"
_COCO_IMAGES = "train2017.zip and val2017.zip unpacked into images"

TREES: Mapping[str, Tree] = {
    "cityscapes": Tree(
        title="Cityscapes",
        images=("leftImg8bit/{split}",),
        labels=("gtFine/{split}",),
        splits=_PLAIN,
        refused={
            "test": "its classes are not published, its label files are placeholders",
            "train_extra": "it has coarse labels only (gtCoarse), which are not read",
        },
        source="leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, unpacked into one folder",
    ),
    "ade20k": Tree(
        title="ADE20K's scene parsing benchmark",
        images=("images/{split}",),
        labels=("annotations/{split}",),
        splits=_LONG,
        refused={"test": _NOT_PUBLISHED},
        source="ADEChallengeData2016.zip, the scene parsing benchmark of 150 classes",
    ),
    "ade20k-full": Tree(
        title="ADE20K in full",
        images=("images/ADE/{split}", "images/{split}"),
        labels=("images/ADE/{split}", "images/{split}"),
        splits=_LONG,
        refused={"test": _NOT_PUBLISHED},
        source="ADE20K_2021_17_01.zip or ADE20K_2016_07_26.zip, the full dataset with *_seg.png "
        "beside its images",
        without="annotations/{split}",
    ),
    "coco-stuff": Tree(
        title="COCO-Stuff",
        images=("images/{split}", "{split}"),
        labels=(
            "annotations/{split}",
            "stuffthingmaps/{split}",
            "stuffthingmaps_trainval2017/{split}",
        ),
        splits=_COCO,
        refused=dict.fromkeys(("test", "test2017", "unlabeled2017"), "it has no pixel maps"),
        source=f"{_COCO_IMAGES}, and stuffthingmaps_trainval2017.zip unpacked into annotations",
    ),
    "coco-panoptic": Tree(
        title="COCO panoptic",
        images=("images/{split}", "{split}"),
        labels=("annotations/panoptic_{split}", "panoptic_{split}"),
        splits=_COCO,
        refused=dict.fromkeys(("test", "test2017", "unlabeled2017"), _NOT_PUBLISHED),
        source=f"{_COCO_IMAGES}, and panoptic_annotations_trainval2017.zip, with the archives in "
        "it unpacked as well",
    ),
    "mapillary-vistas": Tree(
        title="Mapillary Vistas 1.2",
        images=("{split}/images",),
        labels=("{split}/v1.2/labels", "{split}/labels"),
        splits=_LONG,
        refused=dict.fromkeys(("test", "testing"), _NOT_PUBLISHED),
        source="Mapillary Vistas, with its labels of version 1.2",
    ),
    "mapillary-vistas-v2": Tree(
        title="Mapillary Vistas 2.0",
        images=("{split}/images",),
        labels=("{split}/v2.0/labels",),
        splits=_LONG,
        refused=dict.fromkeys(("test", "testing"), _NOT_PUBLISHED),
        source="Mapillary Vistas, with its labels of version 2.0",
    ),
    "bdd100k": Tree(
        title="BDD100K",
        images=("images/10k/{split}", "seg/images/{split}"),
        labels=("labels/sem_seg/masks/{split}", "seg/labels/{split}"),
        splits=_PLAIN,
        refused={"test": _NOT_PUBLISHED},
        source="BDD100K's 10K images and its semantic segmentation, unpacked into one folder",
    ),
    "kitti": Tree(
        title="KITTI's semantic benchmark",
        images=("{split}/image_2",),
        labels=("{split}/semantic",),
        splits={"train": ("training",), "training": ("training",)},
        refused={
            **dict.fromkeys(("test", "testing"), _NOT_PUBLISHED),
            **dict.fromkeys(("val", "validation"), "there is none; all labels are in training"),
        },
        source="data_semantics.zip",
    ),
}
