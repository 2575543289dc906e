"""A label map of masks, each of one class, one above the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import PriorError, listing
from .class_matching import class_named, described, is_spelling_of
from .palettes import Palette
from .reading import WORTH_SAYING

# A mask covers a pixel from this value on.
COVERS = 0.5

# The class of no class, in words.
NONE = ("none", "-1")


@dataclass(frozen=True)
class MaskClass:
    """Whose pixels a mask holds.

    Attributes:
        line: of the text that names it, from 1 on.
        text: that line.
        class_id: -1 for none.
    """

    line: int
    text: str
    class_id: int


@dataclass(frozen=True)
class Layers:
    """What became of the masks.

    Attributes:
        classes: of each mask, from the lowest to the uppermost.
        covered: pixels that each covers.
        visible: of them, those that no later mask covers.
        largest: the largest value of each.
        rest: fraction of pixels in no mask, where that leaves them unknown; else 0.
    """

    classes: tuple[MaskClass, ...]
    covered: tuple[int, ...]
    visible: tuple[int, ...]
    largest: tuple[float, ...]
    rest: float


def classes_of_masks(text: str, palette: Palette) -> list[MaskClass]:
    """One class a line, by id, by name or by another dataset's name for it; `none` for no class.

    Empty lines, and those that begin with #, name no class. Raises PriorError with the line.
    """
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1)]
    return [
        MaskClass(i, line, _class(line, palette, f"line {i} of classes"))
        for i, line in lines
        if line and not line.startswith("#")
    ]


def label_image_of_masks(
    masks: Tensor, classes: str, palette: Palette, background: str = "none"
) -> tuple[Tensor, Layers]:
    """A label image in a palette's colors: each pixel is of the last mask that covers it.

    Args:
        masks: [N, H, W], also [N, 1, H, W] or [H, W], in 0..1; a pixel counts from 0.5 on.
        classes: N classes, one a line, see `classes_of_masks`.
        background: the class of what is in no mask; none or an empty text for unknown.

    Returns:
        float32 [1, H, W, 3] in 0..1, and what became of the masks.

    Raises PriorError for masks of another shape, another number of classes than of masks, and
    names and ids that the palette does not have.
    """
    named = classes_of_masks(classes, palette)
    rest_class = _class(background.strip() or NONE[0], palette, "background")
    layers = _layers(masks)
    _check_number(len(layers), named)
    height, width = layers.shape[1:]

    # The number of the last mask that covers a pixel; the one after all masks is the background.
    top = torch.full((height, width), len(layers))
    covered, largest = [], []
    # One at a time: a segmenter gives a hundred masks.
    for index, layer in enumerate(layers):
        values = layer.detach().to("cpu")
        inside = values >= COVERS
        top[inside] = index
        covered.append(int(inside.sum()))
        largest.append(float(values.max()))
    visible = torch.bincount(top.flatten(), minlength=len(layers) + 1).tolist()
    ids = torch.tensor([*(each.class_id for each in named), rest_class])[top]
    return palette.paint(ids)[None].float() / 255, Layers(
        tuple(named),
        tuple(covered),
        tuple(visible[:-1]),
        tuple(largest),
        visible[-1] / (height * width) if rest_class < 0 else 0.0,
    )


def mask_findings(layers: Layers, palette: Palette) -> list[tuple[str, str]]:
    """(kind, text) of all that is worth saying of what became of masks."""
    several = list(enumerate(zip(layers.classes, layers.covered, layers.visible, strict=True)))
    total = len(several)
    said = []
    other = [
        f"{each.text!r} on line {each.line} is {described(each.class_id, palette)}"
        for each in layers.classes
        if each.class_id >= 0 and not is_spelling_of(each.text, each.class_id, palette)
    ]
    if other:
        said.append(
            (
                "names of other datasets",
                f"palette '{palette.name}' has other names for some classes: {listing(other, 8)}",
            )
        )
    empty = [
        f"{_mask(i, each)}, at most {layers.largest[i]:.3f}"
        for i, (each, covered, _) in several
        if not covered
    ]
    if empty:
        said.append(
            (
                "empty masks",
                f"{len(empty)} of {total} masks have no pixel of {COVERS} or more: "
                f"{listing(empty, 8)}",
            )
        )
    hidden = [_mask(i, each) for i, (each, covered, visible) in several if covered and not visible]
    if hidden:
        said.append(
            (
                "masks below others",
                f"{len(hidden)} of {total} masks lie wholly below later ones; masks of what should "
                f"be above come later: {listing(hidden, 8)}",
            )
        )
    if layers.rest > WORTH_SAYING:
        said.append(
            (
                "pixels in no mask",
                f"{layers.rest:.1%} of the pixels are in no mask and are unknown. Name their "
                "class in background",
            )
        )
    return said


def _class(text: str, palette: Palette, place: str) -> int:
    if text.lower() in NONE:
        return -1
    try:
        return class_named(text, palette, same_thing=True)
    except PriorError as error:
        hint = ". Name one class a line" if "," in text or ";" in text else ""
        raise PriorError(f"{place}: {error}{hint}") from None


def _layers(masks: Tensor) -> Tensor:
    """[N, H, W] of what passes for masks between nodes."""
    shape = tuple(masks.shape)
    if masks.ndim == 2:
        masks = masks[None]
    elif masks.ndim == 4 and shape[1] == 1:
        masks = masks[:, 0]
    if masks.ndim != 3 or 0 in masks.shape[1:]:
        raise PriorError(f"masks are of shape {shape}; expected [N, H, W]")
    return masks


def _check_number(masks: int, classes: list[MaskClass]) -> None:
    if masks == len(classes):
        return
    named = listing([f"{each.text[:20]} (line {each.line})" for each in classes], 8)
    hint = (
        ". Several masks are joined to a batch first; this node takes a list of masks one by one"
        if masks == 1 and classes
        else ""
    )
    raise PriorError(
        f"{masks} masks are given and {len(classes)} classes{named and ': '}{named}; expected one "
        f"line of classes for each mask{hint}"
    )


def _mask(index: int, of: MaskClass) -> str:
    return f"mask {index + 1} ({of.text[:20]}, line {of.line})"
