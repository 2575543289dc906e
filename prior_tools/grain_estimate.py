"""Grain measured on latents and their labels, and averaged over several measurements."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .draw import prior_moments
from .errors import PriorError
from .grain import Grain, Torus, lags_of, shapes
from .labels.ids import check_integers
from .labels.regions import connected_regions
from .prior import Prior
from .region_estimate import RegionSums, average_factors, lost_with_means, without_regions

# Deviations below this part of the channel's own are rounding: half precision has 5e-4.
_LEAST_DEVIATION = 1e-3
# In deviations: a single cell that the prior knows nothing like counts as one that is rare.
_MOST_RESIDUAL = 5.0
# Of the largest variance in any direction of the channels.
_LEAST_VARIANCE = 1e-6
# From here to the grid's side a correlation goes over into what the image has as a whole.
_TAPER_FROM = 0.5
_SWEEPS, _SETTLED = 12, 1e-3
_ROUNDS = 12
# Latents are taken together up to so many numbers: of small ones each operation would take longest.
_NUMBERS = 2**18


def measure_grain(latents: Tensor, ids: Tensor, prior: Prior) -> Grain | None:
    """The grain of latents [N, C, h, w] in raw VAE units, with class ids [N, h, w] on their grid.

    Residuals are (z - m) / s with the moments that a joint draw takes, or a spatial one of images
    alone. Left out are cells without a deviation, or with one of rounding's size, and those whose
    class was seen there in one image: it is then the mean itself. Ids that the prior does not hold
    (-1, ignored ones) have the spatial moments, as in a draw. Residuals beyond 5 deviations count
    as 5. None where no cell is left, as in a prior of one image.

    First what the cells of a region have in common is measured (see `RegionSums`), and the region's
    mean taken away; of the rest the correlation, with what small regions lose by that.

    The correlation at a lag is the mean product of all pairs of cells that are so far apart and
    both known. From half of the grid's side on it goes over into the mean of all such distant
    pairs, which is what an image has as a whole, such as its light. Correlations of different
    channels at a lag are taken for the same in both directions, and fields for independent once
    the channels are turned so that what they share is least (joint diagonalization: Cardoso and
    Souloumiac, 1996). What no field can have, because it has a power below zero, is taken out.

    Raises PriorError for tensors of another shape or type, or values that are not finite.

    >>> measured = measure_grain(torch.randn(2, 3, 2, 4), labels.repeat(2, 1, 1), prior)
    >>> measured.channels, measured.grid
    (3, (2, 4))
    """
    _check(latents, ids, prior)
    channels = prior.latent_channels
    left, regions = _Sums(channels), RegionSums(len(prior.class_ids), channels)
    varies = False
    for seen in _residuals(latents, ids, prior):
        varies |= bool(seen[0].any())
        left.add(*regions.add(*seen))
    if not varies:
        return None
    scale = left.deviations()
    basis = _Basis.of(left.covariance / scale[:, None] / scale)

    lags = lags_of(prior.grid, channels)
    torus = Torus(prior.grid, prior.grid, lags)
    spectrum_size = (torus.size[0], torus.size[1] // 2 + 1)
    count = len(basis.whitening)
    together = torch.zeros(count, count, *spectrum_size)
    alone = torch.zeros(channels if channels > count else 0, *spectrum_size)
    pairs = torch.zeros(spectrum_size)
    whitening = (basis.whitening / scale).float()
    lost = torch.zeros(torus.size, dtype=torch.float64)
    for seen in _residuals(latents, ids, prior):
        residual, known = without_regions(*seen)
        lost += lost_with_means(*seen[1:], torus.size)
        turned = torch.einsum("kc,nchw->nkhw", whitening, residual)
        turned = torch.fft.rfft2(turned, torus.size).movedim(1, 0)
        for first in range(count):
            together[first, first:] += (turned[first].conj() * turned[first:]).real.sum(1)
        if len(alone):
            own = torch.fft.rfft2(residual / scale.float()[:, None, None], torus.size)
            alone += own.abs().square().sum(0)
        pairs += torch.fft.rfft2(known.float(), torus.size).abs().square().sum(0)

    averaging = _Averaging(torus, lags, pairs)
    # Of white noise in the channels' covariance.
    lost = averaging.of_lags(lost)
    in_cell = basis.whitening @ (left.covariance / scale[:, None] / scale) @ basis.whitening.T
    lagged = in_cell[:, :, None, None] * lost
    for first in range(count):
        for other in range(first, count):
            lagged[first, other] += averaging(together[first, other])
            lagged[other, first] = lagged[first, other]
    far = averaging.far(lagged)
    values, vectors = torch.linalg.eigh(far)
    far = (vectors * values.clamp(0, 1)) @ vectors.T
    lagged = averaging.tapered(lagged, far)
    own = torch.stack([averaging(power) for power in alone]) if len(alone) else None
    if own is not None:
        own += (left.covariance.diagonal() / scale.square())[:, None, None] * lost
        own = averaging.tapered(own, averaging.far(own).clamp(0, 1))
    return _assembled(prior.grid, basis, lagged, own, regions.factors())


class _Sums:
    """Of products of an image's channels in a cell, over all known cells."""

    def __init__(self, channels: int) -> None:
        self.products, self.cells = torch.zeros(channels, channels, dtype=torch.float64), 0

    def add(self, residual: Tensor, known: Tensor) -> None:
        """residual: [N, C, h, w], 0 where not known."""
        flat = residual.movedim(1, 0).flatten(1).double()
        self.products += flat @ flat.T
        self.cells += int(known.sum())

    @property
    def covariance(self) -> Tensor:
        """[C, C]."""
        return self.products / max(self.cells, 1)

    def deviations(self) -> Tensor:
        """[C], 1 where there is none."""
        found = self.covariance.diagonal().clamp(min=0).sqrt()
        return torch.where(found > 0, found, 1)


