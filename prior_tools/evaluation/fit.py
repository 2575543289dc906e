"""How well a prior predicts latents of images that it has not seen: NLL, explained variance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..draw import prior_moments, soft_moments
from ..errors import PriorError
from ..held_out import HELD_OUT_MODES, KNOWS_NOTHING, ROUNDED, HeldOut, ModeFit
from ..labels.soft import SoftLabels
from ..pooled import pooled_prior
from ..prior import Prior
from .intervals import (
    DRAWS,
    FEWEST_UNITS,
    Bootstrap,
    Interval,
    bootstrap,
    bootstrap_weights,
)

# Deviations of less than this part of the channel's own count as that: two images that are equal at
# a cell by chance would else make a third infinitely unlikely.
LEAST_DEVIATION = 0.01

# Squared deviations against those expected: above it the images are of another kind. Those of other
# drives than the prior's, in CamVid, have 0.6.
MOST_SURPRISE = 2.0

_PAPERS = ("spatial", "categorical", "joint", "mixture")

# Means over the cells of an image, for each mode; after those of all modes comes the mean of the
# squared deviations from the prior's one mean.
_NLL, _SQUARED, _SURPRISE = range(3)


@dataclass(frozen=True)
class ClassFit:
    """Of the cells of one class, in all images.

    Attributes:
        class_id: -1 for cells of no class, or of one that the prior does not know.
        images, cells: number of those that have it.
        nll, explained: by mode, see `ModeFit`.
        nll_interval, explained_interval: by mode; None where few images have the class.
    """

    class_id: int
    images: int
    cells: int
    nll: dict[str, float]
    nll_interval: dict[str, tuple[float, float] | None]
    explained: dict[str, float]
    explained_interval: dict[str, tuple[float, float] | None]

    @property
    def best(self) -> str:
        """The mode of the least NLL; of equal ones, but for rounding, the first."""
        return min(self.nll, key=lambda mode: round(self.nll[mode], ROUNDED))


class FitSums:
    """Sums over images of which `figures` are made; memory grows by some kB with each.

    Those of each class are kept by image, too, since intervals are over images.
    """

    def __init__(self, prior: Prior) -> None:
        """PriorError for a prior of images alone."""
        if not prior.labelled:
            raise PriorError(
                "the prior was built from images alone, and figures compare modes that need "
                "classes; expected a prior that was built with label maps"
            )
        self._prior, self._pooled = prior, pooled_prior(prior)
        mean, std = prior.spatial_mean.double(), prior.spatial_std.double()
        self._mean = mean.mean((1, 2), keepdim=True)
        variance = (std.square() + (mean - self._mean).square()).mean((1, 2), keepdim=True)
        self._unit = variance.sqrt().clamp(min=1e-6)
        self._names: list[str] = []
        self._images: list[Tensor] = []
        # Of each class, and last of none: image -> sums over its cells there of each mode's NLL, of
        # each mode's squared errors, of ones, and of the squared deviations from the one mean.
        self._classes: list[dict[int, Tensor]] = [{} for _ in range(len(prior.class_ids) + 1)]

    def __len__(self) -> int:
        return len(self._names)

    def update(
        self, names: Sequence[str], latents: Tensor, labels: Tensor, soft: Sequence[SoftLabels]
    ) -> None:
        """Take in latents [N, C, h, w] in raw VAE units with labels [N, h, w] and soft labels.

        names: of the images. Raises PriorError where the grid is not the prior's.
        """
        shape = self._prior.latent_channels, *self._prior.grid
        if tuple(latents.shape[1:]) != shape:
            raise PriorError(
                f"the latents have shape {tuple(latents.shape)}; expected [N, C, h, w] = "
                f"{['N', *shape]}, as the prior's"
            )
        for image, name in enumerate(names):
            # One by one, so that memory is that of a few latents.
            one = slice(image, image + 1)
            self._update(name, latents[one].double(), labels[one], soft[image])

    def _update(self, name: str, latents: Tensor, labels: Tensor, soft: SoftLabels) -> None:
        moments = [prior_moments(self._prior, labels, mode) for mode in _PAPERS]
        moments.append(prior_moments(self._pooled, labels))
        moments.append(soft_moments(self._pooled, SoftLabels(soft.ids[None], soft.shares[None])))
        # Mean over channels of each cell's: [1, modes, 3, h, w].
        cells = torch.stack([self._of_cells(latents, *each) for each in moments], 1)
        around = ((latents - self._mean) / self._unit).square().mean(1)
        self._names.append(name)
        self._images.append(torch.cat([cells.mean((-2, -1)).flatten(), around.mean()[None]]))
        self._update_classes(cells, around, labels)

    def _of_cells(self, latents: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """[N, 3, h, w]: negative log-likelihood, squared error, and this by the expected one."""
        spread = (std.double() / self._unit).clamp(min=LEAST_DEVIATION)
        squared = ((latents - mean.double()) / self._unit).square()
        surprise = squared / spread.square()
        nll = 0.5 * math.log(2 * math.pi) + spread.log() + 0.5 * surprise
        return torch.stack([nll.mean(1), squared.mean(1), surprise.mean(1)], 1)

    def _update_classes(self, cells: Tensor, around: Tensor, labels: Tensor) -> None:
        # The last row is that of no class.
        rows = self._prior.rows_of(labels) % len(self._classes)
        by_cell = cells.movedim((0, 3, 4), (0, 1, 2))
        for row in rows.unique().tolist():
            here = rows == row
            sums = by_cell[here].sum(0)
            counts = torch.stack([here.sum(), around[here].sum()])
            of_image = torch.cat([sums[:, _NLL], sums[:, _SQUARED], counts])
            self._classes[row][len(self._names) - 1] = of_image

    def figures(self, draws: int = DRAWS, seed: int = 0) -> Fit:
        """What the images say; PriorError if there is none."""
        if not self._names:
            raise PriorError("no image was taken in, so there are no figures")
        means = torch.stack(self._images)

        def nll(total: Tensor) -> Tensor:
            return total[:, _NLL] / len(means)

        def explained(total: Tensor) -> Tensor:
            return 1 - total[:, _SQUARED] / total[:, -1].clamp(min=1e-12)

        def surprise(total: Tensor) -> Tensor:
            return total[:, _SURPRISE] / len(means)

        modes = {}
        for number, mode in enumerate(HELD_OUT_MODES):
            of_mode = torch.cat([means[:, 3 * number : 3 * number + 3], means[:, -1:]], 1)
            found = [
                bootstrap(figure, of_mode, self._names, draws, seed)
                for figure in (nll, explained, surprise)
            ]
            modes[mode] = (found[0], found[1], found[2])
        return Fit(modes, self._class_fits(draws, seed), len(means))

    def _class_fits(self, draws: int, seed: int) -> list[ClassFit]:
        weights = bootstrap_weights(len(self._names), draws, seed)
        ids = [*self._prior.class_ids.tolist(), -1]
        return [
            _class_fit(class_id, torch.stack([*found.values()]), weights[:, [*found]])
            for class_id, found in zip(ids, self._classes, strict=True)
            if found
        ]


def _class_fit(class_id: int, sums: Tensor, weights: Tensor) -> ClassFit:
    """Figures of a class by what was summed of each image that has it.

    sums: [N, 2 * modes + 2], see `FitSums`. weights: how often these are drawn again, [draws, N].
    """

    def figures(total: Tensor) -> list[Tensor]:
        nll, squared, cells, around = total.split([modes, modes, 1, 1], 1)
        return [nll / cells, 1 - squared / around.clamp(min=1e-12)]

    modes = len(HELD_OUT_MODES)
    total = sums.sum(0, keepdim=True)
    again = weights @ sums if len(sums) >= FEWEST_UNITS else sums[:0]
    # Some draws have no image of the class.
    again = again[again[:, -2] > 0]
    told: list[dict[str, Any]] = []
    for values, draws in zip(figures(total), figures(again), strict=True):
        found = [
            Bootstrap(float(value), (drawn,), (), len(sums))
            for value, drawn in zip(values[0], draws.T, strict=True)
        ]
        told.append(dict(zip(HELD_OUT_MODES, (f.value for f in found), strict=True)))
        intervals = (_pair(f.interval) for f in found)
        told.append(dict(zip(HELD_OUT_MODES, intervals, strict=True)))
    return ClassFit(class_id, len(sums), int(total[0, -2]), *told)


@dataclass(frozen=True)
class Fit:
    """Figures of each mode over images, and of each class.

    Attributes:
        modes: mode -> (NLL, explained variance, surprise), see `ModeFit`.
        classes: those that occur, ascending; cells of no class come last.
        images: number of images.
    """

    modes: dict[str, tuple[Bootstrap, Bootstrap, Bootstrap]]
    classes: list[ClassFit]
    images: int

    @property
    def held_out(self) -> HeldOut:
        """The figures as a prior's file holds them."""
        return HeldOut(
            self.images,
            {
                mode: ModeFit(
                    nll.value,
                    _pair(nll.interval),
                    explained.value,
                    _pair(explained.interval),
                    surprise.value,
                )
                for mode, (nll, explained, surprise) in self.modes.items()
            },
        )

    @property
    def verdict(self) -> str:
        """Which mode fits these images best, and whether that is clear."""
        nll = {mode: round(found[0].value, ROUNDED) for mode, found in self.modes.items()}
        first = self.held_out.best
        others = [mode for mode in nll if nll[mode] > nll[first]]
        if not others:
            return f"all modes predict these images alike: NLL {nll[first]:.3f}"
        second = min(others, key=nll.__getitem__)
        ahead = (self.modes[second][0] - self.modes[first][0]).interval
        clear = ahead is not None and ahead.low > 0
        by = "clearly" if clear else "not clearly"
        return (
            f"{first} predicts these images best, {by} better than {second}: NLL "
            f"{nll[first]:.3f} against {nll[second]:.3f}"
        )

    @property
    def fits(self) -> str:
        """Whether the prior is one of such images, by what it expects of its own."""
        nll, explained, surprise = self.modes[self.held_out.best]
        share, times = explained.value, surprise.value
        if nll.value >= KNOWS_NOTHING:
            return (
                f"this prior does not fit these images: one mean and deviation for all cells would "
                f"predict them as well (NLL {KNOWS_NOTHING:.3f}). Are they of the same VAE, "
                "palette, size and kind?"
            )
        told = f"it explains {share:.0%} of their variance, and their squared deviations are "
        told += f"{times:.2f} times what it expects"
        if times > MOST_SURPRISE:
            return f"this prior fits these images badly: {told}"
        return f"this prior fits these images: {told}"


def _pair(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else (interval.low, interval.high)
