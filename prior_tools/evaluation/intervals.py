"""95% intervals: what a figure would do with other label maps of the same kind.

A label map, with all of its images, is the unit: several images of one map are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LEVEL = 0.95
GROUPS = 20
DRAWS = 2000
# With fewer, an error cannot be told from so few values.
FEWEST_UNITS = 4
_Z = 1.959964

# keep_a bool [R, N], keep_b bool [R, M] -> the R values of a figure on these subsets.
Subsets = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, at level 0.95."""

    low: float
    high: float


def bootstrap_weights(units: int, draws: int = DRAWS, seed: int = 0) -> Tensor:
    """How often each of `units` label maps is drawn, with replacement: float64 [draws, units]."""
    counts = np.random.default_rng(seed).multinomial(units, [1 / units] * units, size=draws)
    return torch.from_numpy(counts).double()


def bootstrap(
    figure: Callable[[Tensor], Tensor], per_unit: Tensor, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """The percentile interval of a figure of sums over label maps.

    Args:
        figure: sums float64 [draws, ...] -> values [draws]; those that are NaN are left out.
        per_unit: what is summed, [units, ...], a label map each.
        draws, seed: of label maps, with replacement.

    Returns:
        From the 2.5th to the 97.5th percentile; None for fewer than `FEWEST_UNITS` label maps.
    """
    if len(per_unit) < FEWEST_UNITS:
        return None
    weights = bootstrap_weights(len(per_unit), draws, seed)
    sums = weights @ per_unit.double().flatten(1)
    values = figure(sums.view(-1, *per_unit.shape[1:]))
    values = values[values.isfinite()]
    if len(values) == 0:
        return None
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=values.dtype)
    low, high = torch.quantile(values, tails).tolist()
    return Interval(low, high)


def bootstrap_mean(per_unit: Tensor, draws: int = DRAWS, seed: int = 0) -> Interval | None:
    """The interval of the mean of values [units], as `bootstrap`."""
    units = len(per_unit)
    return bootstrap(lambda sums: sums[:, 0] / units, per_unit[:, None], draws, seed)


def jackknife(
    values: Subsets, units_a: Sequence[str], units_b: Sequence[str], seed: int = 0
) -> tuple[float, Interval | None, int]:
    """A figure of two sets of images with its interval; arguments as `two_sample_error`.

    Returns:
        (value of all images, interval, number of groups); without an interval no groups.
    """
    everything = (torch.ones(1, len(units), dtype=torch.bool) for units in (units_a, units_b))
    value = float(values(*everything))
    error = two_sample_error(values, units_a, units_b, seed=seed)
    if error is None:
        return value, None, 0
    return value, t_interval(value, *error), error[1]


def two_sample_error(
    values: Subsets,
    units_a: Sequence[str],
    units_b: Sequence[str],
    groups: int = GROUPS,
    seed: int = 0,
) -> tuple[float, int] | None:
    """The standard error of a figure of two sets of images, by a delete-a-group jackknife.

    FID and KID are not resampled with replacement: a bootstrap sample holds images twice, which
    lowers the rank of its covariance and puts zeros among the distances of different images; both
    figures would shift by more than their spread. Leaving out a twentieth at a time changes the
    number of images equally for all values, so that the bias of FID at finite N is nearly the same
    in all and cancels in their spread. (Shao and Wu 1989, "A general theory for jackknife variance
    estimation".) What the interval does not tell of is that bias itself.

    Args:
        values: of subsets of the images.
        units_a, units_b: the label map of each image. If both hold the same label maps, as where
            images were generated for the labels of the real ones, a map is left out on both sides
            at once, so that what they have in common is accounted for. Else the two sides are
            taken as independent, and their variances add.
        groups: how many parts are left out in turn; all of one size, so a few maps may stay in
            always, which the factor (n - d) / d of the delete-d jackknife accounts for.
        seed: of the division into groups.

    Returns:
        (standard error, number of groups), or None with fewer than `FEWEST_UNITS` label maps.
    """
    names_a, names_b = sorted(set(units_a)), sorted(set(units_b))
    if min(len(names_a), len(names_b)) < FEWEST_UNITS:
        return None
    sides = [(names_a, True, True)] if names_a == names_b else []
    sides = sides or [(names_a, True, False), (names_b, False, True)]
    variance, fewest = 0.0, groups
    for names, from_a, from_b in sides:
        parts = _groups(names, groups, seed)
        keep_a, keep_b = (
            _kept(units, parts, active) for units, active in ((units_a, from_a), (units_b, from_b))
        )
        found = values(keep_a, keep_b)
        left_out = len(parts[0])
        factor = (len(names) - left_out) / (left_out * len(parts))
        variance += factor * float((found - found.mean()).square().sum())
        fewest = min(fewest, len(parts))
    return variance**0.5, fewest


def t_interval(value: float, error: float, groups: int) -> Interval:
    """value ± t · error, with Student's t of groups - 1 degrees of freedom."""
    # Its expansion in 1 / degrees (Abramowitz and Stegun 26.7.5); 2.0929 for 19, as tabulated.
    v = groups - 1
    t = _Z + (_Z**3 + _Z) / (4 * v) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * v**2)
    t += (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / (384 * v**3)
    return Interval(value - t * error, value + t * error)


def _groups(names: list[str], groups: int, seed: int) -> list[set[str]]:
    """Disjoint groups of equal size, at random."""
    groups = min(groups, len(names))
    size = len(names) // groups
    order = np.random.default_rng(seed).permutation(len(names))
    return [{names[i] for i in order[g * size : (g + 1) * size]} for g in range(groups)]


def _kept(units: Sequence[str], parts: list[set[str]], active: bool) -> Tensor:
    return torch.tensor([[not (active and unit in part) for unit in units] for part in parts])
