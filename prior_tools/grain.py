"""Grain: how residuals of latents hang together over channels and space, and noise that does so.

The residual of a latent is (z - m) / s, with mean and deviation looked up as a draw does. White
noise takes its values in all cells and channels for independent, which gives a latent that no image
has. Grain is what they share, in two parts. All cells of a region (one class, side by side) have an
offset in common: this house is red, that car is white. What regions leave is a Gaussian field with
the correlation that residuals have without such offsets:

    e_c(x) = sum over k of a_ck * g_k(x),   <g_k(x) g_k(x + l)> = r_k(l),   <g_j g_k> = 0 for j != k

g_k are independent fields of variance 1, each with a spatial correlation r_k of its own, and a
mixes them into channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import PriorError
from .labels.regions import connected_regions
from .whole_numbers import two_sides, whole

# Fields that are mixed into all channels. With more channels than that, each has a field of its own
# besides, of what these leave of it.
MOST_DIRECTIONS = 16
# Lags along an axis for which correlations are stored, fewer where they would not fit.
MOST_LAGS = 16
MOST_BYTES = 300_000
# Of what is 1 or 0 by definition.
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Grain:
    """What a dataset's normalised residuals share; C channels, K = min(C, 16) directions.

    Attributes:
        grid: (h, w), cells of the latents that it was measured on. Lags are in these cells, and
            belong to that part of an image: on another grid a draw has them at the same part.
        mixing: float32 [C, K], the share of each direction in each channel. Squares of a channel
            sum to 1, or with more than 16 channels to at most 1.
        correlation: float32 [F, Y, 2 * X - 1], of each independent field with itself at lags
            (`lags_of(grid, C)`): down 0 to h, across -w to w. F is K, or with more than 16 channels
            K + C: the last C are what the directions leave of each channel.
        regions: float32 [classes, C, R], in the order of the prior's class ids. Its product with
            itself is the covariance of the offset that the cells of a region have in common; the
            other two are of what that leaves. Without rows in a prior of images alone.

    Raises PriorError for another type or shape, and for values that no correlation can have.

    >>> correlation = torch.tensor([[[0, 0.5, 1, 0.5, 0], [0.0] * 5]])
    >>> grain = Grain((1, 2), torch.ones(1, 1), correlation, regions=torch.zeros(0, 1, 1))
    >>> grain.channels
    1
    """

    grid: tuple[int, int]
    mixing: Tensor
    correlation: Tensor
    regions: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", two_sides(self.grid, "grid", "(h, w) in latent cells"))
        for name in ("mixing", "correlation", "regions"):
            tensor = getattr(self, name)
            if not isinstance(tensor, Tensor) or tensor.dtype != torch.float32:
                raise PriorError(f"{name} of a grain is no float32 tensor")
            object.__setattr__(self, name, tensor.detach().to("cpu").contiguous())
        if self.mixing.ndim != 2 or len(self.mixing) == 0:
            raise PriorError(
                f"mixing of a grain has shape {tuple(self.mixing.shape)}; expected (channels, "
                "directions)"
            )
        for name, shape in zip(
            ("mixing", "correlation"), shapes(self.grid, self.channels), strict=True
        ):
            tensor = getattr(self, name)
            if tuple(tensor.shape) != shape:
                raise PriorError(
                    f"{name} of a grain of {self.channels} channels on {self.grid[1]}x"
                    f"{self.grid[0]} cells has shape {tuple(tensor.shape)}; expected {shape}"
                )
            if not (tensor.abs() <= 1 + _ROUNDING).all():
                raise PriorError(f"{name} of a grain holds NaN or values beyond 1")
        self._check_variances()
        classes = len(self.regions) if self.regions.ndim else 0
        wanted = (classes, self.channels, region_directions(classes, self.channels))
        if tuple(self.regions.shape) != wanted:
            raise PriorError(
                f"regions of a grain of {self.channels} channels has shape "
                f"{tuple(self.regions.shape)}; expected {wanted}"
            )
        if not (self.region_variances <= 1 + _ROUNDING).all():
            raise PriorError("regions of a grain holds NaN or gives a channel a variance above 1")

    def _check_variances(self) -> None:
        shared = self.mixing.double().square().sum(1)
        least = 0.0 if self.channels > MOST_DIRECTIONS else 1 - _ROUNDING
        if not ((shared >= least) & (shared <= 1 + _ROUNDING)).all():
            raise PriorError("mixing of a grain does not give each channel a variance of 1")
        beside = self.correlation[:, 0]
        middle = beside.shape[1] // 2
        if (beside[:, middle] - 1).abs().max() > _ROUNDING:
            raise PriorError("correlation of a grain is not 1 at lag 0")
        if (beside - beside.flip(1)).abs().max() > _ROUNDING:
            raise PriorError("correlation of a grain is not symmetric along its first row")

    @property
    def channels(self) -> int:
        """C.

        >>> measure_grain(torch.randn(9, 3, 2, 4), labels.repeat(9, 1, 1), prior).channels
        3
        """
        return len(self.mixing)

    def at(self, down: float, across: float) -> Tensor:
        """Correlation [C, C] between channels of cells that lie so many of its own cells apart.

        Of what regions leave.

        >>> correlation = torch.tensor([[[0, 0.5, 1, 0.5, 0], [0.0] * 5]])
        >>> grain = Grain((1, 2), torch.ones(1, 1), correlation, regions=torch.zeros(0, 1, 1))
        >>> grain.at(0, 1), grain.at(0.5, 0)
        (tensor([[0.5000]]), tensor([[0.5000]]))
        """
        lags = lags_of(self.grid, self.channels)
        rows, columns = (
            hat_weights(torch.tensor([float(place)]), known)
            for place, known in zip((down, across), lags, strict=True)
        )
        fields = torch.stack([(rows @ whole_plane(c) @ columns.T)[0, 0] for c in self.correlation])
        shared = len(self.mixing[0])
        together = (self.mixing * fields[:shared]) @ self.mixing.T
        if len(fields) > shared:
            together += torch.diag(self._left().square() * fields[shared:])
        return together

    @property
    def region_variances(self) -> Tensor:
        """[classes, C]: the part of the variance that the cells of a region have in common.

        >>> grain = measure_grain(torch.randn(9, 3, 2, 4), labels.repeat(9, 1, 1), prior)
        >>> grain.region_variances.shape
        torch.Size([3, 3])
        """
        return self.regions.square().sum(2)

    def draw(self, count: int, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Independent Gaussian fields float32 [count, C, h, w] of this correlation on a grid.

        They are of what regions leave: `color_regions` brings those in. Each value has mean 0 and
        variance 1, in every cell; edges that face each other have no more in common than their
        distance gives them. On another grid than its own the grain grows with the image. The same
        for a state of the generator, which is of the CPU, and the first fields of a longer draw are
        those of a shorter one.

        Raises PriorError for a count or sides below 1.

        >>> generator = torch.Generator().manual_seed(7)
        >>> grain = measure_grain(torch.randn(9, 3, 2, 4), labels.repeat(9, 1, 1), prior)
        >>> grain.draw(5, (8, 8), generator).shape
        torch.Size([5, 3, 8, 8])
        """
        seeds = torch.randint(2**63 - 1, (whole(count, "count", 1),), generator=generator)
        return self.draw_each(
            grid, [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
        )

    def draw_each(self, grid: tuple[int, int], generators: Sequence[torch.Generator]) -> Tensor:
        """As `draw`, a field [C, h, w] from each generator.

        >>> one, two = (torch.Generator().manual_seed(7) for _ in range(2))
        >>> grain = measure_grain(torch.randn(9, 3, 2, 4), labels.repeat(9, 1, 1), prior)
        >>> first, second = grain.draw_each((8, 8), [one, two])
        >>> torch.equal(first, second)
        True
        """
        height, width = two_sides(grid, "grid", "(h, w) in latent cells")
        torus = Torus(self.grid, (height, width), lags_of(self.grid, self.channels))
        drawn = torch.zeros(len(generators), self.channels, height, width)
        left = self._left().tolist()
        directions = self.mixing.shape[1]
        # Field by field: all of them on their torus would be the largest thing here.
        for number, correlation in enumerate(self.correlation):
            amplitude = torus.power(correlation).sqrt_()
            for image, generator in zip(drawn, generators, strict=True):
                field = torus.filtered(torch.randn(torus.size, generator=generator), amplitude)
                if number < directions:
                    image.addcmul_(self.mixing[:, number, None, None], field)
                else:
                    image[number - directions].add_(field, alpha=left[number - directions])
        return drawn

    def color_regions(
        self,
        field: Tensor,
        rows: Tensor,
        generator: torch.Generator,
        strengths: tuple[float, float] = (1.0, 1.0),
    ) -> Tensor:
        """Noise [C, h, w] for a label map: a drawn field, with an offset for each region.

        A region is what touches side by side of one class. Of strengths 1 the variance is 1 in
        every cell, and the covariance of two cells of a region that of its class's `regions`.

        Args:
            field: [C, h, w], as `draw` gives it; it is changed in place.
            rows: int64 [h, w], numbers of the cells' classes in `regions`; -1 where there is none,
                which leaves the field as it is.
            generator: of the offsets; another one than the field's.
            strengths: factors of the field and of the offsets.

        >>> grain = measure_grain(torch.randn(9, 3, 2, 4), labels.repeat(9, 1, 1), prior)
        >>> field = grain.draw(1, (2, 4), torch.Generator().manual_seed(7))[0]
        >>> rows = prior.rows_of(labels)[0]
        >>> grain.color_regions(field, rows, torch.Generator().manual_seed(8)).shape
        torch.Size([3, 2, 4])
        """
        rest, offset = strengths
        known = rows >= 0
        if not known.any():
            return field.mul_(rest)
        numbers = connected_regions(rows)
        # In the order of the regions, so that what lies further down changes nothing above it; in
        # sixteens, since of another number torch draws the last sixteen twice.
        normal = torch.randn(int(numbers.max()) + 1, 16, generator=generator)
        normal = normal[:, : self.regions.shape[2]]
        row_of_region = rows.new_zeros(len(normal))
        row_of_region[numbers] = rows.clamp(min=0)
        left = (1 - self.region_variances).clamp(min=0).sqrt().T
        # Channel by channel: where each cell is a region, the factors of all would be the largest
        # thing here.
        for channel, image in enumerate(field):
            factors = self.regions[:, channel][row_of_region]
            offsets = offset * torch.einsum("nr,nr->n", factors, normal)
            image.mul_(torch.where(known, rest * left[channel][rows], rest))
            image.add_(torch.where(known, offsets[numbers], 0.0))
        return field

    def _left(self) -> Tensor:
        """[C]: the deviation that the directions leave of each channel."""
        return (1 - self.mixing.square().sum(1)).clamp(min=0).sqrt()


def shapes(grid: tuple[int, int], channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of `mixing` and `correlation` of a grain."""
    directions = min(channels, MOST_DIRECTIONS)
    down, across = lags_of(grid, channels)
    return (channels, directions), (_fields(channels), len(down), 2 * len(across) - 1)


def region_directions(classes: int, channels: int) -> int:
    """Directions in which regions are colored: as many as there are channels, or as have room.

    One in any case, also where that takes more than MOST_BYTES.
    """
    room = MOST_BYTES // max(4 * classes * channels, 1)
    return max(1, min(channels, MOST_DIRECTIONS, room))


def lags_of(grid: tuple[int, int], channels: int) -> tuple[list[int], list[int]]:
    """Lags down and across for which a grain is stored, in cells: from 0 to the grid's side."""
    most = MOST_LAGS
    mixing = channels * min(channels, MOST_DIRECTIONS)
    while most > 2 and 4 * (mixing + _fields(channels) * most * (2 * most - 1)) > MOST_BYTES:
        most -= 1
    down, across = (_lags(side, most) for side in grid)
    return down, across


def _fields(channels: int) -> int:
    return channels if channels <= MOST_DIRECTIONS else MOST_DIRECTIONS + channels


def _lags(side: int, most: int) -> list[int]:
    """All of 0 to `side`, or `most` of them: each at first, then ever fewer."""
    if side < most:
        return [*range(side + 1)]
    steps = range(most - 1)
    return [0, *(max(step + 1, round(side ** (step / max(1, most - 2)))) for step in steps)]


def hat_weights(places: Tensor, lags: Sequence[int]) -> Tensor:
    """[P, 2 * X - 1]: weights of the lags -max..max that each place, in cells, lies between.

    Rows sum to 1; beyond the last lag a place has that one's value.
    """
    across = torch.tensor([*(-lag for lag in lags[:0:-1]), *lags], dtype=torch.float64)
    places = places.double().clamp(float(across[0]), float(across[-1]))
    after = torch.searchsorted(across, places, right=True).clamp(1, len(across) - 1)
    share = (places - across[after - 1]) / (across[after] - across[after - 1])
    weights = torch.zeros(len(places), len(across), dtype=torch.float64)
    at = torch.arange(len(places))
    weights[at, after - 1] = 1 - share
    weights[at, after] += share
    return weights.float()


def whole_plane(correlation: Tensor) -> Tensor:
    """[..., Y, 2 * X - 1] from lags 0 down, to [..., 2 * Y - 1, 2 * X - 1] with those upwards."""
    return torch.cat([correlation[..., 1:, :].flip(-2, -1), correlation], -2)


class Torus:
    """A grid's fields, drawn on a torus of at least twice each side and cut out of it.

    A stationary field on a torus is white noise through one filter (circulant embedding: Dietrich
    and Newsam, 1997). Cells of the grid are nearest to each other on the straight way between them,
    never on the one around.
    """

    def __init__(
        self, old: tuple[int, int], new: tuple[int, int], lags: tuple[Sequence[int], Sequence[int]]
    ) -> None:
        self.grid = new
        self.size = (_smooth(2 * new[0]), _smooth(2 * new[1]))
        self._rows, self._columns = (
            hat_weights(_torus_lags(size) * a / b, known)
            for size, a, b, known in zip(self.size, old, new, lags, strict=True)
        )
        down, across = lags
        self._down, self._across = [*down], [*(-lag for lag in across[:0:-1]), *across]

    def power(self, correlation: Tensor) -> Tensor:
        """The filter's squares [Ty, Tx // 2 + 1] for a correlation [Y, 2 * X - 1] at the lags.

        No power is negative, and they average to 1: that is the variance of what is drawn, exactly.
        """
        over = self._rows @ whole_plane(correlation) @ self._columns.T
        power: Tensor = torch.fft.rfft2(over).real.clamp_(min=0)
        # Columns of a real transform stand for two, but for the first and the last.
        sums = power.sum(0, dtype=torch.float64)
        total = float(2 * sums.sum() - sums[0] - sums[-1])
        power *= math.prod(self.size) / total
        return power

    def filtered(self, noise: Tensor, amplitude: Tensor) -> Tensor:
        """White noise [..., Ty, Tx] as a field [..., h, w]."""
        height, width = self.grid
        spectrum = torch.fft.rfft2(noise).mul_(amplitude)
        rows = torch.fft.ifft(spectrum, dim=-2)[..., :height, :]
        field: Tensor = torch.fft.irfft(rows, self.size[1])[..., :width]
        return field

    def correlation(self, power: Tensor) -> Tensor:
        """What fields have [Ty, Tx], by the lag on the torus."""
        over: Tensor = torch.fft.irfft2(power, self.size)
        return over

    def sampled(self, over: Tensor) -> Tensor:
        """Values [Y, 2 * X - 1] at the stored lags, of [Ty, Tx] where the grid is the grain's."""
        return over[self._down][:, self._across]

    def at_lags(self, over: Tensor) -> Tensor:
        """Sums [..., 2 * Y - 1, 2 * X - 1] of values [..., Ty, Tx] near each stored lag.

        Each value goes to the lags that it lies between, by its weights of them.
        """
        return self._rows.T.to(over) @ over @ self._columns.to(over)


def _torus_lags(size: int) -> Tensor:
    """Lags in cells of the places of a torus's axis: 0 to size / 2, then from below up to -1."""
    lags = torch.arange(size, dtype=torch.float64)
    return torch.where(lags > size // 2, lags - size, lags)


def _smooth(least: int) -> int:
    """The smallest even number, `least` or more, that is a product of 2, 3 and 5: fast to do."""
    number = least + least % 2
    while True:
        rest = number
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return number
        number += 2
