"""Where a dataset lies, or a folder of label maps: options that mean the same in every command."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..datasets.class_masks import MASKS
from ..datasets.label_folders import label_maps_in
from ..datasets.layout import Layout
from ..datasets.layouts import LAYOUTS, find_dataset
from ..errors import PriorError
from ..labels.id_maps import get_id_map
from ..labels.reading import LabelRules
from .output import warn
from .palettes import read_palette

# Of options that are left out; it is told from one that is given.
SPLIT = "train"

_PAIRS = "pairs"


def add_dataset(group: argparse._ActionsContainer, other: str = "", what: str = "") -> None:
    """Add --dataset, --root and --split, and what says more of pairs.

    other: a choice of --dataset beside the layouts, where a command has one; what: it is, in words.
    """
    group.add_argument(
        "--dataset",
        choices=(*LAYOUTS, other) if other else LAYOUTS,
        help="how it lies on disk; docs/command_line.md lists them"
        + f"; {other}: {what}" * bool(other),
    )
    group.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="its folder; for pairs and masks the default is this folder",
    )
    group.add_argument("--split", metavar="NAME", help=f"default: {SPLIT}")
    add_places(group, "--root")
    group.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="for pairs: a file of two columns, image and label, relative to --root (default: the "
        "file's folder)",
    )


def add_places(group: argparse._ActionsContainer, root: str) -> None:
    """Add what says where pairs and masks lie in a folder; `root` is the option that names it."""
    group.add_argument(
        "--images-dir", metavar="DIR", help=f"for pairs and masks: images, relative to {root}"
    )
    group.add_argument(
        "--labels-dir", metavar="DIR", help=f"for pairs and masks: labels, relative to {root}"
    )
    group.add_argument(
        "--image-suffix",
        metavar="ENDING",
        help="for pairs whose names are not equal: how those of images end, such as "
        "_leftImg8bit.png; both sides may lie in one folder",
    )
    group.add_argument(
        "--label-suffix",
        metavar="ENDING",
        help="how those of label maps end, such as _gtFine_labelIds.png",
    )


def add_labels(group: argparse._ActionsContainer, what: str) -> None:
    """Add --labels, a folder of label maps, and the options of a dataset in its place.

    what: is done with the label maps, for the help text.
    """
    group.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help=f"label maps {what}; or name a dataset by --dataset, --root and --split",
    )
    add_dataset(group)


def add_generated(group: argparse._ActionsContainer) -> None:
    """Add --generated, a folder of images, and the label maps that they were made of."""
    group.add_argument(
        "--generated",
        type=Path,
        required=True,
        metavar="DIR",
        help="named as their label map, or that and a number: a.png, or a_00.png, a_01.png",
    )
    add_labels(group, "that the images were made of")


def read_layout(args: argparse.Namespace) -> Layout:
    """The dataset that the options name, read by --palette and --id-map if they are given.

    Raises PriorError as `find_dataset` does, and for options that contradict each other.
    """
    dataset = args.dataset or (_PAIRS if args.list else None)
    if dataset is None:
        raise PriorError(f"--dataset is missing; expected one of {', '.join(LAYOUTS)}")
    if args.list and args.split is not None:
        raise PriorError("--split was given with --list, which lists one split; leave one out")
    split = SPLIT if args.split is None else args.split
    return layout_at(args, dataset, _root(args, dataset), split, args.list)


def layout_at(
    args: argparse.Namespace, dataset: str, root: Path, split: str, pair_list: Path | None = None
) -> Layout:
    """A split of a dataset in a folder, with all that the options of `add_places` say of it.

    Raises PriorError as `find_dataset` does.
    """
    layout = find_dataset(
        dataset,
        root,
        split,
        images=args.images_dir,
        labels=args.labels_dir,
        image_suffix=args.image_suffix or "",
        label_suffix=args.label_suffix or "",
        pair_list=pair_list,
        palette=read_palette(args.palette) if args.palette else None,
    )
    if args.id_map is not None:
        layout = layout.with_id_map(get_id_map(args.id_map))
    return layout


@dataclass(frozen=True)
class NamedLabels:
    """Label maps by name, without the images that they are of or with them.

    Attributes:
        labels: name -> label file; the name is a path with "/" and without suffix.
        images: name -> image of a dataset; empty for a folder of label maps.
        rules: how label maps are read; None where nothing says what they hold.
        place: of the files, or of their list.
        dataset: name and split; "" for a folder of label maps.
    """

    labels: Mapping[str, Path]
    images: Mapping[str, Path]
    rules: LabelRules | None
    place: Path
    dataset: str = ""
    folders: tuple[Path, ...] = field(default=())

    @property
    def title(self) -> str:
        """What was named, in words."""
        return f"{self.dataset} in {self.place}" if self.dataset else str(self.place)

    def check_output(self, out: Path) -> None:
        """Raise PriorError for an output folder in which images would be taken for these files."""
        for folder in self.folders:
            if out.resolve().is_relative_to(folder.resolve()):
                raise PriorError(
                    f"--out {out} lies in {folder}, so images would be taken for files of the "
                    "dataset; choose another folder"
                )


def named_labels(args: argparse.Namespace) -> NamedLabels:
    """The label maps of a folder, or of a dataset.

    Rules are those of --palette and --id-map, or of the dataset's own palette. Raises PriorError if
    neither or both are named, and as `read_layout` and `label_maps_in` do.
    """
    if args.labels is None:
        if args.dataset is None and args.list is None:
            raise PriorError(
                "there are no label maps; name their folder by --labels, or a dataset by "
                "--dataset, --root and --split"
            )
        return _of_dataset(args)
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("dataset", "root", "split", "images_dir", "labels_dir", "image_suffix", "list")
        if getattr(args, name) is not None
    ]
    if given:
        raise PriorError(
            f"--labels names a folder of label maps, and {given[0]} is for a dataset; leave one out"
        )
    rules = None
    if args.palette is not None:
        palette = read_palette(args.palette)
        id_map = None if args.id_map is None else get_id_map(args.id_map)
        rules = LabelRules(palette, palette.ignore_ids, id_map)
    elif args.id_map is not None:
        raise PriorError("--id-map needs --palette, of which it makes ids")
    labels = label_maps_in(args.labels, args.label_suffix or "")
    return NamedLabels(labels, {}, rules, args.labels, folders=(args.labels,))


def _of_dataset(args: argparse.Namespace) -> NamedLabels:
    layout = read_layout(args)
    if layout.unpaired:
        warn(f"left out, without a partner: {layout.unpaired}")
    labels = {pair.name: pair.label for pair in layout.pairs}
    images = {pair.name: pair.image for pair in layout.pairs}
    # Of pairs nothing but a palette says what they hold: one that is named, or lies beside them.
    told = layout.name != _PAIRS or args.palette is not None or not layout.palette.is_grey
    listed = bool(args.list)
    return NamedLabels(
        labels,
        images,
        layout.rules if told else None,
        args.list if args.list else _root(args, layout.name),
        f"{layout.name} {layout.split}".strip(),
        () if listed else (_common(images), _common(labels)),
    )


def _common(files: Mapping[str, Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in files.values()]))


def _root(args: argparse.Namespace, dataset: str) -> Path:
    if args.root is not None:
        root: Path = args.root
        return root
    if args.list:
        listed: Path = args.list
        return listed.parent
    if dataset not in (_PAIRS, MASKS):
        raise PriorError(f"--root is missing; give the folder of the {dataset} dataset")
    return Path.cwd()
