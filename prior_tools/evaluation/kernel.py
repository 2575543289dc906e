"""KID: the squared maximum mean discrepancy of features (Bińkowski et al. 2018, 1801.01401).

    mean over i ≠ j of k(aᵢ, aⱼ) + the same of b - 2 · mean of k(aᵢ, bⱼ),  k(x, y) = (x·y / D + 1)³

This estimate has no bias at any number of images, unlike FID; it may fall below zero. It is taken
over all images at once: the usual mean over random subsets has the same expectation and adds noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import PriorError
from .frechet import check_features

# Rows of the kernel matrix at once: with 10,000 columns, 80 MB.
_ROWS = 1024


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """The KID of features [N, D] and [M, D] over all images at once, in float64."""
    everything = [torch.ones(1, len(x), dtype=torch.bool) for x in (a, b)]
    return float(kernel_distances(a, b, *everything))


def kernel_distances(a: Tensor, b: Tensor, keep_a: Tensor, keep_b: Tensor) -> Tensor:
    """The KIDs of subsets; arguments, result and errors as `frechet.frechet_distances`.

    Each kernel value is computed once, however many subsets there are.
    """
    a, b = check_features(a, b)
    n, m = keep_a.sum(1).double(), keep_b.sum(1).double()
    if int(n.min()) < 2 or int(m.min()) < 2:
        raise PriorError("a KID needs at least two images on either side")
    within_a = _sums(a, a, keep_a, keep_a) - keep_a.double() @ _kernel_of_itself(a)
    within_b = _sums(b, b, keep_b, keep_b) - keep_b.double() @ _kernel_of_itself(b)
    between = _sums(a, b, keep_a, keep_b)
    return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * between / (n * m)


def _sums(x: Tensor, y: Tensor, keep_x: Tensor, keep_y: Tensor) -> Tensor:
    """For each subset the sum of k over all pairs: [R]."""
    wanted_x, wanted_y = keep_x.double(), keep_y.double()
    total = torch.zeros(len(keep_x), dtype=torch.float64)
    for start in range(0, len(x), _ROWS):
        part = slice(start, start + _ROWS)
        kernel = (x[part] @ y.T / x.shape[1] + 1) ** 3
        total += (wanted_x[:, part] @ kernel * wanted_y).sum(1)
    return total


def _kernel_of_itself(x: Tensor) -> Tensor:
    return (x.square().sum(1) / x.shape[1] + 1) ** 3
