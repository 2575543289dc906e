"""Label maps on their way to the latent grid: ids are picked, never interpolated."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import PriorError
from ..whole_numbers import two_sides
from .ids import MAX_CLASS_ID, check_integers

# Pixels of label maps that are brought to the grid at once.
_PART = 2**18

LABEL_METHODS = ("majority", "nearest")

# How an image and its label map are brought to a size: "stretch" changes the aspect ratio, "crop"
# cuts off what lies outside `crop_box`.
RESIZE_POLICIES = ("stretch", "crop")


def check_label_method(method: str) -> None:
    """Raise PriorError for a name that is none of LABEL_METHODS."""
    if method not in LABEL_METHODS:
        raise PriorError(f"label_method is {method!r}; expected one of {', '.join(LABEL_METHODS)}")


def resize_labels(labels: Tensor, grid: tuple[int, int], method: str = "majority") -> Tensor:
    """Class ids on another grid.

    Args:
        labels: integer ids [H, W] or [N, H, W], -1 = unknown.
        grid: (h, w) in latent cells.
        method: "majority" takes the id of most of the pixels whose centres lie in the cell (of
            equally frequent ids the lowest known one; an upscaled cell without a pixel centre
            takes the nearest). "nearest" takes the pixel at each cell's upper left corner, as the
            published toolkit does.

    Returns:
        int64 ids [h, w] or [N, h, w].

    Raises PriorError for ids outside -1..MAX_CLASS_ID, and for other types, shapes and methods.

    >>> ids = torch.tensor([[3, 0, 8, 8], [0, 0, 8, 8]])
    >>> resize_labels(ids, (1, 2))
    tensor([[0, 8]])
    >>> resize_labels(ids, (1, 2), "nearest")
    tensor([[3, 8]])
    """
    if labels.ndim not in (2, 3) or 0 in labels.shape:
        raise PriorError(f"labels have shape {tuple(labels.shape)}; expected [H, W] or [N, H, W]")
    check_integers(labels)
    check_label_method(method)
    height, width = two_sides(grid, "grid", "(h, w) in latent cells")
    ids = labels.to("cpu").to(torch.int64)
    low, high = (int(i) for i in ids.aminmax())
    if low < -1 or high > MAX_CLASS_ID:
        raise PriorError(
            f"labels hold class ids from {low} to {high}; expected 0..{MAX_CLASS_ID}, -1 = unknown"
        )
    if method == "nearest":
        rows = torch.arange(height) * ids.shape[-2] // height
        columns = torch.arange(width) * ids.shape[-1] // width
        return ids[..., rows[:, None], columns]
    voted = _majority(ids.view(-1, *ids.shape[-2:]), (height, width))
    return voted.view(*ids.shape[:-2], height, width)


def fit_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Put labels through the geometry that a ControlNet puts its hint through.

    ComfyUI crops the hint (see `crop_box`) and resizes it with "nearest-exact"; a prior that does
    otherwise disagrees with the ControlNet along every border.

    Args:
        labels: class ids [..., H, W].
        size: (width, height) in pixels of the image that is made.

    Returns:
        [..., height, width].

    Raises PriorError for labels without a pixel, and for another size.

    >>> fit_labels(torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]]), size=(2, 2))
    tensor([[1, 2],
            [5, 6]])
    """
    width, height = size = two_sides(size, "size", "(width, height) in pixels")
    if labels.ndim < 2 or 0 in labels.shape[-2:]:
        raise PriorError(f"labels have shape {tuple(labels.shape)}; expected [..., H, W]")
    old_height, old_width = labels.shape[-2:]
    if (old_width, old_height) == (width, height):
        return labels
    left, top, right, bottom = crop_box((old_width, old_height), size)
    cropped = labels[..., top:bottom, left:right]
    # Asked of torch in two dimensions, as ComfyUI asks it: where a centre falls between two pixels
    # its float32 arithmetic decides, and that of one side depends on the other.
    at = torch.meshgrid(*(torch.arange(float(n)) for n in cropped.shape[-2:]), indexing="ij")
    resized = interpolate(torch.stack(at)[None], size=(height, width), mode="nearest-exact")
    rows, columns = resized[0].long()
    return cropped[..., rows, columns]


def crop_box(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the centred part with the target's aspect ratio.

    As ComfyUI crops a ControlNet's hint, to the pixel: it cuts as much from one side as from the
    other, so that the part may be a pixel too wide or too narrow. Its arithmetic is taken over as
    it is, since the rounding decides. At least a pixel is left, where ComfyUI fails.

    Both are (width, height) in pixels.
    """
    width, height = size
    aspect, target_aspect = width / height, target[0] / target[1]
    x = y = 0
    if aspect > target_aspect:
        x = round((width - width * (target_aspect / aspect)) / 2)
    elif aspect < target_aspect:
        y = round((height - height * (aspect / target_aspect)) / 2)
    x, y = min(x, (width - 1) // 2), min(y, (height - 1) // 2)
    return x, y, width - x, height - y


def _centres(old: int, new: int) -> Tensor:
    """Source index under the centre of each of `new` cells."""
    return (2 * torch.arange(new) + 1) * old // (2 * new)


def _majority(ids: Tensor, grid: tuple[int, int]) -> Tensor:
    """[N, H, W] to [N, h, w]; see `resize_labels`."""
    height, width = grid
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
    first = (torch.arange(images) * height * width)[:, None, None]
    kinds = len(present)
    counts = torch.zeros(images * height * width * kinds, dtype=torch.int64)
    # Some rows at a time: all that is in between takes forty bytes a pixel.
    rows = max(1, _PART // (images * old_width))
    for start in range(0, old_height, rows):
        part = slice(start, start + rows)
        cell = first + row[part, None] * width + column
        ballots = cell * kinds + rank[ids[:, part] - low]
        counts += torch.bincount(ballots.flatten(), minlength=len(counts))
    votes = counts.view(-1, kinds)
    # One key orders by votes, then by rank, so that equal votes always fall the same way.
    best = (votes * kinds + torch.arange(kinds - 1, -1, -1)).argmax(1)
    winner = present[best].view(images, height, width)
    if old_height >= height and old_width >= width:
        return winner
    nearest = ids[:, _centres(old_height, height)[:, None], _centres(old_width, width)]
    return torch.where(votes.sum(1).view_as(winner) > 0, winner, nearest)
