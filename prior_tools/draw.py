"""The clean latent that sampling starts from: x0 = m + s * eps, looked up by label and place."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import PriorError
from .grain import Grain
from .labels.soft import SoftLabels
from .memory import check_memory
from .prior import Prior

PRIOR_MODES = ("joint", "spatial", "categorical", "mixture", "normal")
_WITHOUT_CLASSES = ("spatial", "normal")
FALLBACKS = ("spatial", "categorical")
NOISES = ("grain", "white")
# Of noise with grain, where `deviation` is 1: so much of what a region's cells have in common, and
# of what that leaves, as measured best.
REGION_STRENGTH, GRAIN_STRENGTH = 1.5, 0.6
# Label maps are looked up together up to so many cells: of small ones each operation would take
# longest.
_CELLS = 2**16


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
    noise: str = "grain",
) -> Tensor:
    """A latent per label map, drawn from the prior: m + deviation * s * eps.

    White noise is standard normal and independent in each cell and channel, as in the paper. Grain
    has two parts, as the dataset's own residuals have: an offset that all cells of a region have in
    common, so that one house is red and the next one grey, of REGION_STRENGTH; and of what that
    leaves a field that is correlated over channels and space, of GRAIN_STRENGTH. Modes "spatial"
    and "normal" know no regions.

    Args:
        prior: K classes, C channels.
        labels: class ids [N, h, w] on the grid of the wanted latent, -1 = unknown. Where that is
            not the prior's grid, the prior's maps are interpolated to it (see `prior_moments`). Of
            a prior of images alone their shape counts: torch.full((N, h, w), -1) will do.
        mode: "joint", "spatial", "categorical", "mixture" of the last two, or "normal": all zero,
            which samplers take as the plain N(0, 1) start.
        seed: of eps, 0 <= seed < 2**64. The stream is independent of the one that a sampler draws
            from the same seed, and torch's global generator is left alone.
        deviation: factor on s, for either noise; 0 gives the mean itself.
        fallback: what a joint draw takes where the class was never seen at the cell: "spatial"
            (as the paper) or "categorical". A class that was never seen at all is spatial.
        mix: share of the spatial prior in a mixture.
        batch_index: draw for image i what image batch_index[i] of a full batch would get; equal
            entries share their noise.
        noise: "grain" or "white". A prior without grain draws white noise: see `noise_drawn`.

    Returns:
        float32 [N, C, h, w] in raw VAE units on the CPU; the same on every device. Never NaN.

    Raises PriorError for a deviation that is negative or not finite, for latents that would take
    most of the memory, and as `prior_moments` does.

    >>> two = draw_prior_sample(prior, labels.repeat(2, 1, 1), seed=7)
    >>> two.shape
    torch.Size([2, 3, 2, 4])
    >>> second = draw_prior_sample(prior, labels, seed=7, batch_index=[1])
    >>> torch.equal(second[0], two[1])
    True
    """
    if not 0 <= deviation < math.inf:
        raise PriorError(f"deviation is {deviation}; expected a finite factor, 0 or more")
    grain = prior.grain if noise_drawn(prior, noise) == "grain" else None
    _check_labels(labels)
    _check_size(prior.latent_channels, labels)
    mean, std = prior_moments(prior, labels, mode, fallback, mix)
    if mode == "normal" or deviation == 0:
        return mean
    indices = range(len(mean)) if batch_index is None else [int(i) for i in batch_index]
    if len(indices) != len(mean):
        raise PriorError(f"batch_index has {len(indices)} entries for {len(mean)} label maps")
    if grain is None:
        drawn = _white(mean.shape[1:], int(seed), indices)
    else:
        rows = prior.rows_of(labels)
        if mode in _WITHOUT_CLASSES:
            rows = torch.full_like(rows, -1)
        drawn = _grained(grain, rows, int(seed), indices)
    # In place: at large sizes each further copy is the largest thing here.
    return drawn.mul_(std.mul_(deviation)).add_(mean)


def noise_drawn(prior: Prior, noise: str) -> str:
    """The noise that a draw has where `noise` is asked for: white from a prior without grain.

    Raises PriorError for another name.
    """
    if noise not in NOISES:
        raise PriorError(f"noise is {noise!r}; expected one of {', '.join(NOISES)}")
    return "white" if prior.grain is None else noise


def prior_moments(
    prior: Prior, labels: Tensor, mode: str = "joint", fallback: str = "spatial", mix: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Mean and deviation [N, C, h, w] of the draw for labels [N, h, w].

    Where a joint cell was seen once its deviation is the class's, and where the class was seen in
    one image only, the cell's over all images: a single value has no spread of its own. On another
    grid than the prior's, cells that a class never had are filled with the fallback first, then
    mean and second moment are brought to the new grid (see `resize_moments`). The memory taken
    beside the result is that of a few of its channels, whatever the number of classes.

    Raises PriorError for other modes, labels that are no integers of this shape, and modes that
    need classes where the prior is of images alone.

    >>> mean, std = prior_moments(prior, torch.full((1, 2, 4), 0))
    >>> mean[0, 0]  # the sky's above; of all classes below, where no sky was seen
    tensor([[0.7000, 0.7000, 0.7000, 0.7000],
            [0.6000, 0.3000, 0.3000, 0.3000]])
    """
    if mode not in PRIOR_MODES:
        raise PriorError(f"mode is {mode!r}; expected one of {', '.join(PRIOR_MODES)}")
    if not prior.labelled and mode not in _WITHOUT_CLASSES:
        raise PriorError(
            f"mode {mode} needs classes, and the prior was built from images alone, without label "
            "maps; choose mode spatial, or a prior that was built with label maps"
        )
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
        return drawn.mean, drawn.std
    drawn = _categorical(prior, rows, spatial)
    if mode == "mixture":
        drawn = _mixture(spatial, drawn, mix)
    known = (rows >= 0).unsqueeze(1)
    drawn = drawn.where(known, spatial)
    return drawn.mean, drawn.std


