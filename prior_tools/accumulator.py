"""One pass over a dataset's latents collects the spatial, the categorical and the joint prior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from .errors import PriorError
from .labels.ids import MAX_CLASS_ID
from .memory import check_memory
from .moments import MAX_IMAGES, MAX_VALUE, combine, deviation, grouped, to_float32
from .prior import Prior, PriorMetadata, check_told
from .whole_numbers import two_sides, whole, whole_numbers

MAX_CLASSES = 4096

_SPATIAL = ("spatial_mean", "spatial_m2")
_CLASS_ROWS = ("joint_n", "joint_mean", "joint_m2", "class_images", "class_mean", "class_m2")

_TOLD = {
    "latent_channels": "the latents",
    "grid": "the latents",
    "ignore_ids": "the accumulator, which has left those classes out",
}

_UNKNOWN = -1
_NEVER_SEEN = -2


class PriorAccumulator:
    """Streaming moments of latents [N, C, h, w] (raw VAE units) under label maps [N, h, w].

    All state is float64 on the CPU, where sums do not depend on a device's order of additions.
    Memory grows with the number of classes, never with the number of images: see `state_bytes`.
    Class ids (0..65535) are found as they come.

    Args:
        latent_channels: C.
        grid: (h, w) of the latents.
        ignore_ids: class ids that count as unknown; their cells enter the spatial moments only.

    Raises PriorError for numbers below 1, and for what is no whole number.

    >>> state = PriorAccumulator(latent_channels=4, grid=(1, 3), ignore_ids=(255,))
    >>> state.update(torch.full((2, 4, 1, 3), 0.5), torch.tensor([[[0, 0, 1]], [[0, 1, 255]]]))
    >>> state.finalize().joint_count.tolist()  # [K, h, w]: images that have the class there
    [[[2, 1, 0]], [[0, 1, 1]]]
    """

    def __init__(
        self, latent_channels: int, grid: tuple[int, int], ignore_ids: Iterable[int] = ()
    ) -> None:
        height, width = self.grid = two_sides(grid, "grid", "(h, w) in latent cells")
        self.latent_channels = whole(latent_channels, "latent_channels", 1)
        ignored = whole_numbers(ignore_ids, "an ignored id", -(2**31), 2**31)
        self.ignore_ids = tuple(sorted(set(ignored)))
        self.num_images = 0
        self.class_ids: list[int] = []

        channels, cells = self.latent_channels, height * width
        # Row of class id i at i + 1, so that the unknown id -1 has an entry too.
        self._row_of_id = torch.full((MAX_CLASS_ID + 2,), _NEVER_SEEN)
        for class_id in (-1, *self.ignore_ids):
            if -1 <= class_id <= MAX_CLASS_ID:
                self._row_of_id[class_id + 1] = _UNKNOWN
        self._spatial_mean = torch.zeros(cells, channels, dtype=torch.float64)
        self._spatial_m2 = torch.zeros_like(self._spatial_mean)
        # A row per class, in order of first appearance; the cells of a row lie side by side.
        self._joint_n = torch.zeros(0, cells, dtype=torch.float64)
        self._joint_mean = torch.zeros(0, cells, channels, dtype=torch.float64)
        self._joint_m2 = torch.zeros_like(self._joint_mean)
        self._class_images = torch.zeros(0, dtype=torch.float64)
        self._class_mean = torch.zeros(0, channels, dtype=torch.float64)
        self._class_m2 = torch.zeros_like(self._class_mean)

    def update(self, latents: Tensor, labels: Tensor) -> None:
        """Take in a batch: latents [N, C, h, w] in raw VAE units, labels [N, h, w] integer ids.

        A label of -1 is an unknown cell; a batch of no images changes nothing. Raises PriorError on
        other shapes, NaN or infinite latents, ids outside 0..65535, more than 4096 different ids,
        or classes whose moments would take most of the memory; the accumulator is then unchanged.

        >>> state = PriorAccumulator(latent_channels=3, grid=(2, 4))
        >>> state.update(latent, labels)
        >>> state.num_images, state.class_ids
        (1, [0, 3, 8])
        """
        latents = latents.detach().to("cpu").to(torch.float64)
        labels = labels.detach().to("cpu")
        self.check(latents, labels)
        if len(latents) == 0:
            return
        rows = self._rows(labels.to(torch.int64).flatten(1))
        values = latents.flatten(2).transpose(1, 2).contiguous()
        self._update_spatial(values)
        self._update_joint(values, rows)
        self._update_classes(values, rows)
        self.num_images += len(values)

    def merge(self, other: PriorAccumulator) -> PriorAccumulator:
        """Take in all that `other` has seen, as if its batches had been given here; returns self.

        Raises PriorError where channels, grids or ignore sets differ.

        >>> halves = [PriorAccumulator(1, (1, 1)) for _ in range(2)]
        >>> for half, value in zip(halves, (2.0, 4.0)):
        ...     half.update(torch.full((1, 1, 1, 1), value), torch.tensor([[[0]]]))
        >>> halves[0].merge(halves[1]).finalize().class_mean
        tensor([[3.]])
        """
        for name in ("latent_channels", "grid", "ignore_ids"):
            if getattr(self, name) != getattr(other, name):
                raise PriorError(
                    f"cannot merge: {name} is {getattr(self, name)} here"
                    f" and {getattr(other, name)} there"
                )
        if other.class_ids:
            rows = self._rows(torch.tensor([other.class_ids]))[0]
            n, self._joint_mean[rows], self._joint_m2[rows] = combine(
                self._joint_n[rows].unsqueeze(-1),
                self._joint_mean[rows],
                self._joint_m2[rows],
                other._joint_n.unsqueeze(-1),
                other._joint_mean,
                other._joint_m2,
            )
            self._joint_n[rows] = n.squeeze(-1)
            n, self._class_mean[rows], self._class_m2[rows] = combine(
                self._class_images[rows].unsqueeze(-1),
                self._class_mean[rows],
                self._class_m2[rows],
                other._class_images.unsqueeze(-1),
                other._class_mean,
                other._class_m2,
            )
            self._class_images[rows] = n.squeeze(-1)
        self._combine_spatial(other.num_images, other._spatial_mean, other._spatial_m2)
        self.num_images += other.num_images
        return self

    def finalize(self, **metadata: Any) -> Prior:
        """The prior of all that was taken in; `metadata` are fields of `PriorMetadata`.

        The order of updates and merges does not show in it (see `moments.to_float32`).

        Raises PriorError if no image was taken in, or more than a prior counts, for metadata that
        are none, or are told by the latents, and for classes where label_method None says that
        there were no label maps.

        >>> PriorAccumulator.from_prior(prior).finalize(palette="camvid").metadata.palette
        Palette('camvid', 12 colors)
        """
        check_told(metadata, _TOLD)
        if self.num_images == 0:
            raise PriorError("no image was taken in, so there is no prior")
        if self.num_images > MAX_IMAGES:
            raise PriorError(f"{self.num_images} images are more than a prior's {MAX_IMAGES}")
        if self.class_ids and metadata.get("label_method", "") is None:
            raise PriorError(
                f"label_method None says that there were no label maps, but {len(self.class_ids)} "
                "classes were taken in; give labels of -1"
            )
        order = torch.tensor(self.class_ids, dtype=torch.int64).argsort()
        class_ids = torch.tensor(self.class_ids, dtype=torch.int64)[order]
        joint_n, joint_mean = self._joint_n[order], self._joint_mean[order]
        joint_m2 = self._joint_m2[order]

        images = self._class_images[order]
        return Prior(
            class_ids=class_ids,
            joint_mean=self._as_maps(joint_mean),
            joint_std=self._as_maps(deviation(joint_n.unsqueeze(-1), joint_m2)),
            joint_count=joint_n.to(torch.int32).unflatten(-1, self.grid),
            spatial_mean=self._as_maps(self._spatial_mean),
            spatial_std=self._as_maps((self._spatial_m2 / self.num_images).sqrt()),
            class_mean=to_float32(self._class_mean[order]),
            class_std=to_float32(deviation(images.unsqueeze(-1), self._class_m2[order])),
            class_image_count=images.to(torch.int32),
            num_images=self.num_images,
            metadata=PriorMetadata(
                latent_channels=self.latent_channels,
                grid=self.grid,
                ignore_ids=self.ignore_ids,
                **metadata,
            ),
        )

    @classmethod
    def from_prior(cls, prior: Prior) -> PriorAccumulator:
        """The state that `prior` was finalized from, to its float32 precision.

        >>> state = PriorAccumulator.from_prior(prior)
        >>> state.update(latent, labels)  # of one more image
        >>> state.finalize().num_images
        3
        """
        state = cls(prior.metadata.latent_channels, prior.grid, prior.metadata.ignore_ids)
        state._rows(prior.class_ids[None])
        state.num_images = prior.num_images

        def as_cells(maps: Tensor) -> Tensor:
            return maps.double().flatten(-2).transpose(-1, -2).contiguous()

        state._spatial_mean = as_cells(prior.spatial_mean)
        state._spatial_m2 = as_cells(prior.spatial_std).square() * prior.num_images
        state._joint_n = prior.joint_count.flatten(1).double()
        state._joint_mean = as_cells(prior.joint_mean)
        state._joint_m2 = as_cells(prior.joint_std).square() * state._joint_n.unsqueeze(-1)
        state._class_images = prior.class_image_count.double()
        state._class_mean = prior.class_mean.double()
        state._class_m2 = prior.class_std.double().square() * state._class_images.unsqueeze(-1)
        return state

    def to_state(self) -> dict[str, Tensor]:
        """All of the state, exactly, as tensors by name; see `from_state`.

        >>> PriorAccumulator.from_prior(prior).to_state()["class_ids"]
        tensor([0, 3, 8])
        """
        return {
            "shape": torch.tensor([self.latent_channels, *self.grid, self.num_images]),
            "ignore_ids": torch.tensor(self.ignore_ids, dtype=torch.int64),
            "class_ids": torch.tensor(self.class_ids, dtype=torch.int64),
            **{name: getattr(self, f"_{name}").contiguous() for name in (*_SPATIAL, *_CLASS_ROWS)},
        }

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor]) -> PriorAccumulator:
        """The accumulator that `to_state` wrote; PriorError if the tensors do not fit together.

        >>> state = PriorAccumulator.from_prior(prior)
        >>> PriorAccumulator.from_state(state.to_state()).num_images
        2
        """
        channels, height, width, images = _entry(tensors, "shape", torch.int64, (4,)).tolist()
        ignored = _entry(tensors, "ignore_ids", torch.int64, (None,)).tolist()
        class_ids = _entry(tensors, "class_ids", torch.int64, (None,))
        # Before anything of this shape is allocated: a damaged file may ask for any size.
        _entry(tensors, "spatial_mean", torch.float64, (height * width, channels))
        state = cls(channels, (height, width), ignored)
        too_many = images > MAX_IMAGES or len(class_ids) > MAX_CLASSES
        if images < 0 or too_many or not state._takes_as_new(class_ids):
            raise PriorError(
                f"{images} images with class ids {class_ids.tolist()[:20]} are no state"
            )
        state.num_images = images
        # Rows in their old order: sums over rows then go on in the same order.
        state._row_of_id[class_ids + 1] = torch.arange(len(class_ids))
        state.class_ids = class_ids.tolist()
        for name in (*_SPATIAL, *_CLASS_ROWS):
            rows, *sides = getattr(state, f"_{name}").shape
            shape = (len(class_ids) if name in _CLASS_ROWS else rows, *sides)
            setattr(state, f"_{name}", _entry(tensors, name, torch.float64, shape).clone())
        counts = torch.cat([state._joint_n.flatten(), state._class_images])
        if (counts > images).any():
            raise PriorError(f"counts above the {images} images are no state")
        return state

    def _takes_as_new(self, class_ids: Tensor) -> bool:
        """Whether all of these ids are possible, different, not ignored and not here yet."""
        if len(class_ids) == 0:
            return True
        inside = int(class_ids.min()) >= 0 and int(class_ids.max()) <= MAX_CLASS_ID
        return (
            inside
            and len(class_ids.unique()) == len(class_ids)
            and bool((self._row_of_id[class_ids + 1] == _NEVER_SEEN).all())
        )

    def check(self, latents: Tensor, labels: Tensor) -> None:
        """Raise PriorError for a batch that `update` would not take in.

        >>> PriorAccumulator(latent_channels=3, grid=(2, 4)).check(latent, labels)
        """
        want = (self.latent_channels, *self.grid)
        if latents.ndim != 4 or latents.shape[1:] != want:
            raise PriorError(
                f"latents have shape {tuple(latents.shape)}; expected [N, C, h, w] = [N, "
                f"{want[0]}, {want[1]}, {want[2]}] in raw VAE units"
            )
        if labels.shape != (len(latents), *self.grid):
            raise PriorError(
                f"labels have shape {tuple(labels.shape)}; expected [N, h, w] = "
                f"{[len(latents), *self.grid]}: class ids on the latent grid (see resize_labels)"
            )
        if labels.is_floating_point() or labels.is_complex():
            raise PriorError(f"labels are {labels.dtype}; expected integer class ids, -1 = unknown")
        # Of NaN, too, this is not true.
        fits = latents.abs() <= MAX_VALUE
        if not fits.all():
            bad = (~fits.flatten(1).all(1)).nonzero().flatten().tolist()
            raise PriorError(
                f"the latents of image {bad[0]} of this batch hold NaN, infinity or values beyond "
                f"{MAX_VALUE:g}; a VAE in half precision may overflow: run it in bfloat16 or "
                "float32"
            )
        if labels.numel():
            low, high = int(labels.min()), int(labels.max())
            if low < -1 or high > MAX_CLASS_ID:
                raise PriorError(
                    f"class ids run from {low} to {high}; expected 0..{MAX_CLASS_ID}, -1 = unknown"
                )

    def _rows(self, labels: Tensor) -> Tensor:
        """The state's row of every label (-1 where unknown or ignored), making rows for new ids."""
        rows = self._row_of_id[labels + 1]
        if rows.numel() == 0 or int(rows.min()) != _NEVER_SEEN:
            return rows
        new = labels[rows == _NEVER_SEEN].unique()
        known = len(self.class_ids)
        if known + len(new) > MAX_CLASSES:
            raise PriorError(
                f"the labels hold more than {MAX_CLASSES} different class ids; are they instance "
                "ids, or is a color image read as ids?"
            )
        height, width = self.grid
        check_memory(
            state_bytes(known + len(new), self.latent_channels, self.grid),
            f"collecting {known + len(new)} classes of {self.latent_channels} channels on "
            f"{width}x{height} cells",
            "take smaller images, or leave classes out by ignore_ids",
        )
        self._row_of_id[new + 1] = torch.arange(known, known + len(new))
        self.class_ids += new.tolist()
        for name in _CLASS_ROWS:
            rows = getattr(self, f"_{name}")
            added = rows.new_zeros(len(new), *rows.shape[1:])
            setattr(self, f"_{name}", torch.cat([rows, added]))
        return self._rows(labels)

    def _update_spatial(self, values: Tensor) -> None:
        mean = values.mean(0)
        self._combine_spatial(len(values), mean, (values - mean).square().sum(0))

    def _combine_spatial(self, n: int, mean: Tensor, m2: Tensor) -> None:
        _, self._spatial_mean, self._spatial_m2 = combine(
            torch.tensor(float(self.num_images), dtype=torch.float64),
            self._spatial_mean,
            self._spatial_m2,
            torch.tensor(float(n), dtype=torch.float64),
            mean,
            m2,
        )

    def _update_joint(self, values: Tensor, rows: Tensor) -> None:
        """Welford's step for each image: within one image no (class, cell) occurs twice."""
        cells = rows.shape[1]
        n, mean = self._joint_n.view(-1), self._joint_mean.flatten(0, 1)
        m2 = self._joint_m2.flatten(0, 1)
        for image, image_rows in zip(values, rows, strict=True):
            cell = (image_rows >= 0).nonzero().squeeze(1)
            at = image_rows[cell] * cells + cell
            value, count, old = image[cell], n[at] + 1, mean[at]
            new = old + (value - old) / count.unsqueeze(1)
            n[at] = count
            mean[at] = new
            m2[at] += (value - old) * (value - new)

    def _update_classes(self, values: Tensor, rows: Tensor) -> None:
        """Average the first two moments of every class over the images that hold it."""
        images, classes = len(values), len(self.class_ids)
        known = rows >= 0
        group = (rows + classes * torch.arange(images)[:, None])[known]
        n, mean, m2 = grouped(values[known], group, images * classes)
        n, mean = n.view(images, classes, 1), mean.view(images, classes, self.latent_channels)
        within = m2.view_as(mean) / n.clamp(min=1)

        held = (n > 0).to(mean.dtype)
        count = held.sum(0)
        batch_mean = mean.sum(0) / count.clamp(min=1)
        batch_m2 = (held * (within + (mean - batch_mean).square())).sum(0)
        total, self._class_mean, self._class_m2 = combine(
            self._class_images.unsqueeze(-1),
            self._class_mean,
            self._class_m2,
            count,
            batch_mean,
            batch_m2,
        )
        self._class_images = total.squeeze(-1)

    def _as_maps(self, cells: Tensor) -> Tensor:
        """[..., cells, C] to float32 [..., C, h, w], a view."""
        maps = to_float32(cells).transpose(-1, -2)
        return maps.view(*maps.shape[:-1], *self.grid)


def state_bytes(classes: int, latent_channels: int, grid: tuple[int, int]) -> int:
    """What the moments of so many classes take while they are collected."""
    return 8 * classes * (2 * latent_channels + 1) * grid[0] * grid[1]


def _entry(
    tensors: Mapping[str, Tensor], name: str, dtype: torch.dtype, shape: tuple[int | None, ...]
) -> Tensor:
    """A tensor of a state; PriorError if it is not of this type and shape (None: any length)."""
    tensor = tensors.get(name)
    if tensor is None:
        raise PriorError(f"the state lacks {name}")
    fits = tensor.ndim == len(shape) and all(
        want in (None, side) for want, side in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype != dtype or not fits:
        raise PriorError(
            f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}; expected {dtype} of "
            f"{tuple('any' if want is None else want for want in shape)}"
        )
    return tensor
