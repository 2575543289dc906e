"""What the residuals of a region's cells have in common, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .grain import region_directions

# A class has its own covariance as far as its regions are more than those of so many images; of
# fewer it is drawn towards that of all classes.
_IMAGES_TO_TRUST = 8
# Of more cells than this a region loses next to nothing with its mean.
_LARGE = 64


class RegionSums:
    """Products of the residuals of two cells of one region, by class: K classes, C channels.

    A region of n cells counts n times, as the mean product of its n (n - 1) pairs: it is what a
    cell has in common with another one of its region.
    """

    def __init__(self, classes: int, channels: int) -> None:
        self.products = torch.zeros(classes, channels, channels, dtype=torch.float64)
        self.squares = torch.zeros(classes, channels, dtype=torch.float64)
        self.cells = torch.zeros(classes, dtype=torch.float64)
        self.images = torch.zeros(classes, dtype=torch.float64)

    def add(
        self, residual: Tensor, known: Tensor, rows: Tensor, numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Count images, and give what their regions leave, as `without_regions` does.

        Args:
            residual: [N, C, h, w], 0 where not known.
            known: bool [N, h, w].
            rows: of the cells' classes [N, h, w], -1 where no class is.
            numbers: of the cells' regions [N, h, w], as `connected_regions` gives them for `rows`.
        """
        found = _Shared.of(residual, known, rows, numbers)
        # Of each cell with the mean of all others of its region.
        others = (found.total - found.values) / (found.count - 1)
        of_class = rows[found.cells]
        for row in of_class.unique().tolist():
            at = of_class == row
            self.products[row] += found.values[:, at] @ others[:, at].T
            self.squares[row] += found.values[:, at].square().sum(1)
            self.cells[row] += at.sum()
        held = torch.zeros(len(rows), len(self.images), dtype=torch.bool)
        held[found.cells.nonzero()[:, 0], of_class] = True
        self.images += held.sum(0)
        return found.left(residual, known & (rows < 0))

    def factors(self) -> Tensor:
        """Of covariances in units of the deviations of each class's cells: see `region_factors`."""
        scale = torch.where(self.squares > 0, self.squares / self.cells[:, None], 1).sqrt()
        products = self.products / scale[:, :, None] / scale[:, None]
        cells = self.cells[:, None, None]
        everyone = products.sum(0) / cells.sum().clamp(min=1)
        trust = (self.images / (self.images + _IMAGES_TO_TRUST))[:, None, None]
        return region_factors(trust * products / cells.clamp(min=1) + (1 - trust) * everyone)


def without_regions(
    residual: Tensor, known: Tensor, rows: Tensor, numbers: Tensor
) -> tuple[Tensor, Tensor]:
    """Images' residuals less the mean of each region, and where they are known.

    In units in which white noise keeps its variance. A cell without another known one in its region
    tells nothing of what the region leaves; cells of no class are as they were. Args as for
    `RegionSums.add`.
    """
    return _Shared.of(residual, known, rows, numbers).left(residual, known & (rows < 0))


def lost_with_means(known: Tensor, rows: Tensor, numbers: Tensor, torus: tuple[int, int]) -> Tensor:
    """What `without_regions` takes from images of white noise: sums float64 over pairs, by lag.

    Less their mean the n cells of a region vary against each other, each pair by 1 / (n - 1) of the
    variance. Of large regions that is next to nothing, and left out.

    Args:
        known, rows, numbers: as for `RegionSums.add`.
        torus: (Ty, Tx), sides of the result, of which lags below 0 are at the end.
    """
    cells = known & (rows >= 0)
    count = numbers[cells].bincount(minlength=int(numbers.max()) + 1)
    cells &= (count[numbers] > 1) & (count[numbers] <= _LARGE)
    region, order = numbers[cells].sort(stable=True)
    _, y, x = (place[order] for place in cells.nonzero(as_tuple=True))
    weight = 1 / (count[region] - 1).double()
    lost = torch.zeros(torus[0] * torus[1], dtype=torch.float64)
    for step in range(1, int(count[region].max()) if len(region) else 1):
        same = (region[step:] == region[:-step]).nonzero()[:, 0]
        down, across = (p[same + step] - p[same] for p in (y, x))
        at = down % torus[0] * torus[1] + across % torus[1]
        lost += at.bincount(weight[same], len(lost))
    lost = lost.view(torus)
    # Each pair once more, the other way round.
    return lost + lost.flip(0, 1).roll((1, 1), (0, 1))


@dataclass(frozen=True)
class _Shared:
    """The known cells that share their region with another one: M of them.

    Attributes:
        cells: bool [N, h, w], which.
        values: float64 [C, M], their residuals.
        total: float64 [C, M], sums over all known cells of their regions.
        count: float64 [M], how many these are.
    """

    cells: Tensor
    values: Tensor
    total: Tensor
    count: Tensor

    @staticmethod
    def of(residual: Tensor, known: Tensor, rows: Tensor, numbers: Tensor) -> _Shared:
        """Args as for `RegionSums.add`."""
        regions = int(numbers.max()) + 1
        count = numbers[known & (rows >= 0)].bincount(minlength=regions)
        cells = known & (rows >= 0) & (count[numbers] > 1)
        values, at = residual.movedim(1, 0)[:, cells].double(), numbers[cells]
        sums = values.new_zeros(len(values), regions).index_add_(1, at, values)
        return _Shared(cells, values, sums[:, at], count[at].double())

    def left(self, residual: Tensor, nowhere: Tensor) -> tuple[Tensor, Tensor]:
        """What the regions leave of images' residuals; `nowhere` is a known cell of no class."""
        left = torch.where(nowhere[:, None], residual, 0)
        scale = (self.count / (self.count - 1)).sqrt()
        left.movedim(1, 0)[:, self.cells] = (
            (self.values - self.total / self.count) * scale
        ).float()
        return left, nowhere | self.cells


def region_factors(covariances: Tensor) -> Tensor:
    """Factors float32 [K, C, R] whose product with themselves are covariances [K, C, C].

    But for negative variances, which none has, and beyond the R directions of most variance; no
    channel has a variance above 1.
    """
    classes, channels = covariances.shape[:2]
    most = region_directions(classes, channels)
    values, vectors = torch.linalg.eigh((covariances + covariances.mT) / 2)
    values, vectors = values[:, -most:].clamp(min=0), vectors[..., -most:]
    factors: Tensor = vectors * values.sqrt()[:, None]
    over = factors.square().sum(2, keepdim=True).clamp(min=1).sqrt()
    return (factors / over).float()


def average_factors(parts: Sequence[tuple[Tensor, Tensor, Tensor]], class_ids: Tensor) -> Tensor:
    """Factors [K, C, R] of several priors' images together; of a class of none, of all classes.

    Args:
        parts: of each prior its class ids [k], factors [k, C, r], and numbers of images of each
            class, by which covariances are averaged.
        class_ids: [K], of all of them.
    """
    channels = parts[0][1].shape[1]
    total = torch.zeros(len(class_ids), channels, channels, dtype=torch.float64)
    weight = torch.zeros(len(class_ids), 1, 1, dtype=torch.float64)
    for ids, factors, images in parts:
        at = torch.searchsorted(class_ids, ids)
        share = images.double()[:, None, None]
        total[at] += share * (factors @ factors.mT).double()
        weight[at] += share
    everyone = total.sum(0) / weight.sum().clamp(min=1)
    return region_factors(torch.where(weight > 0, total / weight.clamp(min=1), everyone))