def average_grains(priors: Sequence[Prior], class_ids: Tensor) -> Grain | None:
    """The grain of the images of several priors together; None where none of them has any.

    Correlations are averaged by the number of images, at each lag; covariances of a class's regions
    by the number of images that hold it. Priors without grain are left out.

    class_ids: of all of them, ascending. Raises PriorError for different channels or grids.
    """
    known = [(prior, prior.grain) for prior in priors if prior.grain is not None]
    if not known:
        return None
    grains = [(grain, prior.num_images) for prior, grain in known]
    kinds = {(grain.channels, grain.grid) for grain, _ in grains}
    if len(kinds) != 1:
        raise PriorError(
            f"grains of {len(kinds)} numbers of channels and grids are given; expected one"
        )
    parts = [(prior.class_ids, grain.regions, prior.class_image_count) for prior, grain in known]
    regions = average_factors(parts, class_ids)
    if len(grains) == 1:
        return replace(grains[0][0], regions=regions)
    ((channels, grid),) = kinds
    total = sum(images for _, images in grains)
    _, (_, *lags) = shapes(grid, channels)
    average = torch.zeros(channels, channels, math.prod(lags), dtype=torch.float64)
    for grain, images in grains:
        fields = grain.correlation.double().flatten(1)
        mixing = grain.mixing.double()
        count = mixing.shape[1]
        for channel in range(channels):
            average[channel] += images / total * ((mixing * mixing[channel]) @ fields[:count])
        if len(fields) > count:
            left = (1 - mixing.square().sum(1)).clamp(min=0)[:, None]
            average.diagonal().add_((images / total * left * fields[count:]).T)
    basis = _Basis.of(average[..., lags[1] // 2])
    turned = torch.einsum("kc,cdl,jd->kjl", basis.whitening, average, basis.whitening)
    own = average.diagonal().T.unflatten(1, lags) if channels > len(basis.whitening) else None
    return _assembled(grid, basis, turned.unflatten(2, lags), own, regions)


@dataclass(frozen=True)
class _Basis:
    """The directions of most variance of channels that are scaled to a variance of 1.

    Attributes:
        mixing: [C, K], deviations along the directions.
        whitening: [K, C], from channels to directions of variance 1; 0 where there is none.
    """

    mixing: Tensor
    whitening: Tensor

    @staticmethod
    def of(correlation: Tensor) -> _Basis:
        """Of channels' correlation [C, C] in a cell, whose diagonal is 1, or 0 of a dead one."""
        correlation = correlation.clone()
        correlation.diagonal().fill_(1)
        count = shapes((1, 1), len(correlation))[0][1]
        values, vectors = torch.linalg.eigh(correlation)
        values, vectors = values[-count:].flip(0), vectors[:, -count:].flip(1)
        values = torch.where(values > _LEAST_VARIANCE * values[0], values, 0)
        inverse = torch.where(values > 0, values, 1).rsqrt() * (values > 0)
        return _Basis(vectors * values.sqrt(), inverse[:, None] * vectors.T)


class _Averaging:
    """From sums of products at each lag on a torus to mean products at the stored lags."""

    def __init__(
        self, torus: Torus, lags: tuple[Sequence[int], Sequence[int]], power: Tensor
    ) -> None:
        """power: of the known cells, 1 each."""
        self._torus = torus
        # Numbers of pairs, so whole ones.
        self._pairs = self._sums(torus.correlation(power.double())).round()
        down, across = (torch.tensor(known, dtype=torch.float64) / known[-1] for known in lags)
        across = torch.cat([across[1:].flip(0), across])
        self._taper = _taper(down)[:, None] * _taper(across) * (self._pairs > 0)
        far = (down[:, None] > _TAPER_FROM) | (across.abs() > _TAPER_FROM)
        # Lags down stand for those upwards as well.
        self._far = self._pairs * far * torch.where(down > 0, 2, 1)[:, None]

    def __call__(self, power: Tensor) -> Tensor:
        """[Ty, Tx // 2 + 1], summed over images, to [Y, 2 * X - 1]."""
        return self.of_lags(self._torus.correlation(power.double()))

    def of_lags(self, sums: Tensor) -> Tensor:
        """[Ty, Tx], summed over images, by the lag on the torus, to [Y, 2 * X - 1]."""
        return self._sums(sums) / self._pairs.clamp(min=1)

    def far(self, products: Tensor) -> Tensor:
        """Means of products [..., Y, 2 * X - 1] over all pairs that lie far apart."""
        return (products * self._far).sum((-2, -1)) / self._far.sum().clamp(min=1)

    def tapered(self, products: Tensor, far: Tensor) -> Tensor:
        """Products [..., Y, 2 * X - 1] that become those `far` [...] towards the last lags.

        So they are where no pair lies so far apart.
        """
        far = far[..., None, None]
        return far + (products - far) * self._taper

    def _sums(self, over: Tensor) -> Tensor:
        sums = self._torus.at_lags(over)
        return sums[len(sums) // 2 :]


def _taper(part: Tensor) -> Tensor:
    """Weight of a correlation at lags that are such parts of the grid's side."""
    beyond = ((part.abs() - _TAPER_FROM) / (1 - _TAPER_FROM)).clamp(0, 1)
    return (beyond * math.pi / 2).cos().square()


def _assembled(
    grid: tuple[int, int], basis: _Basis, lagged: Tensor, own: Tensor | None, regions: Tensor
) -> Grain:
    """A grain from what was measured.

    Args:
        grid: of the lags.
        basis: of the channels, K directions.
        lagged: float64 [K, K, Y, 2 * X - 1], mean products of directions.
        own: [C, Y, 2 * X - 1], of each channel with itself; None where the directions are all.
        regions: of the grain, as they are.
    """
    turn = _joint_diagonalization(lagged.flatten(2))
    mixing = basis.mixing @ turn
    fields = torch.einsum("ik,ij...,jk->k...", turn, lagged, turn)
    if own is not None:
        left = own - torch.einsum("ck,k...->c...", mixing.square(), fields)
        fields = torch.cat([fields, left])
    # A channel's squares sum to 1 but for rounding, or less where other directions have their part.
    squares = mixing.square().sum(1, keepdim=True)
    mixing = mixing / (squares if own is None else squares.clamp(min=1)).sqrt()
    torus = Torus(grid, grid, lags_of(grid, len(mixing)))
    settled = torch.stack([_settled(field.float(), torus) for field in fields])
    return Grain(grid, mixing.float(), settled, regions)


def _joint_diagonalization(matrices: Tensor) -> Tensor:
    """The rotation [K, K] by which symmetric matrices [K, K, M] have least beside their diagonals.

    By turning two axes at a time, until no turn is worth while.
    """
    matrices, size = matrices.clone(), len(matrices)
    turn = torch.eye(size, dtype=matrices.dtype)
    for _ in range(_SWEEPS):
        largest = 0.0
        for p in range(size):
            for q in range(p + 1, size):
                difference, shared = matrices[p, p] - matrices[q, q], 2 * matrices[p, q]
                # Four times the turn that leaves least of `shared`.
                a = float((difference.square() - shared.square()).sum())
                b = float(2 * (difference * shared).sum())
                angle = math.atan2(b, a) / 4 if a or b else 0.0
                largest = max(largest, abs(angle))
                if abs(angle) < _SETTLED / 10:
                    continue
                c, s = math.cos(angle), math.sin(angle)
                plane = matrices.new_tensor([[c, s], [-s, c]])
                both = [p, q]
                matrices[both] = torch.einsum("ab,b...->a...", plane, matrices[both])
                matrices[:, both] = torch.einsum("ab,cb...->ca...", plane, matrices[:, both])
                turn[:, both] = turn[:, both] @ plane.T
        if largest < _SETTLED:
            break
    return turn


def _settled(correlation: Tensor, torus: Torus) -> Tensor:
    """The correlation [Y, 2 * X - 1] at the lags of fields that are drawn by it, again and again.

    So what is stored is what is drawn. White where there is no variance.
    """
    middle = correlation.shape[1] // 2
    white = torch.zeros_like(correlation)
    white[0, middle] = 1
    if not correlation[0, middle] > _LEAST_VARIANCE:
        return white
    correlation = (correlation / correlation[0, middle]).clamp(-1, 1)
    for _ in range(_ROUNDS):
        drawn = torus.sampled(torus.correlation(torus.power(correlation)))
        moved = float((drawn - correlation).abs().max())
        correlation = drawn
        if moved < _SETTLED:
            break
    return correlation


def _residuals(
    latents: Tensor, ids: Tensor, prior: Prior
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of some images each, what `RegionSums.add` takes, with residuals float32 [n, C, h, w]."""
    usual = prior.spatial_std.double().square().mean((1, 2)).sqrt().float()
    least = (_LEAST_DEVIATION * usual)[:, None, None]
    mode = "joint" if prior.labelled else "spatial"
    images = max(1, _NUMBERS // (prior.latent_channels * math.prod(prior.grid)))
    for start in range(0, len(latents), images):
        some, labels = (each[start : start + images] for each in (latents, ids))
        mean, std = prior_moments(prior, labels, mode)
        rows = prior.rows_of(labels)
        varies = std > least
        known = varies.any(1)
        if len(prior.class_ids):
            count = prior.joint_count.flatten(1).gather(0, rows.clamp(min=0).flatten(1))
            known &= (rows < 0) | (count.view(rows.shape) != 1)
        inverse = torch.where(varies, std, 1).reciprocal() * (varies & known[:, None])
        residual = (some.to("cpu", torch.float32) - mean) * inverse
        residual = residual.clamp_(-_MOST_RESIDUAL, _MOST_RESIDUAL)
        yield residual, known, rows, connected_regions(rows)


def _check(latents: Tensor, ids: Tensor, prior: Prior) -> None:
    shape = (len(latents), prior.latent_channels, *prior.grid)
    if latents.ndim != 4 or tuple(latents.shape) != shape or not latents.is_floating_point():
        raise PriorError(
            f"latents are {latents.dtype} of shape {tuple(latents.shape)}; expected floats "
            f"[N, {', '.join(map(str, shape[1:]))}], as the prior's"
        )
    check_integers(ids)
    if tuple(ids.shape) != (shape[0], *shape[2:]):
        raise PriorError(
            f"class ids have shape {tuple(ids.shape)}; expected a map of {shape[2:]} for each of "
            f"{shape[0]} latents"
        )
    if not all(latent.isfinite().all() for latent in latents):
        raise PriorError("latents hold NaN or infinity; the VAE that encoded them is at fault")
