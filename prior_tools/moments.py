"""Counts, means and summed squared deviations that combine without loss of precision.

A group of values is described by (n, mean, m2) with m2 = sum((x - mean)^2), so a population
deviation is sqrt(m2 / n). Sums of squares would cancel where the mean is large against the
deviation; this form does not.
"""

import torch
from torch import Tensor

# Far beyond any latent, and far from where float32 overflows when a draw squares or scales it.
MAX_VALUE = 1e9

# What int32 counts.
MAX_IMAGES = 2**31 - 1


def combine(
    n_a: Tensor, mean_a: Tensor, m2_a: Tensor, n_b: Tensor, mean_b: Tensor, m2_b: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Moments of the union of two groups (Chan, Golub and LeVeque, 1979).

    Counts broadcast against means; groups may be empty on either side or on both.
    """
    n = n_a + n_b
    share = n_b / n.clamp(min=1)
    delta = mean_b - mean_a
    return n, mean_a + delta * share, m2_a + m2_b + delta.square() * (n_a * share)


def deviation(n: Tensor, m2: Tensor) -> Tensor:
    """Population standard deviation; 0 where the group is empty."""
    return (m2 / n.clamp(min=1)).sqrt()


def to_float32(values: Tensor) -> Tensor:
    """Float64 values as float32, the same whatever order they were summed in.

    The order moves a float64 sum by an ulp or two. Where the exact value lies halfway between two
    float32 numbers, as the mean of two of them often does, that ulp would decide the rounding. So
    the noise is rounded off first, to 40 of the 52 bits behind the point.
    """
    bits = values.contiguous().view(torch.int64)
    return ((bits + 0x800) & ~0xFFF).view(torch.float64).to(torch.float32)


def grouped(values: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Moments of `values` [M, C] within each of `groups` groups; `group` [M] names each row's.

    Returns (n [groups], mean [groups, C], m2 [groups, C]) in the dtype of `values`.
    """
    n = torch.bincount(group, minlength=groups).to(values.dtype)
    empty = values.new_zeros(groups, values.shape[1])
    mean = empty.index_add(0, group, values) / n.clamp(min=1)[:, None]
    m2 = empty.index_add(0, group, (values - mean[group]).square())
    return n, mean, m2
