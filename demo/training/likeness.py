"""How far pictures are from those that were wanted: losses of the autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from prior_tools.utility.net import SmallNet


def difference(given: Tensor, wanted: Tensor) -> Tensor:
    """Absolute differences at four scales, and of neighboring pixels' contrast at two."""
    off = given - wanted
    total = torch.zeros(())
    for scale in range(4):
        total = total + off.abs().mean()
        if scale < 2:
            total = total + 0.5 * (off.diff(dim=2).abs().mean() + off.diff(dim=3).abs().mean())
        off = F.avg_pool2d(off, 2)
    return total


def seen_difference(eyes: SmallNet, given: Tensor, wanted: Tensor) -> Tensor:
    """Of a segmenter's features, each place's of length 1: squared, summed over four sizes.

    After LPIPS (arXiv 1801.03924), with a net that knows what is in the pictures.
    """
    with torch.no_grad():
        seen = [F.normalize(level.float(), dim=1) for level in eyes.features(wanted)]
    total = torch.zeros(())
    for ours, theirs in zip(eyes.features(given), seen, strict=True):
        total = total + (F.normalize(ours.float(), dim=1) - theirs).square().sum(1).mean()
    return total


class Critic(nn.Module):
    """Scores [N, 1, h, w] of images [N, 3, H, W] in 0..1: high where a patch looks real."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.GroupNorm(8, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, 1, 1),
            nn.GroupNorm(8, 4 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 3, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images * 2 - 1)

    def of_painter(self, images: Tensor) -> Tensor:
        """The loss of who made the images; it leaves the critic's own values alone."""
        values = {name: value.detach() for name, value in self.named_parameters()}
        return -functional_call(self, values, (images,)).float().mean()

    def own(self, given: Tensor, wanted: Tensor) -> Tensor:
        """The critic's own hinge loss."""
        scores = self(torch.cat([given.detach(), wanted])).float()
        bad, good = scores.chunk(2)
        return 0.5 * (F.relu(1 + bad).mean() + F.relu(1 - good).mean())


def balance(loss: Tensor, other: Tensor, at: Tensor) -> Tensor:
    """The factor of `other` at which its gradient at the values `at` is as long as `loss`'s."""
    ours, theirs = (torch.autograd.grad(x, at, retain_graph=True)[0].norm() for x in (loss, other))
    return (ours / (theirs + 1e-8)).clamp(max=1e3).detach()
