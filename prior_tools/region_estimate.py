"""What the residuals of a region's cells have in common, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .grain import region_directions
from .labels.regions import connected_regions

# A class has its own covariance as far as its regions are more than those of so many images; of
# fewer it is drawn towards that of all classes.
_IMAGES_TO_TRUST = 8


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

    def add(self, residual: Tensor, known: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Count an image, and give what its regions leave and where that is known.

        It is the residual less its region's mean, in units in which white noise keeps its variance.
        A cell without another known one in its region tells nothing of what the region leaves;
        cells of no class are as they were.

        Args:
            residual: [C, h, w], 0 where not known.
            known: bool [h, w].
            rows: of the cells' classes [h, w], -1 where no class is.
        """
        found = _Shared.of(residual, known, rows)
        # Of each cell with the mean of all others of its region.
        others = (found.total - found.values) / (found.count - 1)
        of_class = rows[found.cells]
        for row in of_class.unique().tolist():
            at = of_class == row
            self.products[row] += found.values[:, at] @ others[:, at].T
            self.squares[row] += found.values[:, at].square().sum(1)
            self.cells[row] += at.sum()
            self.images[row] += 1
        scale = (found.count / (found.count - 1)).sqrt()
        return found.left(residual, known & (rows < 0), found.less_means() * scale)

    def factors(self) -> Tensor:
        """Of covariances in units of the deviations of each class's cells: see `region_factors`."""
        scale = torch.where(self.squares > 0, self.squares / self.cells[:, None], 1).sqrt()
        products = self.products / scale[:, :, None] / scale[:, None]
        cells = self.cells[:, None, None]
        everyone = products.sum(0) / cells.sum().clamp(min=1)
        trust = (self.images / (self.images + _IMAGES_TO_TRUST))[:, None, None]
        return region_factors(trust * products / cells.clamp(min=1) + (1 - trust) * everyone)


def without_regions(
    residual: Tensor, known: Tensor, rows: Tensor, spread: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """An image's residual without what regions have in common, and where it is known.

    In place of its mean a region gets one that white noise has, drawn anew. Less its mean alone its
    cells would vary against each other, by 1 / (n - 1) of the variance: white noise would not stay
    white where regions are small.

    Args:
        residual, known, rows: as for `RegionSums.add`.
        spread: [C, C], its product with itself is the covariance that regions leave in a cell.
        generator: of the new means.
    """
    found = _Shared.of(residual, known, rows)
    regions = int(found.region.max()) + 1 if len(found.region) else 0
    normal = torch.randn(len(spread), regions, dtype=torch.float64, generator=generator)
    means = (spread @ normal)[:, found.region] / found.count.sqrt()
    return found.left(residual, known & (rows < 0), found.less_means() + means)


@dataclass(frozen=True)
class _Shared:
    """The known cells that share their region with another one: M of them.

    Attributes:
        cells: bool [h, w], which.
        values: float64 [C, M], their residuals.
        total: float64 [C, M], sums over all known cells of their regions.
        count: float64 [M], how many these are.
        region: int64 [M], the regions' numbers.
    """

    cells: Tensor
    values: Tensor
    total: Tensor
    count: Tensor
    region: Tensor

    @staticmethod
    def of(residual: Tensor, known: Tensor, rows: Tensor) -> _Shared:
        """Args as for `RegionSums.add`."""
        numbers = connected_regions(rows)
        regions = int(numbers.max()) + 1
        count = numbers[known & (rows >= 0)].bincount(minlength=regions)
        cells = known & (rows >= 0) & (count[numbers] > 1)
        values, at = residual[:, cells].double(), numbers[cells]
        sums = values.new_zeros(len(values), regions).index_add_(1, at, values)
        return _Shared(cells, values, sums[:, at], count[at].double(), at)

    def less_means(self) -> Tensor:
        """[C, M]: the values, less the means of their regions."""
        return self.values - self.total / self.count

    def left(self, residual: Tensor, nowhere: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """An image with such values [C, M], and where it is known: here and at cells `nowhere`.

        nowhere: bool [h, w], known cells of no class, which keep their residual.
        """
        left = torch.where(nowhere, residual, 0)
        left[:, self.cells] = values.float()
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
