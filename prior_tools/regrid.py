"""Moments on another latent grid."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def resize_moments(mean: Tensor, std: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean and deviation maps [..., C, h, w] brought to `grid`.

    Mean and second moment are interpolated bilinearly (align_corners=False): between two cells
    lies a mixture of both, whose deviation includes the difference of their means.
    """
    if tuple(mean.shape[-2:]) == tuple(grid):
        return mean, std
    # Float64, since the variance is a difference of squares that may both be large.
    first = mean.double()
    second = std.double().square() + first.square()
    both = torch.stack([first, second]).flatten(0, -3)[None]
    both = interpolate(both, size=tuple(grid), mode="bilinear", align_corners=False)
    first, second = both[0].view(2, *mean.shape[:-2], *grid)
    return first.float(), (second - first.square()).clamp(min=0).sqrt().float()
