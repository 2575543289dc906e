"""Which class of one palette is which of another, by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor

from ..errors import PriorError, listing
from .palettes import Palette
from .reading import LabelRules, read_label_images
from .tally import LabelTally

# Names of one thing in several datasets, spelled as `_plain` does. A class takes the first name of
# its row that the other palette has, so the most general ones come first; a class in several rows
# tries them in order.
_SAME = (
    ("lane marking general", "lane markings drivable"),
    ("road", "service lane", "bike lane", "crosswalk plain", "lane marking crosswalk",
     "lane marking general", "lane markings drivable", "lane markings non drivable",
     "road shoulder", "pothole"),
    ("sidewalk", "pavement", "pedestrian area", "path", "curb", "curb cut"),
    ("building", "building other", "house", "skyscraper"),
    ("wall", "wall other", "wall concrete", "wall brick", "wall stone", "wall panel", "wall tile",
     "wall wood", "structural other"),
    ("fence", "railing", "bannister", "cage", "guard rail", "barrier"),
    ("streetlight", "street light"),
    ("pole", "column pole", "streetlight", "street light", "column", "utility pole", "polegroup"),
    ("traffic sign", "sign", "sign symbol", "traffic sign (front)", "signboard", "stop sign",
     "trade name", "traffic sign (back)"),
    ("signboard", "billboard"),
    ("potted plant", "pottedplant"),
    ("vegetation", "tree", "vegetation misc", "plant other", "plant", "bush", "palm",
     "potted plant", "pottedplant", "leaves", "branch", "flower"),
    ("terrain", "grass", "earth", "ground other", "field", "land", "dirt", "mud", "gravel", "sand"),
    ("sky", "sky other", "clouds", "fog"),
    ("person", "pedestrian", "child"),
    ("rider", "bicyclist", "motorcyclist", "other rider", "person", "pedestrian"),
    ("car", "van", "suv pickup truck"),
    ("truck", "truck bus", "van"),
    ("bus", "truck bus"),
    ("motorcycle", "motorbike", "minibike", "motorcycle scooter"),
    ("train", "on rails"),
    ("airplane", "aeroplane"),
    ("animal", "ground animal"),
    ("railroad", "rail track"),
    ("boat", "ship"),
    ("sofa", "couch"),
    ("tv", "tvmonitor", "television receiver", "monitor", "screen"),
    ("ceiling", "ceiling other", "ceiling tile"),
    ("floor", "floor other", "floor wood", "floor tile", "floor stone", "floor marble"),
    ("cabinet", "cupboard", "wardrobe"),
    ("rug", "carpet", "mat"),
    ("table", "dining table", "diningtable", "coffee table"),
    ("desk", "desk stuff"),
    ("windowpane", "window other"),
    ("blind", "window blind"),
    ("door", "door stuff"),
    ("mirror", "mirror stuff"),
    ("water", "water other", "sea", "river", "lake"),
    ("stairs", "stairway", "step"),
    ("rock", "stone"),
    ("food", "food other"),
    ("oven", "stove"),
    ("clothes", "apparel", "cloth", "textile other"),
    ("trash can", "ashcan"),
    ("bag", "handbag", "backpack", "suitcase"),
)  # fmt: skip


# Of a name that is no class; comparing longer ones takes long, and a message has no room for them.
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Conversion:
    """What became of a label image's classes.

    Attributes:
        classes: class id -> the other palette's class id, of the classes in the image.
        lost: class ids in the image that the other palette has nothing for.
        lost_share: fraction of pixels in them.
        tally: what was found in the image, see `findings`.
    """

    classes: dict[int, int]
    lost: tuple[int, ...]
    lost_share: float
    tally: LabelTally


def matching_classes(
    source: Palette, target: Palette, changes: Mapping[int, int | None] | None = None
) -> dict[int, int]:
    """Class ids of `source` -> those of `target`: of one name, or of names for one thing.

    Names are one whatever their case, and whether spaces, hyphens or underscores part their words.
    Plain grey ids have no names: from or to them a class keeps its id.

    Args:
        changes: what to do otherwise; None for a class that is to have no partner.
    """
    if source.is_grey or target.is_grey:
        ids = range(256) if source.is_grey else source.colors
        found = {i: i for i in ids if target.holds(i)}
    else:
        there = _by_name(target)
        found = {}
        for class_id, name in source.names.items():
            partner = _of_name(name, there)
            if partner is None:
                partner = _of_same_thing(name, there)
            if partner is not None:
                found[class_id] = partner
    for class_id, other in (changes or {}).items():
        found.pop(class_id, None)
        if other is not None:
            found[class_id] = other
    return found


def parse_changes(
    text: str, source: Palette, target: Palette, what: str = "changes"
) -> dict[int, int | None]:
    """`car = truck, 17 = 3, rider = none`: classes by name or id, one a comma or line.

    what: the text is called in errors. Raises PriorError for a class that a palette does not have.
    """
    changes: dict[int, int | None] = {}
    for entry in text.replace("\n", ",").split(","):
        if not entry.strip():
            continue
        old, equals, new = (part.strip() for part in entry.partition("="))
        if not equals or not old or not new:
            raise PriorError(
                f"{what} holds {entry.strip()!r:.200}; expected CLASS = CLASS or = none"
            )
        gone = new.lower() in ("none", "-1")
        changes[class_named(old, source)] = None if gone else class_named(new, target)
    return changes


def convert_label_image(
    image: Tensor,
    source: Palette,
    target: Palette,
    changes: Mapping[int, int | None] | None = None,
) -> tuple[Tensor, Conversion]:
    """A label image in another palette's colors.

    Where there is no class for a pixel it is painted as unknown; see `Palette.paint`.

    Args:
        image: [N, H, W, 3], floats in 0..1, in the colors of `source`, or of its ids.
        changes: see `matching_classes`.

    Returns:
        float32 [N, H, W, 3] in 0..1, and what became of the classes.

    Raises PriorError as `read_label_images` does.
    """
    rules = LabelRules(source, source.ignore_ids)
    reading = read_label_images(image, rules, "the label image")
    ids = reading.ids
    partners = matching_classes(source, target, changes)
    present = [int(i) for i in ids.unique() if i >= 0]
    table = torch.full((max([*present, 0]) + 2,), -1)
    for class_id in present:
        table[class_id] = partners.get(class_id, -1)
    # The last entry, which -1 finds, stays -1.
    converted = table[ids]
    lost = tuple(i for i in present if i not in partners and i not in source.ignore_ids)
    share = torch.isin(ids, torch.tensor(lost, dtype=torch.int64)).double().mean()
    return target.paint(converted).float() / 255, Conversion(
        {i: partners[i] for i in present if i in partners}, lost, float(share), reading.tally
    )


def class_named(text: str, palette: Palette, same_thing: bool = False) -> int:
    """The class of this id, or of this name in any spelling that `matching_classes` knows.

    Args:
        same_thing: whether a name for the same thing in another dataset will do where the palette
            has no class of this name.

    Raises PriorError with the nearest names.
    """
    # More digits are no id, and from 4300 on int() refuses them.
    if text.isdecimal() and len(text) <= 9 and palette.holds(int(text)):
        return int(text)
    there = _by_name(palette)
    found = _of_name(text, there)
    if found is None and same_thing:
        found = _of_same_thing(text, there)
    if found is not None:
        return found
    given = f"palette '{palette.name}' has no class {text[:_LONGEST_NAME]!r}"
    # Its spellings are two for some classes.
    near = get_close_matches(_plain(text[:_LONGEST_NAME]), there, n=10, cutoff=0.5)
    if near:
        classes = [described(i, palette) for i in dict.fromkeys(there[name] for name in near)]
        raise PriorError(f"{given}; the nearest are {', '.join(classes[:5])}")
    known = [described(i, palette) for i in dict.fromkeys(there.values())]
    ids = "0..255" if palette.is_grey else listing([str(i) for i in palette.colors], 20)
    raise PriorError(f"{given}; it has {listing(known, 20) or f'no names, and the ids {ids}'}")


def described(class_id: int, palette: Palette) -> str:
    """A class by its name and id, for a message."""
    return f"{palette.names.get(class_id, 'class')} ({class_id})"


def is_spelling_of(text: str, class_id: int, palette: Palette) -> bool:
    """Whether a text is this class's id or name, and not another dataset's name for it."""
    return text.isdecimal() or _plain(text) == _plain(palette.names[class_id])


def _plain(name: str) -> str:
    folded = name.casefold()
    return " ".join(re.split(r"[\s_-]+", folded)).strip() or folded


def _by_name(palette: Palette) -> dict[str, int]:
    """Name -> class id: in the palette's own spelling first, then in the plain one."""
    named = {i: name for i, name in palette.names.items() if palette.holds(i)}
    there: dict[str, int] = {}
    for spelling in (str.casefold, _plain):
        for class_id, name in named.items():
            there.setdefault(spelling(name), class_id)
    return there


def _of_name(name: str, there: Mapping[str, int]) -> int | None:
    return there.get(name.casefold(), there.get(_plain(name)))


def _of_same_thing(name: str, there: Mapping[str, int]) -> int | None:
    for row in _SAME:
        if _plain(name) in row:
            for other in row:
                if other in there:
                    return there[other]
    return None