def soft_moments(prior: Prior, soft: SoftLabels) -> tuple[Tensor, Tensor]:
    """Mean and deviation [N, C, h, w] of a joint draw for soft labels [N, classes, h, w].

    A cell that several classes share has the moments of their mixture: its variance is that within
    each of them, and that of their means. What is unknown of it is spatial.

    >>> ids = torch.tensor([0, 3]).view(1, 2, 1, 1).expand(1, 2, 2, 4)  # half sky, half road
    >>> mean, std = soft_moments(prior, SoftLabels(ids, torch.full(ids.shape, 0.5)))
    """
    first = second = torch.zeros(())
    for ids, share in zip(soft.ids.unbind(1), soft.shares.unbind(1), strict=True):
        one, two = _raw(*prior_moments(prior, ids))
        first = first + share.unsqueeze(1) * one
        second = second + share.unsqueeze(1) * two
    return _from_raw(first, second)


def resize_moments(mean: Tensor, std: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean and deviation maps [..., C, h, w] brought to `grid`.

    Mean and second moment are averaged by area along an axis that shrinks and interpolated linearly
    (align_corners=False) along one that grows: a new cell is a mixture of the old ones that it
    covers or lies between, and its deviation includes the differences of their means.
    """
    old = (mean.shape[-2], mean.shape[-1])
    if old == tuple(grid):
        return mean, std
    resize = _Resizing(old, grid)
    resized = Moments(*(torch.empty(*mean.shape[:-2], *grid) for _ in range(2)))
    flat = (m.view(-1, *grid) for m in (resized.mean, resized.std))
    # Map by map, since all of them in float64 would take many times what comes out.
    for *into, one, spread in zip(
        *flat, mean.reshape(-1, *old), std.reshape(-1, *old), strict=True
    ):
        for target, moment in zip(into, resize(one, spread), strict=True):
            target.copy_(moment)
    return resized.mean, resized.std


class _Resizing:
    """Of maps [h, w] from one grid to another."""

    def __init__(self, old: tuple[int, int], new: tuple[int, int]) -> None:
        self.rows, self.columns = (_weights(a, b) for a, b in zip(old, new, strict=True))

    def __call__(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        return _from_raw(*(self.rows @ m @ self.columns.T for m in _raw(mean, std)))


def _raw(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """First and second moment, which may be averaged over cells.

    In float64, since the variance is a difference of squares that may both be large.
    """
    first = mean.double()
    return first, std.double().square() + first.square()


def _from_raw(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation, float32."""
    return first.float(), (second - first.square()).clamp(min=0).sqrt().float()


def _weights(old: int, new: int) -> Tensor:
    """Weights float64 [new, old] of the old cells in each new one; each row sums to 1."""
    if new >= old:
        weights = torch.zeros(new, old, dtype=torch.float64)
        for cells, share in _neighbors(old, new):
            weights[torch.arange(new), cells] += share
        return weights
    edge = torch.arange(new + 1, dtype=torch.float64)[:, None] * old / new
    cell = torch.arange(old, dtype=torch.float64)
    covered = torch.minimum(edge[1:], cell + 1) - torch.maximum(edge[:-1], cell)
    return covered.clamp(min=0) * new / old


def _neighbors(old: int, new: int) -> list[tuple[Tensor, Tensor]]:
    """For each of `new` cells, not fewer than the old, those that it lies between: [new] each.

    Pairs of the old cell's number and its weight; a pair without any weight is left out.
    """
    place = ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5).clamp(min=0)
    lower = place.floor()
    pairs = ((lower, 1 - (place - lower)), ((lower + 1).clamp(max=old - 1), place - lower))
    return [(cells.long(), share) for cells, share in pairs if share.any()]


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
    labels = labels.to("cpu")
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


def _check_size(channels: int, labels: Tensor) -> None:
    count, height, width = labels.shape
    # Mean, deviation and noise of each, the spatial mean and deviation; and of one channel what is
    # interpolated, in float64, or what is drawn on a torus of four to six times as many cells.
    latents = 4 * channels * (3 * count + 2)
    check_memory(
        height * width * (latents + 16 * count + 300),
        f"drawing {count} latents of {channels} channels on {width}x{height} cells",
        "take fewer or smaller label maps",
    )


