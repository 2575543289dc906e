"""Priors of the size of well-known datasets, without those datasets.

Only which (class, cell) pairs are occupied matters for files and loading. A class covers a share of
all pixels and lies about a height of its own; how many of N images have it at a cell is then
Poisson distributed about N times its share there, all classes at most N.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from prior_tools import Grain, Prior, PriorMetadata
from prior_tools.grain import lags_of, region_directions, shapes
from prior_tools.labels.palette_colors import bit_color
from prior_tools.labels.palettes import Palette
from prior_tools.latent_formats import UNKNOWN

# Per cent of pixels of Cityscapes' classes, rounded, most frequent first.
_CITYSCAPES = (
    *(36.9, 22.8, 15.9, 7.0, 6.1, 4.0, 1.2, 1.2, 1.2, 0.9, 0.7),
    *(0.6, 0.4, 0.3, 0.2, 0.2, 0.2, 0.1, 0.1),
)


@dataclass(frozen=True)
class Like:
    """A dataset to be imitated.

    Attributes:
        name: in words.
        classes: number of classes.
        grid: (h, w), latent cells.
        images: number of training images.
        channels: of the latents.
    """

    name: str
    classes: int
    grid: tuple[int, int]
    images: int
    channels: int = 4

    def shares(self) -> torch.Tensor:
        """Share of all pixels of each class, float64 [K]."""
        if self.classes == len(_CITYSCAPES):
            shares = torch.tensor(_CITYSCAPES, dtype=torch.float64)
        else:
            # Zipf's law: the n-th class is 1/n as frequent as the first.
            shares = 1 / torch.arange(1, self.classes + 1, dtype=torch.float64)
        return shares / shares.sum()


CITYSCAPES = Like("Cityscapes-like", 19, (64, 128), 2975)
ADE20K = Like("ADE20K-like", 150, (64, 64), 20_210)
COCO_STUFF = Like("COCO-Stuff-like", 182, (48, 64), 118_287)

HOW_GENERATED = (
    "occupied cells drawn as Poisson counts of the dataset's number of images times the class's "
    "share of pixels (Cityscapes' own, else Zipf's law) spread about a height of its own"
)


def synthetic_prior(like: Like, full: bool = False, seed: int = 0) -> Prior:
    """A prior with random moments; with every (class, cell) pair occupied if `full`."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    classes, (height, width) = like.classes, like.grid
    maps = (classes, like.channels, height, width)
    count = torch.full((classes, height, width), 9, dtype=torch.int32)
    if not full:
        # A class lies within a sixth of the height about its own, evenly across the width.
        centre = torch.rand(classes, 1, generator=generator, dtype=torch.float64)
        rows = (torch.arange(height, dtype=torch.float64) + 0.5) / height
        profile = (-0.5 * ((rows - centre) * 6).square()).exp()
        profile = profile / profile.mean(1, keepdim=True)
        rate = like.images * like.shares()[:, None] * profile
        count = torch.poisson(rate[..., None].expand(-1, -1, width), generator=generator)
        # At a cell an image has one class.
        too_many = (count.sum(0) / like.images).clamp(min=1)
        count = (count / too_many).to(torch.int32)
    occupied = (count > 0).unsqueeze(1)
    colors = {i: bit_color(i + 1) for i in range(classes)}
    names = {i: f"class number {i}" for i in range(classes)}
    return Prior(
        class_ids=torch.arange(classes),
        joint_mean=normal(*maps) * occupied,
        joint_std=normal(*maps).abs() * (count >= 2).unsqueeze(1),
        joint_count=count,
        spatial_mean=normal(*maps[1:]),
        spatial_std=normal(*maps[1:]).abs(),
        class_mean=normal(*maps[:2]),
        class_std=normal(*maps[:2]).abs(),
        class_image_count=count.flatten(1).amax(1).to(torch.int32),
        num_images=like.images,
        metadata=PriorMetadata(
            latent_channels=like.channels,
            grid=like.grid,
            latent_format="sd15" if like.channels == 4 else UNKNOWN,
            source_size=(8 * width, 8 * height),
            dataset_name=like.name,
            class_names=names,
            palette=Palette(like.name, colors, names),
        ),
    )


def synthetic_grain(channels: int, grid: tuple[int, int], classes: int) -> Grain:
    """A grain of any size: how long a draw takes does not depend on its values."""
    mixing, correlation = (torch.zeros(shape) for shape in shapes(grid, channels))
    mixing.fill_diagonal_(1)
    down, across = (torch.tensor(lags, dtype=torch.float32) for lags in lags_of(grid, channels))
    across = torch.cat([across[1:].flip(0), across])
    correlation += torch.exp(-torch.hypot(down[:, None], across) / 4)
    regions = torch.full((classes, channels, region_directions(classes, channels)), 0.1)
    return Grain(grid, mixing, correlation, regions)


def coverage(prior: Prior) -> float:
    """Share of (class, cell) pairs that are occupied."""
    return float((prior.joint_count > 0).double().mean())
