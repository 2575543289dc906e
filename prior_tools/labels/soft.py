"""Soft label edges: what share of each latent cell each class has, by area."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import PriorError
from ..whole_numbers import two_sides
from .ids import check_integers

# Classes that are told of a cell. Under cells of 8 pixels a fifth has no area to speak of.
MOST_CLASSES = 4


@dataclass(frozen=True)
class SoftLabels:
    """The classes of each cell with their shares of its area, largest first.

    Attributes:
        ids: int64 [..., MOST_CLASSES, h, w], -1 where the area is unknown.
        shares: float32 of the same shape, which sum to 1 at each cell; 0 where a cell has fewer
            classes.

    >>> SoftLabels(torch.tensor([[[3]], [[8]]]), torch.tensor([[[0.75]], [[0.25]]])).ids.shape
    torch.Size([2, 1, 1])
    """

    ids: Tensor
    shares: Tensor


def soft_labels(labels: Tensor, grid: tuple[int, int]) -> SoftLabels:
    """The shares of a label map's classes on the latent grid.

    Args:
        labels: integer ids [H, W], -1 = unknown, which is told as a class of its own.
        grid: (h, w) in latent cells, fewer or more than pixels.

    Raises PriorError for labels of another shape or type.

    >>> soft = soft_labels(torch.tensor([[3, 0, 8, 8], [0, 0, 8, 8]]), (1, 2))
    >>> soft.ids[:2, 0], soft.shares[:2, 0]
    (tensor([[ 0,  8],
            [ 3, -1]]), tensor([[0.7500, 1.0000],
            [0.2500, 0.0000]]))
    """
    if labels.ndim != 2 or 0 in labels.shape:
        raise PriorError(f"labels have shape {tuple(labels.shape)}; expected [H, W]")
    check_integers(labels)
    height, width = two_sides(grid, "grid", "(h, w) in latent cells")
    labels = labels.to("cpu").to(torch.int64)
    rows, columns = (_overlaps(old, new) for old, new in zip(labels.shape, grid, strict=True))
    ids = torch.full((MOST_CLASSES, height, width), -1)
    shares = torch.zeros(MOST_CLASSES, height, width)
    # Class by class into the least of the places so far, so that memory does not grow with them.
    for class_id in labels.unique().tolist():
        share = rows @ (labels == class_id).float() @ columns.T
        least, place = shares.min(0, keepdim=True)
        larger = share > least
        ids.scatter_(0, place, torch.where(larger, class_id, ids.gather(0, place)))
        shares.scatter_(0, place, torch.where(larger, share, least))
    shares, order = shares.sort(dim=0, descending=True, stable=True)
    return SoftLabels(ids.gather(0, order), shares / shares.sum(0, keepdim=True))


def _overlaps(old: int, new: int) -> Tensor:
    """float32 [new, old]: the part of each new cell that lies in each old one; rows sum to 1."""
    edge = torch.arange(new + 1, dtype=torch.float64)[:, None] * old / new
    cell = torch.arange(old, dtype=torch.float64)
    covered = torch.minimum(edge[1:], cell + 1) - torch.maximum(edge[:-1], cell)
    return (covered.clamp(min=0) * new / old).float()
