"""The clean latent that sampling starts from: x0 = m + s * eps, looked up by label and place."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .errors import PriorError
from .prior import Prior

PRIOR_MODES = ("joint", "spatial", "categorical", "mixture", "normal")
FALLBACKS = ("spatial", "categorical")


@dataclass(frozen=True)
class Moments:
    """Mean and deviation, of one shape."""

    mean: Tensor
    std: Tensor

    def repeated(self, count: int) -> Moments:
        """[C, h, w] to [count, C, h, w]."""
        return Moments(*(m.repeat(count, 1, 1, 1) for m in (self.mean, self.std)))

    def where(self, condition: Tensor, other: Moments) -> Moments:
        """These where the condition holds, the other ones elsewhere."""
        return Moments(
            torch.where(condition, self.mean, other.mean),
            torch.where(condition, self.std, other.std),
        )


def draw_prior_sample(
    prior: Prior,
    labels: Tensor,
    mode: str = "joint",
    seed: int = 0,
    deviation: float = 1.0,
    fallback: str = "spatial",
    mix: float = 0.5,
    batch_index: Sequence[int] | None = None,
) -> Tensor:
    """A latent per label map, drawn from the prior: m + deviation * s * eps, eps ~ N(0, 1).

    Args:
        prior: K classes, C channels.
        labels: class ids [N, h, w] on the grid of the wanted latent, -1 = unknown. Where that is
            not the prior's grid, the prior's maps are interpolated to it (see `prior_moments`).
        mode: "joint", "spatial", "categorical", "mixture" of the last two, or "normal": all zero,
            which samplers take as the plain N(0, 1) start.
        seed: of eps, 0 <= seed < 2**64. The stream is independent of the one that a sampler draws
            from the same seed, and torch's global generator is left alone.
        deviation: factor on s; 0 gives the mean itself.
        fallback: what a joint draw takes where the class was never seen at the cell: "spatial"
            (as the paper) or "categorical". A class that was never seen at all is spatial.
        mix: share of the spatial prior in a mixture.
        batch_index: draw for image i what image batch_index[i] of a full batch would get.

    Returns:
        float32 [N, C, h, w] in raw VAE units on the CPU; the same on every device. Never NaN.

    Raises PriorError for a deviation that is negative or not finite, and as `prior_moments` does.

    >>> two = draw_prior_sample(prior, labels.repeat(2, 1, 1), seed=7)
    >>> two.shape
    torch.Size([2, 3, 2, 4])
    >>> second = draw_prior_sample(prior, labels, seed=7, batch_index=[1])
    >>> torch.equal(second[0], two[1])
    True
    """
    if not 0 <= deviation < math.inf:
        raise PriorError(f"deviation is {deviation}; expected a finite factor, 0 or more")
    mean, std = prior_moments(prior, labels, mode, fallback, mix)
    if mode == "normal" or deviation == 0:
        return mean
    indices = range(len(mean)) if batch_index is None else [int(i) for i in batch_index]
    if len(indices) != len(mean):
        raise PriorError(f"batch_index has {len(indices)} entries for {len(mean)} label maps")
    return mean + deviation * std * _noise(mean.shape[1:], int(seed), indices)


def prior_moments(
    prior: Prior, labels: Tensor, mode: str = "joint", fallback: str = "spatial", mix: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Mean and deviation [N, C, h, w] of the draw for labels [N, h, w].

    Where a joint cell was seen once its deviation is the class's, and where the class was seen in
    one image only, the cell's over all images: a single value has no spread of its own. On another
    grid than the prior's, cells that a class never had are filled with the fallback first, then
    mean and second moment are brought to the new grid (see `resize_moments`).

    >>> mean, std = prior_moments(prior, torch.full((1, 2, 4), 0))
    >>> mean[0, 0]  # the sky's above; of all classes below, where no sky was seen
    tensor([[0.7000, 0.7000, 0.7000, 0.7000],
            [0.6000, 0.3000, 0.3000, 0.3000]])
    """
    if mode not in PRIOR_MODES:
        raise PriorError(f"mode is {mode!r}; expected one of {', '.join(PRIOR_MODES)}")
    if fallback not in FALLBACKS:
        raise PriorError(f"fallback is {fallback!r}; expected one of {', '.join(FALLBACKS)}")
    if not 0 <= mix <= 1:
        raise PriorError(f"mix is {mix}; expected the spatial prior's share, 0..1")
    _check_labels(labels)
    grid = (labels.shape[1], labels.shape[2])
    if mode == "normal":
        zeros = torch.zeros(len(labels), prior.latent_channels, *grid)
        return zeros, zeros.clone()

    rows = prior.rows_of(labels)
    spatial = Moments(*resize_moments(prior.spatial_mean, prior.spatial_std, grid))
    if mode == "spatial" or len(prior.class_ids) == 0:
        everywhere = spatial.repeated(len(labels))
        return everywhere.mean, everywhere.std
    if mode == "joint":
        drawn = _joint(prior, rows, spatial, grid, fallback)
    else:
        drawn = _categorical(prior, rows, spatial)
        if mode == "mixture":
            drawn = _mixture(spatial, drawn, mix)
    known = (rows >= 0).unsqueeze(1)
    drawn = drawn.where(known, spatial)
    return drawn.mean, drawn.std


