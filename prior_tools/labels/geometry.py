"""Label maps on their way to the latent grid: ids are picked, never interpolated."""

import torch
from torch import Tensor

from ..errors import PriorError

LABEL_METHODS = ("majority", "nearest")

# How an image and its label map are brought to a size: "stretch" changes the aspect ratio, "crop"
# cuts off what lies outside `crop_box`.
RESIZE_POLICIES = ("stretch", "crop")


def resize_labels(labels: Tensor, grid: tuple[int, int], method: str = "majority") -> Tensor:
    """Class ids on another grid.

    Args:
        labels: integer ids [H, W] or [N, H, W], -1 = unknown.
        grid: (h, w).
        method: "majority" takes the id of most of the pixels whose centres lie in the cell (of
            equally frequent ids the lowest known one; an upscaled cell without a pixel centre
            takes the nearest). "nearest" takes the pixel at each cell's upper left corner, as the
            published toolkit does.

    Returns:
        int64 ids [h, w] or [N, h, w].
    """
    if labels.ndim not in (2, 3) or 0 in labels.shape:
        raise PriorError(f"labels have shape {tuple(labels.shape)}; expected [H, W] or [N, H, W]")
    if method not in LABEL_METHODS:
        raise PriorError(f"label method is {method!r}; expected one of {', '.join(LABEL_METHODS)}")
    height, width = (int(side) for side in grid)
    if height < 1 or width < 1:
        raise PriorError(f"grid is {(height, width)}; expected at least one cell each way")
    ids = labels.to("cpu").to(torch.int64)
    if method == "nearest":
        rows = torch.arange(height) * ids.shape[-2] // height
        columns = torch.arange(width) * ids.shape[-1] // width
        return ids[..., rows[:, None], columns]
    return _majority(ids.view(-1, *ids.shape[-2:]), height, width).view(
        *ids.shape[:-2], height, width
    )


def fit_labels(labels: Tensor, height: int, width: int) -> Tensor:
    """Put labels [N, H, W] through the geometry that a ControlNet puts its hint through.

    The host crops the hint to the target's aspect ratio about the centre and resizes it with
    "nearest-exact"; a prior that does otherwise disagrees with the ControlNet along every border.
    """
    old_height, old_width = labels.shape[-2:]
    if (old_height, old_width) == (height, width):
        return labels
    old_aspect, aspect = old_width / old_height, width / height
    x = round((old_width - old_width * (aspect / old_aspect)) / 2) if old_aspect > aspect else 0
    y = round((old_height - old_height * (old_aspect / aspect)) / 2) if old_aspect < aspect else 0
    cropped = labels[..., y : old_height - y, x : old_width - x]
    rows = _centres(cropped.shape[-2], height)
    columns = _centres(cropped.shape[-1], width)
    return cropped[..., rows[:, None], columns]


def crop_box(width: int, height: int, target_width: int, target_height: int) -> tuple[int, ...]:
    """(left, top, right, bottom) of the largest centred part with the target's aspect ratio."""
    if width * target_height > target_width * height:
        part = max(1, round(height * target_width / target_height))
        left = (width - part) // 2
        return left, 0, left + part, height
    part = max(1, round(width * target_height / target_width))
    top = (height - part) // 2
    return 0, top, width, top + part


def _centres(old: int, new: int) -> Tensor:
    """Source index under the centre of each of `new` cells."""
    return (2 * torch.arange(new) + 1) * old // (2 * new)


def _majority(ids: Tensor, height: int, width: int) -> Tensor:
    """[N, H, W] to [N, height, width]; see `resize_labels`."""
    images, old_height, old_width = ids.shape
    # Dense ranks of the ids that occur; -1 comes last, so that a known id wins a draw.
    low = int(ids.min())
    occurs = torch.bincount((ids - low).flatten())
    present = occurs.nonzero().flatten() + low
    present = torch.cat([present[present >= 0], present[present < 0]])
    rank = torch.zeros(len(occurs), dtype=torch.int64)
    rank[present - low] = torch.arange(len(present))

    row = (2 * torch.arange(old_height) + 1) * height // (2 * old_height)
    column = (2 * torch.arange(old_width) + 1) * width // (2 * old_width)
    cell = row[:, None] * width + column
    cell = cell + (torch.arange(images) * height * width)[:, None, None]
    kinds = len(present)
    votes = torch.bincount(
        (cell * kinds + rank[ids - low]).flatten(), minlength=images * height * width * kinds
    ).view(-1, kinds)
    # One key orders by votes, then by rank, so that equal votes always fall the same way.
    best = (votes * kinds + torch.arange(kinds - 1, -1, -1)).argmax(1)
    winner = present[best].view(images, height, width)
    if old_height >= height and old_width >= width:
        return winner
    nearest = ids[:, _centres(old_height, height)[:, None], _centres(old_width, width)]
    return torch.where(votes.sum(1).view_as(winner) > 0, winner, nearest)
