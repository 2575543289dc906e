"""95% intervals: what a figure would do with other label maps of the same kind.

A label map, with all of its images, is the unit: several images of one map are not independent.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import PriorError

LEVEL = 0.95
GROUPS = 20
DRAWS = 2000
# With fewer, an error cannot be told from so few values: an interval of 5 would cover 91%.
FEWEST_UNITS = 6
_FEW = f"no interval: fewer than {FEWEST_UNITS} label maps"
_Z = 1.959964

# keep_a bool [R, N], keep_b bool [R, M] -> the R values of a figure on these subsets.
Subsets = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, at level 0.95."""

    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2


_Kind = TypeVar("_Kind", bound="Resampled")


@dataclass(frozen=True)
class Resampled(ABC):
    """A figure, and what it is with other label maps; two of them may be subtracted.

    Attributes:
        value: of all label maps.
        again: its values with other label maps, float64 [R] each; none with fewer than
            `FEWEST_UNITS` label maps.
        sampling: the label maps, and what else decides which of them each value is of.
    """

    value: float
    again: tuple[Tensor, ...]
    sampling: tuple[object, ...]

    def __sub__(self: _Kind, other: _Kind) -> _Kind:
        """The difference of figures of two sets of images of the same label maps.

        It is taken for each choice of label maps, so what both find hard or easy in one cancels.
        Raises PriorError if the two were not resampled alike.
        """
        if self.sampling != other.sampling:
            raise PriorError(
                "the two figures are of different label maps, or were resampled with different "
                "seeds; expected pairs"
            )
        again = tuple(a - b for a, b in zip(self.again, other.again, strict=True))
        return replace(self, value=self.value - other.value, again=again)

    @property
    @abstractmethod
    def interval(self) -> Interval | None:
        """At level 0.95; None with too few label maps."""

    @property
    @abstractmethod
    def method(self) -> str:
        """How the interval is found, or why there is none."""


@dataclass(frozen=True)
class Bootstrap(Resampled):
    """Label maps drawn with replacement.

    units: how many there are.
    """

    units: int

    @property
    def interval(self) -> Interval | None:
        """See `percentile_interval`."""
        return percentile_interval(self.again[0], self.units) if self.again else None

    @property
    def method(self) -> str:
        """As `Resampled.method`."""
        if self.interval is None:
            return _FEW
        return f"bootstrap over label maps, {len(self.again[0])} draws"


@dataclass(frozen=True)
class Jackknife(Resampled):
    """Groups of label maps left out in turn; a part of `again` for each independent side.

    factors: what the squared deviations of each part are multiplied by for its variance.
    """

    factors: tuple[float, ...]

    @property
    def groups(self) -> int:
        """Of the side that has fewest; 0 without an interval."""
        return min(map(len, self.again), default=0)

    @property
    def error(self) -> float | None:
        """The standard error."""
        if not self.again:
            return None
        parts = zip(self.again, self.factors, strict=True)
        squares = (factor * float((x - x.mean()).square().sum()) for x, factor in parts)
        return math.sqrt(sum(squares))

    @property
    def interval(self) -> Interval | None:
        """See `t_interval`."""
        error = self.error
        return None if error is None else t_interval(self.value, error, self.groups)

    @property
    def method(self) -> str:
        """As `Resampled.method`."""
        return f"delete-a-group jackknife, {self.groups} groups" if self.again else _FEW


def bootstrap_weights(units: int, draws: int = DRAWS, seed: int = 0) -> Tensor:
    """How often each of `units` label maps is drawn, with replacement: float64 [draws, units]."""
    counts = np.random.default_rng(seed).multinomial(units, [1 / units] * units, size=draws)
    return torch.from_numpy(counts).double()


