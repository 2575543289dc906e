"""A label map at its image's size, by the geometry that `evaluate` measures by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..datasets.label_files import read_label_file
from ..errors import PriorError
from ..evaluation.files import GeneratedImage
from ..labels.geometry import crop_box, fit_labels
from ..labels.reading import LabelRules


@dataclass(frozen=True)
class FittedLabels:
    """Class ids of an image.

    Attributes:
        ids: int64 [H, W] of the palette, -1 = none.
        disagreeing: class id -> pixels that are -1 because a model sees another class there.
    """

    ids: Tensor
    disagreeing: Counter[int]


def fitted(
    image: GeneratedImage,
    size: tuple[int, int],
    rules: LabelRules,
    seen: Tensor | None = None,
    ignored: Sequence[int] = (),
) -> FittedLabels:
    """The label map of an image, cut and brought to its size as a ControlNet's hint is.

    Args:
        image: see `GeneratedImage`.
        size: (width, height) of it.
        rules: how its label map is read.
        seen: class ids [h, w] that a model sees in it, see `Scores.seen`; None compares nothing.
        ignored: classes whose pixels are not compared.

    Raises PriorError as `read_label_file` does, and if `seen` is of another label map.
    """
    ids = read_label_file(image.label, rules).ids
    if image.mirrored:
        ids = ids.flip(-1)
    whole = fit_labels(ids, size)
    if seen is None:
        return FittedLabels(whole, Counter())
    left, top, right, bottom = crop_box((ids.shape[-1], ids.shape[-2]), size)
    part = ids[top:bottom, left:right]
    if part.shape != seen.shape:
        raise PriorError(
            f"what the model sees in {image.image.name} has {seen.shape[-1]}x{seen.shape[-2]} "
            f"pixels, its label map {part.shape[-1]}x{part.shape[-2]}; evaluate anew"
        )
    counts = (part >= 0) & ~torch.isin(part, torch.tensor(ignored, dtype=torch.int64))
    wrong = torch.zeros_like(ids, dtype=torch.bool)
    wrong[top:bottom, left:right] = counts & (part != seen)
    away = fit_labels(wrong, size)
    classes, pixels = whole[away].unique(return_counts=True)
    disagreeing = Counter(dict(zip(classes.tolist(), pixels.tolist(), strict=True)))
    return FittedLabels(torch.where(away, -1, whole), disagreeing)
