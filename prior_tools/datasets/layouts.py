"""Where well-known datasets keep their images and label maps, and what their label files hold.

Pictures are listed, not opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import PriorError
from ..labels.id_maps import CITYSCAPES_TRAIN_IDS
from ..labels.palette_files import read_palette_file
from ..labels.palettes import Palette, get_palette
from .ade20k_full import find_ade20k_full
from .cityscapes import find_cityscapes
from .class_lists import check_class_lists
from .class_masks import MASKS, find_class_masks
from .coco_panoptic import find_coco_panoptic
from .folder_contents import check_root, holds
from .layout import Found, Layout
from .pair_lists import find_listed
from .pairs import Check, files_by_name, find_pairs, paired
from .pascal_voc import find_voc, voc_folders
from .trees import TREES, Sides
from .two_folders import Places, find_two_folders

_VOC = "voc"
_PAIRS = "pairs"

LAYOUTS = (*TREES, _VOC, MASKS, _PAIRS)

_VISTAS_CONFIG = "config_v2.0.json"
# The trainIds of BDD100K's first release.
_BDD_ENDING = "_train_id"


def find_dataset(
    layout: str,
    root: Path | str,
    split: str,
    *,
    images: str | None = None,
    labels: str | None = None,
    image_suffix: str = "",
    label_suffix: str = "",
    pair_list: Path | str | None = None,
    palette: Palette | str | None = None,
    check: Check | None = None,
) -> Layout:
    """List the images and label maps of one split of a dataset.

    Cityscapes: of trainIds, labelIds and colors the kind that labels most images is taken, of
    equal ones the first. COCO-Stuff: the maps that other tools derive and put beside the dataset's
    own (*_labelTrainIds.png) are passed over.

    Args:
        layout: one of LAYOUTS.
        root: the folder that holds the dataset's folders.
        split: "train" or "val", or the name of the split's folder or list. With "pairs" and
            "masks" any subfolder of the two folders; if neither has subfolders for splits, or
            `split` is "", they are read whole.
        images: with "pairs" and "masks" the folder of images, relative to `root`; "images" if None.
        labels: with these the folder of label maps; "labels", or "masks", if None.
        image_suffix, label_suffix: with "pairs" how names end, where they are not equal; the two
            folders may then be one.
        pair_list: with "pairs" a file of two columns, image and label; see `find_listed`.
        palette: that label files are read by; None takes the dataset's own. "masks" need one.
        check: see `visible_files`; it is called for all other files that are read as well.

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
    own = None if palette is None else get_palette(palette)
    places = Places(images, labels, image_suffix, label_suffix)
    try:
        _check_given(layout, places, pair_list is not None)
        check_root(root)
        if pair_list is not None:
            found, used = find_listed(Path(pair_list), root, check), ""
        elif layout == _PAIRS:
            found, used = find_two_folders(root, split, places, "labels", check)
        elif layout == MASKS:
            found, used = find_class_masks(root, split, places, own, check)
        elif layout == _VOC:
            found, used = find_voc(root, split, check)
        else:
            found, used = _find_in_tree(layout, root, split, own, check)
        if layout == _PAIRS:
            check_class_lists(found.pairs, check)
    except OSError as error:
        raise PriorError(f"{root} cannot be listed: {error}") from error
    return found.layout(layout, used, own)


def recognised(root: Path) -> list[str]:
    """The layouts of which at least a split is complete in a folder."""
    found = [layout for layout, tree in TREES.items() if tree.present(root)]
    return [*found, _VOC] if voc_folders(root) else found


def layout_of_folders(
    images: Path, labels: Path, palette: Palette, check: Check | None = None
) -> Layout:
    """The pairs of two folders with equal names, as "pairs"; see `find_pairs`."""
    pairs, unpaired = find_pairs(images, labels, check)
    return Found(pairs, unpaired, palette, "ids or colors").layout(_PAIRS, "", None)