def bootstrap(
    figure: Callable[[Tensor], Tensor],
    per_unit: Tensor,
    units: Sequence[str],
    draws: int = DRAWS,
    seed: int = 0,
) -> Bootstrap:
    """A figure of sums over label maps, with a percentile interval.

    Args:
        figure: sums float64 [R, ...] -> values [R]; draws whose value is NaN are left out.
        per_unit: what is summed, [units, ...], a label map each.
        units: the label maps' names.
        draws, seed: of label maps, with replacement.
    """
    flat = per_unit.double().flatten(1)

    def values(weights: Tensor) -> Tensor:
        return figure((weights @ flat).view(-1, *per_unit.shape[1:]))

    value = float(values(torch.ones(1, len(flat), dtype=torch.float64)))
    few = len(flat) < FEWEST_UNITS
    again = () if few else (values(bootstrap_weights(len(flat), draws, seed)),)
    return Bootstrap(value, again, (tuple(units), draws, seed), len(units))


def bootstrap_mean(per_unit: Mapping[str, float], draws: int = DRAWS, seed: int = 0) -> Bootstrap:
    """The mean of a value for each label map; see `bootstrap`."""
    values = torch.tensor(list(per_unit.values()), dtype=torch.float64)
    return bootstrap(
        lambda sums: sums[:, 0] / len(values), values[:, None], [*per_unit], draws, seed
    )


def jackknife(
    values: Subsets,
    units_a: Sequence[str],
    units_b: Sequence[str],
    groups: int = GROUPS,
    seed: int = 0,
) -> Jackknife:
    """A figure of two sets of images, with an interval by a delete-a-group jackknife.

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
    """
    everything = (torch.ones(1, len(units), dtype=torch.bool) for units in (units_a, units_b))
    value = float(values(*everything))
    sampling = tuple(units_a), tuple(units_b), groups, seed
    names_a, names_b = sorted(set(units_a)), sorted(set(units_b))
    if min(len(names_a), len(names_b)) < FEWEST_UNITS:
        return Jackknife(value, (), sampling, ())
    sides = [(names_a, True, True)] if names_a == names_b else []
    sides = sides or [(names_a, True, False), (names_b, False, True)]
    again, factors = [], []
    for names, from_a, from_b in sides:
        parts = _groups(names, groups, seed)
        keep_a, keep_b = (
            _kept(units, parts, active) for units, active in ((units_a, from_a), (units_b, from_b))
        )
        again.append(values(keep_a, keep_b))
        left_out = len(parts[0])
        factors.append((len(names) - left_out) / (left_out * len(parts)))
    return Jackknife(value, tuple(again), sampling, tuple(factors))


def percentile_interval(values: Tensor, units: int) -> Interval | None:
    """Between the percentiles of those of a bootstrap's values [R] that are numbers.

    For many units those are 2.5 and 97.5. With fewer they lie further out, since resampling knows
    neither that a sample spreads less than what it is from, nor how uncertain its own spread is;
    with 24 the interval would cover 92.5%. (Expanded percentile interval: Hesterberg 2015, "What
    teachers should know about the bootstrap".)
    """
    values = values[values.isfinite()]
    if len(values) == 0:
        return None
    tail = NormalDist().cdf(-_student(units - 1) * math.sqrt(units / (units - 1)))
    tails = torch.tensor([tail, 1 - tail], dtype=values.dtype)
    low, high = torch.quantile(values, tails).tolist()
    return Interval(low, high)


def t_interval(value: float, error: float, groups: int) -> Interval:
    """value ± t · error, with Student's t of groups - 1 degrees of freedom."""
    half = _student(groups - 1) * error
    return Interval(value - half, value + half)


def _student(v: int) -> float:
    """The 97.5th percentile of Student's t of v degrees of freedom."""
    # Its expansion in 1 / v (Abramowitz and Stegun 26.7.5); 2.0929 for 19, as tabulated.
    t = _Z + (_Z**3 + _Z) / (4 * v) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * v**2)
    return t + (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / (384 * v**3)


def _groups(names: list[str], groups: int, seed: int) -> list[set[str]]:
    """Disjoint groups of equal size, at random."""
    groups = min(groups, len(names))
    size = len(names) // groups
    order = np.random.default_rng(seed).permutation(len(names))
    return [{names[i] for i in order[g * size : (g + 1) * size]} for g in range(groups)]


def _kept(units: Sequence[str], parts: list[set[str]], active: bool) -> Tensor:
    return torch.tensor([[not (active and unit in part) for unit in units] for part in parts])
