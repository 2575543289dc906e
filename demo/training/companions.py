"""What goes with the weights: colors for previews, the prior, label maps to try."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from demo.training.images import as_floats
from demo.training.setting import DOWNSCALE, LATENT_SCALE
from demo.training.sources import Source
from dev.comfyui import ensure_comfyui
from prior_tools import Prior, PriorAccumulator, resize_labels
from prior_tools.building.kept import MOST_IMAGES
from prior_tools.cli.comfy_vae import load_vae
from prior_tools.grain_estimate import measure_grain

IGNORED = (255,)


def latent_colors(latents: Tensor, images: np.ndarray) -> Tensor:
    """Colors in -1..1 as a linear function of latents: [5, 3], a row a channel, the last added.

    latents [N, 4, h, w] in the diffusion model's units, images uint8 [N, H, W, 3]; least squares.
    """
    colors = F.avg_pool2d(as_floats(images), DOWNSCALE) * 2 - 1
    x = latents.movedim(1, -1).reshape(-1, latents.shape[1])
    x = torch.cat([x, torch.ones(len(x), 1)], 1).double()
    y = colors.movedim(1, -1).reshape(-1, 3).double()
    return torch.linalg.lstsq(x, y).solution.float()


def make_prior(latents: Tensor, labels: np.ndarray, source: Source, weights: Path) -> Prior:
    """The prior of latents [N, 4, h, w] in the diffusion model's units.

    labels: class ids uint8 [N, H, W]; weights: the file whose autoencoder made the latents.
    """
    state = PriorAccumulator(latents.shape[1], source.grid, IGNORED)
    ids_on_grid = []
    for at in range(0, len(latents), 64):
        ids = torch.from_numpy(labels[at : at + 64].astype(np.int64))
        ids_on_grid.append(resize_labels(ids, source.grid))
        state.update(latents[at : at + 64] / LATENT_SCALE, ids_on_grid[-1])
    prior = state.finalize(
        downscale_factor=DOWNSCALE,
        latent_format="sd15",
        vae=load_vae(weights, ensure_comfyui(), "cpu").fingerprint,
        source_size=source.size,
        dataset_name=f"{source.name}, {len(latents)} images",
        class_names={i: name for i, name in source.palette.names.items() if i < source.classes},
        palette=source.palette,
    )
    # As many as a build keeps.
    some = latents[:MOST_IMAGES] / LATENT_SCALE
    return replace(prior, grain=measure_grain(some, torch.cat(ids_on_grid)[:MOST_IMAGES], prior))


def write_label_maps(hints: np.ndarray, folder: Path) -> None:
    """Label maps uint8 [N, H, W, 3] as small pictures in the palette's colors."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, hint in enumerate(hints):
        image = Image.fromarray(hint).quantize(colors=32, dither=Image.Dither.NONE)
        image.save(folder / f"street_{number:02d}.png", optimize=True)
