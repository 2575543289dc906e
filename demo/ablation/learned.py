"""A learned prior to compare with: a small net tells mean and deviation of each latent cell.

It sees what the statistics see, classes and places, and a neighborhood of them too. Its draws go
into the graph through ComfyUI's own Load Latent; the pack has no node for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.ablation.subject import Subject
from demo.start_graph import Start
from demo.training import autoencoder
from demo.training.loop import Plan, train
from demo.training.setting import LATENT_SCALE
from demo.training.stages import Stages
from prior_tools import (
    Prior,
    draw_prior_sample,
    load_prior,
    pooled_prior,
    prior_moments,
    resize_labels,
)
from prior_tools.evaluation.fit import LEAST_DEVIATION

WIDTH, BATCH, STEPS, RATE = 64, 16, 1500, 1e-3
# How far the layers look, in cells: all of them together over the whole latent.
DILATIONS = (1, 2, 4, 8)


class MomentsNet(nn.Module):
    """Class shares [N, K, h, w] to mean and log deviation of latents, [N, C, h, w] each.

    A place is told by two maps beside the classes. Values are in units of the channels' own
    deviation about their one mean.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(classes + 2, WIDTH, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(8, WIDTH),
                nn.SiLU(),
                nn.Conv2d(WIDTH, WIDTH, 3, padding=dilation, dilation=dilation),
            )
            for dilation in DILATIONS
        )
        self.leave = nn.Sequential(nn.GroupNorm(8, WIDTH), nn.SiLU())
        self.tell = nn.Conv2d(WIDTH, 2 * channels, 1)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)

    def forward(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        height, width = shares.shape[-2:]
        y = torch.linspace(-1, 1, height).view(1, 1, -1, 1).expand(len(shares), 1, height, width)
        x = torch.linspace(-1, 1, width).view(1, 1, 1, -1).expand(len(shares), 1, height, width)
        hidden = self.enter(torch.cat([shares, y, x], 1))
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        mean, log_std = self.tell(self.leave(hidden)).chunk(2, 1)
        return mean, log_std.clamp(math.log(LEAST_DEVIATION), 4.0)


def nll(latents: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Negative log-likelihood of each value in nats; as `prior_tools.evaluation.fit` has it."""
    std = std.clamp(min=LEAST_DEVIATION)
    return 0.5 * math.log(2 * math.pi) + std.log() + 0.5 * ((latents - mean) / std).square()


@dataclass(frozen=True)
class Learned:
    """The net of a subject, trained on what the prior was collected from.

    net: the trained net. prior: the subject's, for the units and for grain. labels: class ids
    int64 [N, H, W] of the subject's label maps.
    """

    net: nn.Module
    prior: Prior
    labels: Tensor
    classes: int

    @classmethod
    def of(cls, subject: Subject) -> Learned:
        """Trained, or loaded where it was trained before."""
        source, prior = subject.source, load_prior(subject.prior(0))
        classes = source.classes
        latents = Stages(source, base=subject.files.weights).dataset_latents / LATENT_SCALE
        center, unit = _units(prior)
        wanted = (latents - center) / unit
        shares = class_shares(_ids(source.dataset.labels), source.grid, classes)

        def loss(generator: torch.Generator) -> Tensor:
            picked = torch.randint(len(wanted), (BATCH,), generator=generator)
            mean, log_std = net(shares[picked].float())
            return nll(wanted[picked], mean, log_std.exp()).mean()

        torch.manual_seed(0)
        net = MomentsNet(classes, prior.latent_channels)
        # Of other weights it is another net.
        name = f"moments-{subject.weights_digest}"
        net = train(net, Plan(name, STEPS, RATE, loss), source.cache)
        return cls(net, prior, _ids(subject.labels), classes)

    def moments(self, count: int) -> tuple[Tensor, Tensor]:
        """Mean and deviation [count, C, h, w] for the first label maps, in raw VAE units."""
        center, unit = _units(self.prior)
        shares = class_shares(self.labels[:count], self.prior.grid, self.classes)
        with torch.inference_mode():
            mean, log_std = self.net(shares.float())
        return center + unit * mean, unit * log_std.exp()

    def draw(self, start: Start, count: int, seed: int) -> Tensor:
        """Latents [count, C, h, w] for the first label maps, with the noise of a start."""
        mean, std = self.moments(count)
        # Of no cell anything is known but a mean of 0 and a deviation of 1, so this is the noise.
        flat = replace(
            self.prior,
            joint_count=torch.zeros_like(self.prior.joint_count),
            spatial_mean=torch.zeros_like(self.prior.spatial_mean),
            spatial_std=torch.ones_like(self.prior.spatial_std),
        )
        ids = resize_labels(self.labels[:count], self.prior.grid)
        noise = draw_prior_sample(flat, ids, "joint", seed, start.deviation, noise=start.noise)
        return mean + std * noise

    def foretold(self, subject: Subject, count: int) -> list[tuple[str, dict[str, float]]]:
        """NLL of a latent value of the label maps' own images, by what tells their moments."""
        vae = Stages(subject.source, base=subject.files.weights).autoencoder
        latents = autoencoder.encode_all(vae, subject.real[:count]) / LATENT_SCALE
        ids = resize_labels(self.labels[:count], self.prior.grid)
        pooled = pooled_prior(self.prior)
        told = {
            "spatial": prior_moments(self.prior, ids, "spatial"),
            "joint": prior_moments(self.prior, ids),
            "joint, pooled moments": prior_moments(pooled, ids),
            "a learned net": self.moments(count),
        }
        center, unit = _units(self.prior)
        rows = []
        for name, (mean, std) in told.items():
            each = nll((latents - center) / unit, (mean - center) / unit, std / unit)
            rows.append((name, {"NLL of a latent value": float(each.mean())}))
        return rows


def class_shares(labels: Tensor, grid: tuple[int, int], classes: int) -> Tensor:
    """The part of each cell that each class has: float16 [N, K, h, w] of ids int64 [N, H, W]."""
    shares = [
        F.adaptive_avg_pool2d(torch.stack([(ids == k).float() for k in range(classes)]), grid)
        for ids in labels
    ]
    return torch.stack(shares).half()


def latent_file(latents: Tensor) -> dict[str, Tensor]:
    """What a file for Load Latent holds."""
    return {"latent_tensor": latents.contiguous(), "latent_format_version_0": torch.tensor([])}


def _units(prior: Prior) -> tuple[Tensor, Tensor]:
    """Of each channel the one mean of all cells, and the deviation about it: [C, 1, 1]."""
    mean, std = prior.spatial_mean, prior.spatial_std
    center = mean.mean((1, 2), keepdim=True)
    return center, (std.square() + (mean - center).square()).mean((1, 2), keepdim=True).sqrt()


def _ids(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(labels).astype(np.int64))
