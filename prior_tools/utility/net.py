"""The net that is trained by default: small enough to learn from a few hundred images."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Width and height are halved so often.
MULTIPLE = 16

_WIDTHS = (24, 48, 80, 112)


class SmallNet(nn.Module):
    """Images [N, 3, H, W] in 0..1 to class scores [N, K, H, W]; H and W multiples of 16.

    A UNet of four levels, the first at half of the size, with group norm, so that it takes batches
    of any size: 0.9 million parameters with two blocks in the middle.
    """

    def __init__(self, classes: int, middle: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, _WIDTHS[0], 4, 2, 1)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for wide, wider in itertools.pairwise(_WIDTHS):
            self.down.append(nn.Sequential(_Block(wide), nn.Conv2d(wide, wider, 2, 2)))
            self.up.append(nn.Sequential(nn.Conv2d(wide + wider, wide, 1), _Block(wide)))
        self.middle = nn.Sequential(*(_Block(_WIDTHS[-1]) for _ in range(middle)))
        self.last = nn.ConvTranspose2d(_WIDTHS[0], classes, 2, 2)

    def forward(self, images: Tensor) -> Tensor:
        *skips, h = self.features(images)
        for level in reversed(self.up):
            h = F.interpolate(h, scale_factor=2.0, mode="nearest")
            h = level(torch.cat([h, skips.pop()], 1))
        scores: Tensor = self.last(h)
        return scores

    def features(self, images: Tensor) -> list[Tensor]:
        """What it sees at a half, a quarter, an eighth and a sixteenth of the size."""
        h = self.first(images * 2 - 1)
        seen = []
        for level in self.down:
            seen.append(h)
            h = level(h)
        return [*seen, self.middle(h)]


class _Block(nn.Module):
    """Two convolutions around which the input is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y
