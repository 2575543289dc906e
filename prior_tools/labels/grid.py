"""From a label image to class ids on the latent grid, the way that its ControlNet sees it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import PriorError
from ..whole_numbers import check_downscale_factor
from .geometry import fit_labels, resize_labels
from .palettes import Palette, get_palette
from .reading import LabelRules, read_label_images


def labels_on_grid(
    label_image: Tensor | np.ndarray,
    palette: Palette | str,
    downscale_factor: int = 8,
    method: str = "majority",
) -> Tensor:
    """Class ids of label images on latent cells: decode, check, fit, resize.

    Args:
        label_image: [N, H, W, 3], floats in 0..1 or integers in 0..255. An image of it will have
            W x H pixels, each side rounded down to whole cells.
        palette: which color means which class, or its name.
        downscale_factor: pixels per latent cell; that of the prior's metadata.
        method: see `resize_labels`; the label_method of the prior's metadata.

    Returns:
        int64 [N, H // downscale_factor, W // downscale_factor], -1 = unknown.

    Raises PriorError for an image smaller than a cell or not of this palette, another factor than
    1..128, or another method.

    >>> labels_on_grid(label_image, "camvid")  # sky, road and a car
    tensor([[[0, 0, 0, 0],
             [8, 3, 3, 3]]])
    """
    palette = get_palette(palette)
    rules = LabelRules(palette, palette.ignore_ids)
    ids = read_label_images(label_image, rules, "the label image").ids
    return ids_on_grid(ids, downscale_factor, method)


def ids_on_grid(ids: Tensor, downscale_factor: int = 8, method: str = "majority") -> Tensor:
    """Class ids [N, H, W] on latent cells; see `labels_on_grid`."""
    factor = check_downscale_factor(downscale_factor)
    height, width = _cells((ids.shape[2], ids.shape[1]), factor)
    ids = fit_labels(ids, (width * factor, height * factor))
    return resize_labels(ids, (height, width), method)


def no_ids_on_grid(label_image: Tensor, downscale_factor: int = 8) -> Tensor:
    """-1 [N, h, w] where `ids_on_grid` has class ids: of images [N, H, W, ...] the size alone."""
    images, height, width = label_image.shape[:3]
    return torch.full((images, *_cells((width, height), downscale_factor)), -1)


def _cells(size: tuple[int, int], downscale_factor: int) -> tuple[int, int]:
    """(h, w): whole cells in `size` (width, height) in pixels; PriorError if there is none."""
    factor = check_downscale_factor(downscale_factor)
    width, height = (side // factor for side in size)
    if height < 1 or width < 1:
        raise PriorError(
            f"the label image has {size[0]}x{size[1]} pixels; expected at least {factor}x{factor}"
        )
    return height, width
