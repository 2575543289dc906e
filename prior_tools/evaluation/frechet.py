"""FID: the Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, 1706.08500).

    |μa - μb|² + tr Σa + tr Σb - 2 tr (Σa Σb)^½

With A = (a - μa) / √(N - 1), so that Σa = AᵀA, and B alike, the eigenvalues of Σa Σb are the
squared singular values of A Bᵀ, and the last trace is their plain sum. A Bᵀ is [N, M], however many
features there are: below 2048 images this is much cheaper than the square root of a 2048 x 2048
matrix, and its error is that of the singular values themselves. And a subset of the images needs
but a part of the products a bᵀ, which are computed once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import PriorError


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The FID of features [N, D] and [M, D], in float64.

    Symmetric; 0 within rounding for a set and itself. Raises PriorError as `frechet_distances`.
    """
    everything = [torch.ones(1, len(x), dtype=torch.bool) for x in (a, b)]
    return float(frechet_distances(a, b, *everything))


def frechet_distances(a: Tensor, b: Tensor, keep_a: Tensor, keep_b: Tensor) -> Tensor:
    """The FIDs of subsets.

    Args:
        a, b: features [N, D] and [M, D].
        keep_a, keep_b: bool [R, N] and [R, M]: which images each of the R distances is of.

    Returns:
        float64 [R]. Raises PriorError for other shapes, values that are not finite, or subsets of
        fewer than two images.
    """
    a, b = check_features(a, b)
    if int(keep_a.sum(1).min()) < 2 or int(keep_b.sum(1).min()) < 2:
        raise PriorError("an FID needs at least two images on either side")
    # The distance does not change when both are shifted, and near zero less is lost to rounding.
    centre = b.mean(0)
    a, b = a - centre, b - centre
    products = a @ b.T if max(len(a), len(b)) <= a.shape[1] else None
    found = [
        _distance(a, b, products, rows, columns)
        for rows, columns in zip(keep_a, keep_b, strict=True)
    ]
    return torch.stack(found)


def check_features(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float64; PriorError unless they are finite [N, D] and [M, D]."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise PriorError(
            f"features have shapes {tuple(a.shape)} and {tuple(b.shape)}; expected [N, D] and "
            "[M, D]"
        )
    a, b = a.double(), b.double()
    if not (bool(a.isfinite().all()) and bool(b.isfinite().all())):
        raise PriorError("features hold values that are not finite; is the extractor broken?")
    return a, b


def _distance(
    a: Tensor, b: Tensor, products: Tensor | None, rows: Tensor, columns: Tensor
) -> Tensor:
    a, b = a[rows], b[columns]
    if products is None:
        cross = _factor(a) @ _factor(b).T
    else:
        cross = products[rows][:, columns]
        cross = cross - cross.mean(0) - cross.mean(1, keepdim=True) + cross.mean()
        cross = cross / math.sqrt((len(a) - 1) * (len(b) - 1))
    means = (a.mean(0) - b.mean(0)).square().sum()
    shared: Tensor = torch.linalg.svdvals(cross).sum()
    return means + a.var(0).sum() + b.var(0).sum() - 2 * shared


def _factor(features: Tensor) -> Tensor:
    """F [min(N, D), D] with FᵀF = the covariance of features [N, D]."""
    centred = (features - features.mean(0)) / math.sqrt(len(features) - 1)
    if len(centred) <= centred.shape[1]:
        return centred
    factor: Tensor = torch.linalg.qr(centred, mode="r")[1]
    return factor
