"""Pooled moments: what few images say of a class at a cell, drawn towards what more of them say.

Empirical Bayes on two levels (Efron and Morris, 1975). A cell's mean and deviation are drawn to its
class's, those of a class to what all images have at the cell. How strongly is told by the file: by
how much the means of cells differ beyond what their few images explain.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .prior import Prior

# Beyond these a strength is as good as none, or as all.
_LEAST, _MOST = 1e-6, 1e6

# Cells of all classes that each class's strength is told by beside its own.
BORROWED = 10


def pooled_prior(prior: Prior) -> Prior:
    """The prior with pooled moments of each class at each cell in place of the paper's joint ones.

    Its joint draws and moments are the pooled ones, at every cell: none has to fall back, and
    counts below 2 are told as 2. The deviation is that of a new image: it holds the uncertainty of
    the mean itself. Where a class was never seen at a cell, moments are the class's, drawn towards
    the spatial ones; with many images they are those of the paper. Takes as much memory as the
    prior.

    The counts of an imported prior are draws with replacement: several may be of one image, so its
    cells are trusted more than they deserve.

    >>> pooled = pooled_prior(prior)
    >>> mean, std = prior_moments(pooled, labels)
    """
    strengths = strengths_of(prior)
    spatial_mean, spatial_variance = (
        prior.spatial_mean.double(),
        prior.spatial_std.double().square(),
    )
    means, deviations = torch.empty_like(prior.joint_mean), torch.empty_like(prior.joint_std)
    # Class by class, since all of them in float64 would take twice what comes out.
    for row in range(len(prior.class_ids)):

        def each_channel(values: Tensor) -> Tensor:
            return values.double()[:, None, None]

        mean, variance = _pooled(
            prior.class_image_count[row].double(),
            each_channel(prior.class_mean[row]),
            each_channel(prior.class_std[row]).square(),
            spatial_mean,
            spatial_variance,
            each_channel(strengths.classes),
        )
        mean, variance = _pooled(
            prior.joint_count[row].double(),
            prior.joint_mean[row].double(),
            prior.joint_std[row].double().square(),
            mean,
            variance,
            each_channel(strengths.cells[row]),
        )
        means[row], deviations[row] = mean.float(), variance.sqrt().float()
    return replace(
        prior,
        joint_mean=means,
        joint_std=deviations,
        joint_count=prior.joint_count.clamp(min=2),
    )


@dataclass(frozen=True, eq=False)
class Strengths:
    """How many images the next level's moments weigh as, for each channel, float64.

    Attributes:
        cells: [K, C], of a class's moments in those of its cells.
        classes: [C], of the spatial moments in those of a class.
    """

    cells: Tensor
    classes: Tensor


def strengths_of(prior: Prior) -> Strengths:
    """The strengths of a prior by the method of moments.

    With within-cell variance W and variance T of the cells' true means, images say as much of a
    cell as its class does when there are W / T of them. T is what the cells' means differ beyond
    the W / n that n images explain. A class without a cell of two images takes the ratio of all
    classes, and each is drawn to it as if it had BORROWED cells more.
    """
    zeros = torch.zeros(prior.latent_channels, dtype=torch.float64)
    classes = [_Cells.of(prior, row) for row in range(len(prior.class_ids))]
    everything = sum(classes, _Cells(*(zeros for _ in fields(_Cells))))
    cells = torch.stack([each.strength(everything) for each in classes] or [zeros])
    return Strengths(cells, _class_strength(prior))


def _pooled(
    n: Tensor,
    mean: Tensor,
    variance: Tensor,
    above_mean: Tensor,
    above_variance: Tensor,
    strength: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean and predictive variance of n values of this mean and population variance.

    `above` is what is predicted where n is 0. Its variance is that within a group and that between
    the groups' means, as 1 to 1 / strength.
    """
    within_above = above_variance * strength / (strength + 1)
    free = (n - 1).clamp(min=0)
    # n values spread n - 1 times their variance about their own mean.
    within = (n * variance + strength * within_above) / (free + strength)
    pooled = (n * mean + strength * above_mean) / (n + strength)
    return pooled, within * (1 + 1 / (n + strength))


@dataclass(frozen=True)
class _Cells:
    """Sums over the cells of a class, or of several, from which its strengths follow; [C] each.

    Attributes:
        free: degrees of freedom of the variances within cells.
        within: their summed squared deviations.
        between: summed squared deviations of the cells' means from the class's, by images.
        taken: of the within-cell variance, how often `between` holds it.
        size: of the variance between cells, how often `between` holds it.
    """

    free: Tensor
    within: Tensor
    between: Tensor
    taken: Tensor
    size: Tensor

    @staticmethod
    def of(prior: Prior, row: int) -> _Cells:
        """Of one class, each channel in units of the class's deviation."""
        n = prior.joint_count[row].flatten().double()
        at = n.nonzero().squeeze(1)
        n = n[at]
        unit = prior.class_std[row].double().clamp(min=1e-12)[:, None]
        mean = prior.joint_mean[row].flatten(1)[:, at].double() / unit
        squares = (prior.joint_std[row].flatten(1)[:, at].double() / unit).square() * n
        images = n.sum()
        free = (n - 1).sum()
        own = (mean * n).sum(1, keepdim=True) / images.clamp(min=1)
        every = torch.ones(len(unit), dtype=torch.float64)
        return _Cells(
            free=free * every,
            within=squares.sum(1),
            between=(n * (mean - own).square()).sum(1),
            taken=max(0, len(at) - 1) * every,
            size=(images - n.square().sum() / images.clamp(min=1)) * every,
        )

    def __add__(self, other: _Cells) -> _Cells:
        return _Cells(*(a + b for a, b in zip(self._sums(), other._sums(), strict=True)))

    def _sums(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def strength(self, of_all: _Cells) -> Tensor:
        """Within-cell variance over that between cells, as if the class had some more of all's.

        None of a class's own can be told where no cell has two images, and little where few have.
        """
        within_all = of_all.within / of_all.free.clamp(min=1)
        between_all = (of_all.between - of_all.taken * within_all) / of_all.size.clamp(min=1e-12)
        between_all = between_all.clamp(min=0)
        within = (self.within + BORROWED * within_all) / (self.free + BORROWED)
        # In images, as `size` is.
        more = BORROWED * (self.size / self.taken.clamp(min=1)).clamp(min=1)
        own = self.between - self.taken * within
        between = (own + more * between_all) / (self.size + more)
        found = (within / between.clamp(min=1e-300)).clamp(_LEAST, _MOST)
        return torch.where(between > 0, found, _MOST)


def _class_strength(prior: Prior) -> Tensor:
    """[C], of the spatial moments in those of a class: as for cells, with a class as a group.

    Images count as one value each, as in the paper's estimator; a class's mean is compared with the
    spatial one of the places where it is.
    """
    n = prior.class_image_count.double()[:, None]
    variance = prior.class_std.double().square()
    cells = prior.joint_count.flatten(1).double()
    there = (
        cells @ prior.spatial_mean.flatten(1).double().T / cells.sum(1, keepdim=True).clamp(min=1)
    )
    within = (n * variance).sum(0) / (n - 1).clamp(min=0).sum(0).clamp(min=1)
    between = (n * (prior.class_mean.double() - there).square() - within).sum(0)
    found = (within * n.sum(0) / between.clamp(min=1e-300)).clamp(_LEAST, _MOST)
    return torch.where((between > 0) & (within > 0), found, _MOST)
