"""The autoencoder: pictures to latents and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from demo.training import nets
from demo.training.loop import Plan, train
from demo.training.setting import LATENT_SCALE

STEPS, BATCH, CROP, RATE = 1300, 6, 64, 1.5e-3
# Of the latents' unit deviation: what the decoder learns to overlook, and a sampler to leave.
NOISE = 0.05


def train_autoencoder(
    images: np.ndarray, folder: Path, steps: int = STEPS, bfloat16: bool = False
) -> nn.Module:
    """Train on crops of images uint8 [N, H, W, 3]; whole frames cost seven times as much."""
    net = nets.autoencoder().to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> Tensor:
        wanted = _crops(images, generator)
        latents = net.taesd_encoder(wanted)
        noise = torch.randn(latents.shape, generator=generator)
        given = net.taesd_decoder(latents + NOISE * noise)
        return _difference(given, wanted) + 0.002 * latents.square().mean()

    train(net, Plan("autoencoder", steps, RATE, loss, bfloat16=bfloat16), folder)
    deviation = _deviation(net, images)
    # Latents of unit deviation in the diffusion model's units, as Stable Diffusion's are.
    net.vae_scale.data.fill_(LATENT_SCALE * deviation)
    return net


def encode_all(net: nn.Module, images: np.ndarray, batch: int = 16) -> Tensor:
    """Latents float32 [N, 4, h, w] in the diffusion model's units."""
    latents = []
    with torch.inference_mode():
        for at in tqdm(range(0, len(images), batch), "latents", unit="batch"):
            latents.append(nets.encode(net, as_floats(images[at : at + batch])))
    # Contiguous and no inference tensor: it is saved, and trained on.
    return torch.cat(latents).contiguous().clone(memory_format=torch.contiguous_format)


def as_floats(images: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, 1).float() / 255


def _crops(images: np.ndarray, generator: torch.Generator) -> Tensor:
    height, width = images.shape[1:3]
    picked = torch.randint(len(images), (BATCH,), generator=generator).tolist()
    tops = torch.randint(height - CROP + 1, (BATCH,), generator=generator).tolist()
    lefts = torch.randint(width - CROP + 1, (BATCH,), generator=generator).tolist()
    return as_floats(
        np.stack(
            [
                images[i, y : y + CROP, x : x + CROP]
                for i, y, x in zip(picked, tops, lefts, strict=True)
            ]
        )
    ).contiguous(memory_format=torch.channels_last)


def _difference(given: Tensor, wanted: Tensor) -> Tensor:
    """Absolute differences at four scales, and of neighbouring pixels' contrast at two."""
    off = given - wanted
    total = torch.zeros(())
    for scale in range(4):
        total = total + off.abs().mean()
        if scale < 2:
            total = total + 0.5 * (off.diff(dim=2).abs().mean() + off.diff(dim=3).abs().mean())
        off = F.avg_pool2d(off, 2)
    return total


def _deviation(net: nn.Module, images: np.ndarray) -> float:
    some = as_floats(images[:: max(1, len(images) // 64)][:64])
    with torch.inference_mode():
        return float(net.taesd_encoder(some).std())