def resize_moments(mean: Tensor, std: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean and deviation maps [..., C, h, w] brought to `grid`.

    Mean and second moment are averaged by area along an axis that shrinks and interpolated linearly
    (align_corners=False) along one that grows: a new cell is a mixture of the old ones that it
    covers or lies between, and its deviation includes the differences of their means.
    """
    old = tuple(mean.shape[-2:])
    if old == tuple(grid):
        return mean, std
    # Float64, since the variance is a difference of squares that may both be large.
    first = mean.double()
    second = std.double().square() + first.square()
    rows, columns = (_resizing(a, b) for a, b in zip(old, grid, strict=True))
    first, second = (rows @ moment @ columns.T for moment in (first, second))
    return first.float(), (second - first.square()).clamp(min=0).sqrt().float()


def _resizing(old: int, new: int) -> Tensor:
    """Weights float64 [new, old] of the old cells in each new one; each row sums to 1."""
    if new >= old:
        unit = torch.eye(old, dtype=torch.float64)[None]
        return interpolate(unit, size=new, mode="linear", align_corners=False)[0].T
    edge = torch.arange(new + 1, dtype=torch.float64)[:, None] * old / new
    cell = torch.arange(old, dtype=torch.float64)
    covered = torch.minimum(edge[1:], cell + 1) - torch.maximum(edge[:-1], cell)
    return covered.clamp(min=0) * new / old


@dataclass(frozen=True)
class Coverage:
    """How much of label maps a prior knows.

    Attributes:
        unknown: fraction of cells labelled -1 or with an id that the statistics ignored.
        unseen: fraction of cells of classes that the prior does not hold.
        unseen_ids: those classes.
        empty: fraction of cells whose class was never seen at that place (same grid only).

    >>> found = coverage(prior, torch.full((1, 2, 4), 5))
    >>> found.unseen, [prior.class_name(i) for i in found.unseen_ids]
    (1.0, ['tree'])
    """

    unknown: float
    unseen: float
    unseen_ids: tuple[int, ...]
    empty: float


def coverage(prior: Prior, labels: Tensor) -> Coverage:
    """What of labels [N, h, w] a joint draw has to take from its fallbacks.

    Raises PriorError for labels of another shape, or that are no integers.

    >>> coverage(prior, torch.tensor([[[0, 0, 0, -1], [3, 3, 5, 8]]]))
    Coverage(unknown=0.125, unseen=0.125, unseen_ids=(5,), empty=0.125)
    """
    _check_labels(labels)
    rows = prior.rows_of(labels)
    unknown = (labels < 0) | torch.isin(
        labels, torch.tensor(prior.metadata.ignore_ids, dtype=torch.int64)
    )
    unseen = ~unknown & (rows < 0)
    empty = 0.0
    if tuple(labels.shape[1:]) == prior.grid and len(prior.class_ids):
        counts = prior.joint_count.flatten(1).gather(0, rows.clamp(min=0).flatten(1))
        empty = float(((counts == 0) & (rows.flatten(1) >= 0)).double().mean())
    return Coverage(
        unknown=float(unknown.double().mean()),
        unseen=float(unseen.double().mean()),
        unseen_ids=tuple(labels[unseen].unique().tolist()),
        empty=empty,
    )


def _check_labels(labels: Tensor) -> None:
    wrong = labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool
    if labels.ndim != 3 or labels.numel() == 0 or wrong:
        raise PriorError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected integer class "
            "ids [N, h, w] on the latent grid (see resize_labels)"
        )


def _joint(
    prior: Prior, rows: Tensor, spatial: Moments, grid: tuple[int, int], fallback: str
) -> Moments:
    """Moments by class and cell for rows [N, h, w]; cells with row -1 are arbitrary."""
    if grid == prior.grid:
        by_class = _categorical(prior, rows, spatial)
        count = _pick(prior.joint_count.unsqueeze(1), rows)
        std = torch.where(count >= 2, _pick(prior.joint_std, rows), by_class.std)
        other = spatial if fallback == "spatial" else by_class
        return Moments(_pick(prior.joint_mean, rows), std).where(count > 0, other)
    present = rows[rows >= 0].unique()
    if len(present) == 0:
        return spatial.repeated(len(rows))
    # [P, C, h, w]: the maps of the classes present, complete before anything is interpolated.
    spatial = Moments(prior.spatial_mean, prior.spatial_std)
    by_class = _class_maps(prior, present, spatial)
    count = prior.joint_count[present].unsqueeze(1)
    joint = Moments(
        prior.joint_mean[present],
        torch.where(count >= 2, prior.joint_std[present], by_class.std),
    )
    maps = joint.where(count > 0, spatial if fallback == "spatial" else by_class)
    mean, std = resize_moments(maps.mean, maps.std, grid)
    position = torch.full((len(prior.class_ids) + 1,), -1)
    position[present] = torch.arange(len(present))
    return Moments(_pick(mean, position[rows]), _pick(std, position[rows]))


def _pick(maps: Tensor, rows: Tensor) -> Tensor:
    """From maps [K, C, h, w] at each cell that of rows [N, h, w]; of map 0 where that is -1."""
    at = rows.clamp(min=0).unsqueeze(1).expand(-1, maps.shape[1], -1, -1)
    return maps.gather(0, at)


def _class_maps(prior: Prior, present: Tensor, spatial: Moments) -> Moments:
    """Categorical moments [P, C, 1, 1] with the spatial deviation where a class has one image."""
    single = (prior.class_image_count[present] < 2)[:, None, None, None]
    std = prior.class_std[present][..., None, None]
    return Moments(
        prior.class_mean[present][..., None, None], torch.where(single, spatial.std, std)
    )


def _categorical(prior: Prior, rows: Tensor, spatial: Moments) -> Moments:
    """Moments by class for rows [N, h, w]; cells with row -1 are arbitrary."""
    at = rows.clamp(min=0)
    single = (prior.class_image_count < 2)[at].unsqueeze(1)
    mean, std = (m[at].movedim(-1, 1) for m in (prior.class_mean, prior.class_std))
    return Moments(mean, torch.where(single, spatial.std, std))


def _mixture(spatial: Moments, categorical: Moments, mix: float) -> Moments:
    """Mean and deviation of a draw that is spatial with probability `mix`, else categorical."""
    mean = mix * spatial.mean + (1 - mix) * categorical.mean
    variance = mix * (spatial.std.square() + (spatial.mean - mean).square()) + (1 - mix) * (
        categorical.std.square() + (categorical.mean - mean).square()
    )
    return Moments(mean, variance.sqrt())


def _noise(shape: Sequence[int], seed: int, indices: Sequence[int]) -> Tensor:
    """Standard normal [len(indices), *shape]; equal indices give equal noise."""
    generator = torch.Generator("cpu")

    def one(index: int) -> Tensor:
        # A sampler seeds its generator with the bare number. A digest of seed and index gives a
        # stream that has nothing in common with it, and a later image without the earlier ones.
        digest = hashlib.sha256(f"scp-diff prior draw {seed} {index}".encode()).digest()
        generator.manual_seed(int.from_bytes(digest[:8], "little"))
        return torch.randn(*shape, generator=generator)

    drawn = {index: one(index) for index in dict.fromkeys(indices)}
    return torch.stack([drawn[index] for index in indices])
