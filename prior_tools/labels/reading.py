"""Class ids out of label pictures: from colors, or from values that are ids already.

Whether a picture holds ids or colors is told by its form, by its color table and by its values, the
same way for every reader, so that a file means the same to a build, a generation, an evaluation and
the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import PriorError, listing
from .color_tables import color_table, is_grey_reordered, is_made_visible
from .colors import check_matched, decode_colors
from .forms import LabelForm
from .id_maps import are_label_ids
from .ids import MAX_CLASS_ID
from .palette_colors import Color
from .palettes import Palette
from .tally import EITHER, IDS_IN_CHANNEL, IDS_IN_GREY, KEPT, LOSSY, SHIFTED, LabelTally

Picture = TypeVar("Picture")

# What a picture holds. GREY_COLORS: colors, all of them grey. BOTH: grey that is ids of the palette
# as well as colors of it, with different classes.
IDS, COLORS, GREY_COLORS, BOTH = "ids", "colors", "grey colors", "ids or colors"

# Unknown pixels up to this fraction say nothing: borders of resized maps are always a little off.
WORTH_SAYING = 0.01

# Levels that a host decodes from grey files lie at value/256 instead of value/255; what of that may
# be lost to rounding, in levels, and what no rounding gives.
_SHIFT_TOLERANCE, _SHIFTED = 0.03, 0.05


@dataclass(frozen=True)
class LabelRules:
    """How label pictures are read.

    Attributes:
        palette: which color means which class, and which ids there are.
        ignore_ids: class ids that label files may hold beside the palette's.
        id_map: value in the file -> class id, for files that are known to hold ids: color tables
            are then not looked at. A value that it lacks is an id already, so {} renames nothing.
            None tells ids from colors file by file.
        grey_is_ids: what a grey picture is of which both can be said; the other files of a folder
            tell, see `survey`.
        form: reads the values out of files that are no pictures of ids or colors.
    """

    palette: Palette
    ignore_ids: tuple[int, ...] = ()
    id_map: Mapping[int, int] | None = None
    grey_is_ids: bool = False
    form: LabelForm | None = None

    def takes(self, value: int) -> bool:
        """Whether a value in a file can be a class id."""
        class_id = (self.id_map or {}).get(value, value)
        return class_id == -1 or class_id in self.ignore_ids or self.palette.holds(class_id)


@dataclass(frozen=True)
class LabelReading:
    """A label picture's class ids.

    Attributes:
        ids: int64 [H, W], -1 = unknown.
        tally: what was found.
        kind: what the picture holds: IDS, COLORS, GREY_COLORS or BOTH.
    """

    ids: Tensor
    tally: LabelTally
    kind: str


def read_label_picture(
    picture: Image.Image, name: str, rules: LabelRules, lossy: bool = False
) -> LabelReading:
    """The class ids of a label file.

    Args:
        picture: the file, opened and upright.
        name: what to call it in a message, such as "label map a.png".
        rules: how to read it.
        lossy: whether its format changes values.

    Raises PriorError if the file holds ids that the palette lacks, ids that are lossy, floats that
    are no ids, or colors of which most are not the palette's.
    """
    if _has_either_table(picture, rules):
        if rules.grey_is_ids:
            reading = _of_values(values_of(picture, name), name, rules)
        else:
            reading = _of_colors(np.asarray(picture.convert("RGB")), name, rules)
        return replace(_noted(reading, EITHER), kind=BOTH)
    if _holds_values(picture, rules):
        return _of_values(values_of(picture, name), name, rules, lossy)
    return read_levels(np.asarray(picture.convert("RGB")), name, rules, lossy)


def read_values(values: np.ndarray, name: str, rules: LabelRules) -> LabelReading:
    """The class ids of values int64 [H, W] that are ids; see `read_label_picture`."""
    return _of_values(values, name, rules)


def read_levels(
    levels: np.ndarray, name: str, rules: LabelRules, lossy: bool = False
) -> LabelReading:
    """The class ids of a picture of three channels, uint8 [H, W, 3]; see `read_label_picture`."""
    plane, note = _plane(levels)
    kind = _kind(levels, plane, note, rules)
    if plane is not None and (kind == IDS or (kind == BOTH and rules.grey_is_ids)):
        reading = _of_values(plane.astype(np.int64), name, rules, lossy)
        return replace(_noted(reading, EITHER if kind == BOTH else note), kind=kind)
    if rules.id_map:
        raise PriorError(
            f"{name} holds colors, but an id map was given, which is for files of ids; "
            "leave it out, or give the files of ids"
        )
    reading = replace(_of_colors(levels, name, rules), kind=kind)
    reading = _noted(reading, LOSSY) if lossy else reading
    return _noted(reading, EITHER) if kind == BOTH else reading


def read_label_images(image: Tensor | np.ndarray, rules: LabelRules, what: str) -> LabelReading:
    """The class ids of label images as the graph has them.

    Those of a batch are read together, see `read_together`.

    Args:
        image: [N, H, W, 3], floats in 0..1 or integers in 0..255. Further channels are ignored.
        what: what to call them in a message.

    Returns:
        A reading with ids int64 [N, H, W].

    Raises PriorError as `read_label_picture` does, and for another shape.
    """
    pixels = torch.as_tensor(image).detach().to("cpu")
    if pixels.ndim != 4 or pixels.shape[-1] < 3 or 0 in pixels.shape:
        raise PriorError(f"label images have shape {tuple(pixels.shape)}; expected [N, H, W, 3]")

    def read(each: Tensor, rules: LabelRules) -> LabelReading:
        levels, shifted = _levels(each[..., :3])
        reading = read_levels(levels, what, rules)
        return _noted(reading, SHIFTED) if shifted else reading

    return read_together(list(pixels), read, rules)


def read_together(
    pictures: Sequence[Picture],
    read: Callable[[Picture, LabelRules], LabelReading],
    rules: LabelRules,
) -> LabelReading:
    """A reading with ids int64 [N, H, W] of pictures of one size.

    They decide for each other whether grey is ids or colors, as files of a folder do; where none
    tells, it is colors.
    """
    readings = [read(picture, rules) for picture in pictures]
    kinds = {reading.kind for reading in readings}
    if BOTH in kinds and IDS in kinds and COLORS not in kinds:
        rules = replace(rules, grey_is_ids=True)
        readings = [read(picture, rules) for picture in pictures]
    ids = torch.stack([reading.ids for reading in readings])
    tally = sum((reading.tally for reading in readings), LabelTally())
    return LabelReading(ids, tally, kinds.pop() if len(kinds) == 1 else BOTH)


def _levels(image: Tensor) -> tuple[np.ndarray, bool]:
    """uint8 [H, W, 3] of an image, and whether they were shifted as hosts do to grey files."""
    if not image.is_floating_point():
        return image.clamp(0, 255).to(torch.uint8).numpy(), False
    # Half precision has steps of an eighth of a level.
    loss = 256 * torch.finfo(image.dtype).eps / 2
    exact = image.nan_to_num().double() * 255
    levels = exact.round()
    if (exact - levels).abs().max() > max(_SHIFTED, loss):
        grey = bool((exact == exact[..., :1]).all())
        meant = (exact * (256 / 255)).round()
        if grey and (exact * (256 / 255) - meant).abs().max() < _SHIFT_TOLERANCE + loss:
            return meant.clamp(0, 255).to(torch.uint8).numpy(), True
    return levels.clamp(0, 255).to(torch.uint8).numpy(), False


def _plane(levels: np.ndarray) -> tuple[np.ndarray | None, str]:
    """The one channel that could hold ids, and how it holds them; None if there are colors."""
    red, green, blue = (levels[..., i] for i in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return red, IDS_IN_GREY
    lit = [channel for channel in (red, green, blue) if channel.any()]
    return (lit[0], IDS_IN_CHANNEL) if len(lit) == 1 else (None, "")


def _kind(levels: np.ndarray, plane: np.ndarray | None, note: str, rules: LabelRules) -> str:
    if plane is None:
        return COLORS
    if rules.palette.is_grey or rules.id_map is not None:
        return IDS
    values = np.bincount(plane.ravel(), minlength=256).nonzero()[0].tolist()
    where = range(3) if note == IDS_IN_GREY else [i for i in range(3) if levels[..., i].any()]
    by_color = rules.palette.by_color
    shown: list[Color] = [
        (value * (0 in where), value * (1 in where), value * (2 in where)) for value in values
    ]
    are_colors = all(color in by_color for color in shown)
    grey = GREY_COLORS if note == IDS_IN_GREY else COLORS
    if not all(rules.takes(value) for value in values):
        return grey
    if not are_colors:
        return IDS
    same = all(by_color[color] == value for color, value in zip(shown, values, strict=True))
    return grey if same else BOTH


def is_of_one_channel(picture: Image.Image) -> bool:
    """Whether it holds one number a pixel, which no table makes a color of."""
    return picture.mode in ("1", "L", "LA", "La", "I", "F") or picture.mode.startswith("I;")


def _has_either_table(picture: Image.Image, rules: LabelRules) -> bool:
    """Whether a color table may make ids visible, or be that of a color image made small.

    Such as black alone, or with PASCAL VOC's next colors: of nothing but those that occur, which
    are colors of the palette, but not those of the ids.
    """
    palette = rules.palette
    if rules.id_map is not None or palette.is_grey or not is_made_visible(picture):
        return False
    values, colors = color_table(picture)
    if len(picture.getpalette("RGB") or []) != 3 * len(values):
        return False
    classes = [palette.by_color.get(color) for color in colors]
    return None not in classes and classes != values and all(map(rules.takes, values))


def _holds_values(picture: Image.Image, rules: LabelRules) -> bool:
    """Whether pixel values are ids rather than shades of colors."""
    if picture.mode != "P":
        return is_of_one_channel(picture)
    palette = rules.palette
    if is_grey_reordered(picture):
        return False
    if rules.id_map is not None or palette.is_grey or is_made_visible(picture):
        return True
    # A file with a color table may be a color image made small, or ids made visible by colors
    # of some kind, such as the dataset's own; else it is a color image if most of its colors are
    # the palette's. Black is a color of nearly every palette and table.
    values, colors = color_table(picture)
    if colors == [palette.colors.get(value) for value in values]:
        return True
    telling = [color for color in colors if color != (0, 0, 0)]
    known = sum(color in palette.by_color for color in telling)
    return 2 * known <= len(telling)


def values_of(picture: Image.Image, name: str) -> np.ndarray:
    """int64 [H, W] of a file of one channel; PriorError if they are no whole numbers."""
    if picture.mode in ("LA", "La"):
        picture = picture.getchannel("L")
    values = np.array(picture)
    if picture.mode == "F":
        whole = np.abs(values) <= 2**24
        if not (whole.all() and (values == np.round(values)).all()):
            raise PriorError(
                f"{name} holds floats that are no whole numbers; expected class ids, or colors of "
                "8 bits a channel"
            )
    return values.astype(np.int64)


def lossy_ids(name: str) -> str:
    """Why a lossy file of ids is refused."""
    return (
        f"{name} is a lossy picture (JPEG or lossy WebP) of class ids, which its compression "
        "changes into others; save label maps as PNG"
    )


def _of_values(
    values: np.ndarray, name: str, rules: LabelRules, lossy: bool = False
) -> LabelReading:
    if lossy:
        raise PriorError(lossy_ids(name))
    ids = torch.from_numpy(_renamed(values, rules.id_map))
    low, high = (int(i) for i in ids.aminmax())
    if low < -1 or high > MAX_CLASS_ID:
        strange = sorted({i for i in (low, high) if not -1 <= i <= MAX_CLASS_ID})
        raise PriorError(
            f"{name} holds class ids {listing([str(i) for i in strange])}; expected "
            f"0..{MAX_CLASS_ID}, -1 = unknown. Is it a label map?"
        )
    tally = LabelTally.of_ids(ids)
    # Out-of-range ids are a wrong palette or wrong files, not something to guess about.
    wrong = sorted(
        i for i in tally.classes if i not in rules.ignore_ids and not rules.palette.holds(i)
    )
    if wrong:
        raise PriorError(_wrong_ids(wrong, name, rules.palette))
    return LabelReading(ids, tally, IDS)


def _wrong_ids(wrong: list[int], name: str, palette: Palette) -> str:
    known = sorted(palette.colors) if not palette.is_grey else [0, 255]
    said = (
        f"{name} holds class ids {listing([str(i) for i in wrong])}, which palette "
        f"'{palette.name}' ({known[0]}..{known[-1]}) does not have"
    )
    if are_label_ids(wrong, palette.name):
        return (
            f"{said}: they are Cityscapes' labelIds, not its trainIds. Rename them with --id-map "
            "cityscapes_labelids_to_trainids, or choose palette cityscapes_label_ids"
        )
    return (
        f"{said}; choose the palette of this dataset, rename the ids with --id-map, or leave them "
        "out with ignore_ids (--ignore-ids)"
    )


def _renamed(values: np.ndarray, id_map: Mapping[int, int] | None) -> np.ndarray:
    """Ids int64 [H, W] of a label file's values int64 [H, W]; see `LabelRules.id_map`."""
    low, high = int(values.min()), int(values.max())
    # What is far outside is no label map, and is refused later, without a huge table here.
    if not id_map or low < -MAX_CLASS_ID or high > MAX_CLASS_ID:
        return values
    table = np.arange(low, high + 1)
    for value, class_id in id_map.items():
        if low <= value <= high:
            table[value - low] = class_id
    renamed: np.ndarray = table[values - low]
    return renamed


def _of_colors(levels: np.ndarray, name: str, rules: LabelRules) -> LabelReading:
    found = decode_colors(torch.from_numpy(np.array(levels)), rules.palette)
    tally = LabelTally.of_ids(found.ids)
    tally.near = found.near
    tally.unknown = found.unknown
    tally.void -= tally.unknown
    tally.colors = Counter(dict(found.unknown_colors.most_common(KEPT)))
    strange = found.unknown + found.far
    if tally.share(strange) > WORTH_SAYING:
        classes = sum(n for i, n in tally.classes.items() if i not in rules.ignore_ids)
        matched = max(0, classes - found.far)
        check_matched(strange, matched, found.strange_colors, rules.palette, name, tally.pixels)
    return LabelReading(found.ids, tally, COLORS)


def _noted(reading: LabelReading, note: str) -> LabelReading:
    reading.tally.notes[note] += 1
    return reading
