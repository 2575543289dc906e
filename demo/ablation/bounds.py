"""What images could reach at best, and how much of a dataset's mean a model can read from noise."""

from __future__ import annotations

import numpy as np
import torch

from demo.ablation.measuring import ASTRAY, Judge, Value, figures_of, values
from demo.ablation.subject import Subject
from demo.training import nets
from demo.training.images import as_floats
from demo.training.setting import LATENT_SCALE
from demo.training.stages import Stages
from prior_tools import load_prior
from prior_tools.schedule import stable_diffusion_alpha_bar

MU = 0.8
CHANNELS = 4
BATCH = 8

# (Name, latent cells) of what Stable Diffusion is used at.
USUAL = (("Stable Diffusion at 512 x 512", 64 * 64), ("Stable Diffusion at 1024 x 512", 64 * 128))


def bounds(judge: Judge, subject: Subject, maps: int) -> dict[str, dict[str, Value]]:
    """Figures of the label maps' own images, and of what the autoencoder makes of them."""
    real = judge.real
    figures = values(figures_of(real.features, [real]))
    seen = ("mIoU", "pixel accuracy", ASTRAY)
    of_real = {name: figures[name] for name in seen if name in figures}
    made_again = judge.look(reconstructions(subject, maps))
    return {
        "the real images": of_real,
        "the real images, encoded and decoded": values(figures_of(real.features, [made_again])),
    }


def reconstructions(subject: Subject, maps: int) -> np.ndarray:
    """The first images, encoded and decoded: uint8 [maps, H, W, 3]."""
    net = Stages(subject.source, base=subject.files.weights).autoencoder
    images = []
    with torch.inference_mode():
        for at in range(0, maps, BATCH):
            batch = as_floats(subject.real[at : min(at + BATCH, maps)])
            decoded = nets.decode(net, nets.encode(net, batch))
            images.append((decoded * 255).round().byte().movedim(1, -1).numpy())
    return np.concatenate(images)


def leaks(subject: Subject) -> list[tuple[str, dict[str, float]]]:
    """How much of the mean is in the noisiest input: a row a schedule, and Stable Diffusion's.

    "alpha_bar T x cells" is the short measure. The full one is the signal of the mean against the
    noise, C * cells * alpha_bar / (1 - alpha_bar) * mean(m^2), with m the spatial means of the
    dataset's prior in the diffusion model's units. For Stable Diffusion at its usual sizes the same
    mean(m^2) is taken, since its own prior is not at hand.
    """
    mean_square = float((load_prior(subject.prior(0)).spatial_mean * LATENT_SCALE).square().mean())
    own, usual = Stages(subject.source).alpha_bars, stable_diffusion_alpha_bar()
    rows = [(f"{subject.name}, its schedule", own, subject.source.cells)]
    if "sd" in subject.models:
        rows.append((f"{subject.name}, Stable Diffusion's", usual, subject.source.cells))
    rows += [(name, usual, cells) for name, cells in USUAL]
    return [(name, leak(bars, cells, mean_square)) for name, bars, cells in rows]


def leak(alpha_bars: torch.Tensor, cells: int, mean_square: float) -> dict[str, float]:
    """The measures of a schedule, float64 [1000], at so many latent cells."""
    last, at_mu = float(alpha_bars[-1]), float(alpha_bars[round(MU * 999)])
    return {
        "alpha_bar T": last,
        "alpha_bar 0.8 T": at_mu,
        "alpha_bar T x cells": last * cells,
        "full measure": CHANNELS * cells * last / (1 - last) * mean_square,
    }
