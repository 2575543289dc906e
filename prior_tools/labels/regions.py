"""Connected regions of one class in a label map."""

from __future__ import annotations

import torch
from torch import Tensor


def connected_regions(ids: Tensor) -> Tensor:
    """Numbers int64 of the regions of equal ids [..., h, w] that touch side by side.

    They count from 0 in the order of the regions' first cells, row by row, and on from map to map.
    Cells that only touch at a corner are of two regions.

    >>> from prior_tools.labels.regions import connected_regions
    >>> connected_regions(torch.tensor([[3, 3, 0], [0, 3, 0]]))
    tensor([[0, 0, 1],
            [2, 0, 1]])
    """
    cells = torch.arange(ids.numel()).view(ids.shape)
    across, down = ids[..., 1:] == ids[..., :-1], ids[..., 1:, :] == ids[..., :-1, :]
    pairs = torch.cat(
        [
            torch.stack([cells[..., :-1][across], cells[..., 1:][across]]),
            torch.stack([cells[..., :-1, :][down], cells[..., 1:, :][down]]),
        ],
        1,
    )
    # Each cell points to an earlier one of its region, in the end to the first: where two roots
    # meet the later one is hung on the earlier. A root stays only if it is earlier than all that it
    # meets, so that in two rounds at least half of those that meet any are gone.
    root = cells.flatten()
    while True:
        ends = root[pairs]
        ends = ends[:, ends[0] != ends[1]]
        if not ends.numel():
            break
        root.scatter_reduce_(0, ends[0].maximum(ends[1]), ends[0].minimum(ends[1]), "amin")
        while not torch.equal(root, above := root[root]):
            root = above
    numbers: Tensor = root.unique(return_inverse=True)[1]
    return numbers.view(ids.shape)
