"""Odd substructures: other things that a segmentation net sees deep inside large regions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Pixels from the edge of a region on which nothing is counted: there a net errs on real images too.
DEPTH = 4


def astray(predicted: Tensor, labels: Tensor, large: Sequence[int]) -> Tensor:
    """How many pixels inside the regions of large classes are seen as another class, of how many.

    Args:
        predicted, labels: class ids int64 [N, H, W].
        large: ids of the classes whose regions count, each eroded by DEPTH pixels. The picture's
            own edge is no edge of a region.

    Returns int64 [N, 2].
    """
    inside = torch.zeros_like(labels, dtype=torch.bool)
    for class_id in large:
        others = (labels != class_id).float().unsqueeze(1)
        inside |= F.max_pool2d(others, 2 * DEPTH + 1, 1, DEPTH).squeeze(1) == 0
    wrong = inside & (predicted != labels)
    return torch.stack([wrong.sum((1, 2)), inside.sum((1, 2))], 1)


def share_astray(counts: Tensor) -> Tensor:
    """The share [...] of counts [..., 2] that is seen as something else; NaN where none is."""
    wrong, inside = counts.double().unbind(-1)
    return wrong / inside