def _joint(
    prior: Prior, rows: Tensor, spatial: Moments, grid: tuple[int, int], fallback: str
) -> Moments:
    """Moments by class and cell for rows [N, h, w], spatial where the row is -1.

    Each channel is looked up and interpolated for itself: what is needed at once then grows neither
    with classes nor with channels.
    """
    drawn = spatial.repeated(len(rows))
    if all(new >= old for old, new in zip(prior.grid, grid, strict=True)):
        fill = _looked_up if grid == prior.grid else _enlarged
        images = max(1, _CELLS // math.prod(grid))
        parts = (tensor.split(images) for tensor in (rows, drawn.mean, drawn.std))
        for some, mean, std in zip(*parts, strict=True):
            known, at = some >= 0, some.clamp(min=0)
            for channel in range(prior.latent_channels):
                found = fill(prior, channel, at, fallback)
                for target, moment in zip((mean[:, channel], std[:, channel]), found, strict=True):
                    target.copy_(torch.where(known, moment, target))
        return drawn
    resize = _Resizing(prior.grid, grid)
    places = _places(prior.grid)
    for row in rows[rows >= 0].unique():
        image, y, x = (rows == row).nonzero(as_tuple=True)
        for channel in range(prior.latent_channels):
            found = resize(*_seen(prior, channel, row, *places, fallback))
            for target, moment in zip((drawn.mean, drawn.std), found, strict=True):
                target[image, channel, y, x] = moment[y, x]
    return drawn


def _looked_up(prior: Prior, channel: int, rows: Tensor, fallback: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a channel for rows [n, h, w] on the prior's own grid."""
    return _seen(prior, channel, rows, *_places(prior.grid), fallback)


def _enlarged(prior: Prior, channel: int, rows: Tensor, fallback: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a channel for rows [n, h, w] on a grid of more cells each way.

    As if each class's map were interpolated and then looked up, but only what is looked up is.
    """
    above, beside = (_neighbors(a, b) for a, b in zip(prior.grid, rows.shape[1:], strict=True))
    first, second = (torch.zeros(rows.shape, dtype=torch.float64) for _ in range(2))
    for y, of_y in above:
        for x, of_x in beside:
            share = of_y[:, None] * of_x
            one, two = _raw(*_seen(prior, channel, rows, y[:, None], x, fallback))
            first.addcmul_(share, one)
            second.addcmul_(share, two)
    return _from_raw(first, second)


def _places(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Numbers of a grid's rows [h, 1] and columns [w], to index with."""
    return torch.arange(grid[0])[:, None], torch.arange(grid[1])


def _seen(
    prior: Prior, channel: int, rows: Tensor, y: Tensor, x: Tensor, fallback: str
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a channel for classes `rows` at the prior's cells (y, x).

    The three are of shapes that fit together; where a class was never seen, it is the fallback's.
    """
    count = prior.joint_count[rows, y, x]
    place = Moments(prior.spatial_mean[channel, y, x], prior.spatial_std[channel, y, x])
    of_class = Moments(
        prior.class_mean[rows, channel],
        torch.where(prior.class_image_count[rows] < 2, place.std, prior.class_std[rows, channel]),
    )
    joint = Moments(
        prior.joint_mean[rows, channel, y, x],
        torch.where(count >= 2, prior.joint_std[rows, channel, y, x], of_class.std),
    )
    found = joint.where(count > 0, place if fallback == "spatial" else of_class)
    return found.mean, found.std


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


def _white(shape: Sequence[int], seed: int, indices: Sequence[int]) -> Tensor:
    """Standard normal [len(indices), *shape]; equal indices give equal noise."""
    noise = torch.empty(len(indices), *shape)
    for image, index in enumerate(indices):
        first = indices.index(index)
        if first < image:
            noise[image] = noise[first]
        else:
            torch.randn(*shape, generator=_stream("draw", seed, index), out=noise[image])
    return noise


def _grained(grain: Grain, rows: Tensor, seed: int, indices: Sequence[int]) -> Tensor:
    """Noise with grain [N, C, h, w] for rows [N, h, w]; equal indices give equal fields."""
    distinct = list(dict.fromkeys(indices))
    grid = (rows.shape[1], rows.shape[2])
    drawn = grain.draw_each(grid, [_stream("grain", seed, index) for index in distinct])
    if len(distinct) < len(indices):
        drawn = drawn[[distinct.index(index) for index in indices]]
    for image, own, index in zip(drawn, rows, indices, strict=True):
        strengths = (GRAIN_STRENGTH, REGION_STRENGTH)
        grain.color_regions(image, own, _stream("regions", seed, index), strengths)
    return drawn


def _stream(kind: str, seed: int, index: int) -> torch.Generator:
    """Random numbers of one image.

    A sampler seeds its generator with the bare number. A digest of seed and index gives a stream
    that has nothing in common with it, and a later image without the earlier ones.
    """
    digest = hashlib.sha256(f"scp-diff prior {kind} {seed} {index}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little"))