def recognise_dataset(
    root: Path, split: str, palette: Palette, check: Check | None = None
) -> Layout:
    """The one dataset in a folder whose classes are named as the palette's.

    Raises PriorError if no dataset, several, or one of other classes is there.
    """
    names = recognised(root)
    if not names:
        raise PriorError(
            f"no folder of labels is named, and {holds(root)}: no dataset that is known by its "
            "folders. Name the folder of images and the folder of labels, or that of a dataset: "
            f"{', '.join((*TREES, _VOC))}"
        )
    found, errors = [], []
    for name in names:
        try:
            layout = find_dataset(name, root, split, check=check)
        except PriorError as error:
            errors.append(error)
            continue
        counts = layout.palette.names == palette.names
        if counts or (
            layout.id_map is CITYSCAPES_TRAIN_IDS
            and palette.names == get_palette("cityscapes_label_ids").names
        ):
            found.append(layout.with_palette(palette))
        else:
            errors.append(
                PriorError(
                    f"{root} holds {name}, whose classes are those of palette "
                    f"'{layout.palette.name}', and not of '{palette.name}'; choose a palette with "
                    "its classes"
                )
            )
    if len(found) == 1:
        return found[0]
    if found:
        raise PriorError(
            f"{root} holds {' and '.join(layout.name for layout in found)}; name the folder of "
            "images and the folder of labels of one"
        )
    raise errors[0] if len(errors) == 1 else PriorError(". ".join(map(str, errors)))


def _check_given(layout: str, places: Places, listed: bool) -> None:
    """Raise PriorError for options that another layout is for."""
    if layout == _PAIRS:
        if listed and places != Places():
            raise PriorError(
                "a list of pairs was given, and folders or endings as well; expected one of them"
            )
        return
    if layout != MASKS and (places.images is not None or places.labels is not None):
        raise PriorError(
            f"images and labels were given, but {layout} has folders of its own; leave them out, "
            "or choose layout pairs"
        )
    if places.by_suffix or listed:
        raise PriorError(
            f"{'a list of pairs' if listed else 'endings of names'} came with layout {layout}, "
            "which has names of its own; leave that out, or choose layout pairs"
        )


def _find_in_tree(
    layout: str, root: Path, split: str, palette: Palette | None, check: Check | None
) -> tuple[Found, str]:
    tree = TREES[layout]
    try:
        sides = tree.find(root, split, check)
    except PriorError as error:
        others = [other for other in recognised(root) if other != layout]
        if not others or tree.present(root):
            raise
        raise PriorError(
            f"{str(error).rstrip('.')}. What lies there has the folders of layout "
            f"{' and '.join(others)}"
        ) from None
    try:
        return _FINDERS[layout](sides, palette), sides.split
    except PriorError as error:
        raise PriorError(f"{tree.title}, {sides.images} and {sides.labels}: {error}") from error


def _plain(palette: str, id_map: Mapping[int, int] | None = None) -> _Finder:
    """Files of equal names that hold ids."""

    def find(sides: Sides, _palette: Palette | None) -> Found:
        pairs, unpaired = find_pairs(sides.images, sides.labels, sides.check)
        kind = "ids" if id_map is None else "labelIds"
        return Found(pairs, unpaired, get_palette(palette), kind, id_map or {})

    return find


def _coco_stuff(sides: Sides, _palette: Palette | None) -> Found:
    found = _plain("coco_stuff")(sides, None)
    own = tuple(name for name in found.unpaired.labels if "_labelTrainIds" not in name)
    return replace(found, unpaired=replace(found.unpaired, labels=own))


def _vistas_2(sides: Sides, palette: Palette | None) -> Found:
    if palette is None:
        path = sides.root / _VISTAS_CONFIG
        if not path.is_file():
            raise PriorError(
                f"there is no {_VISTAS_CONFIG} in {sides.root}, which lists the classes; put it "
                "there, or give it as palette"
            )
        if sides.check:
            sides.check(_VISTAS_CONFIG, str(path))
        palette, _ = read_palette_file(path)
    found = _plain("grey_ids")(sides, None)
    return replace(found, palette=palette)


def _bdd100k(sides: Sides, _palette: Palette | None) -> Found:
    images = files_by_name(sides.images, "image", sides.check)
    labels = files_by_name(sides.labels, "label", sides.check)
    labels = {name.removesuffix(_BDD_ENDING): path for name, path in labels.items()}
    pairs, unpaired = paired(images, labels)
    if not pairs:
        raise PriorError(f"no image has a label of the same name; {unpaired}")
    return Found(pairs, unpaired, get_palette("bdd100k"), "ids", {})


_Finder = Callable[[Sides, Palette | None], Found]

_FINDERS: Mapping[str, _Finder] = {
    "cityscapes": lambda sides, _: find_cityscapes(sides),
    "ade20k": _plain("ade20k"),
    "ade20k-full": lambda sides, _: find_ade20k_full(sides),
    "coco-stuff": _coco_stuff,
    "coco-panoptic": lambda sides, _: find_coco_panoptic(sides),
    "mapillary-vistas": _plain("mapillary_vistas"),
    "mapillary-vistas-v2": _vistas_2,
    "bdd100k": _bdd100k,
    "kitti": _plain("cityscapes", CITYSCAPES_TRAIN_IDS),
}
