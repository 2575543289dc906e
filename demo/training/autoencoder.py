"""The autoencoder: pictures to latents and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from demo.training import nets
from demo.training.images import as_floats
from demo.training.likeness import Critic, balance, difference, seen_difference
from demo.training.loop import Plan, train
from demo.training.setting import LATENT_SCALE
from prior_tools.utility.net import SmallNet

BATCH, CROP = 8, 96
# First encoder and decoder; then the decoder alone, against a critic.
STEPS, RATE = 6000, 1e-3
SHARP_STEPS, SHARP_RATE = 5000, 4e-4
# Of the latents' unit deviation: what the decoder learns to overlook, and a sampler to leave.
NOISE = 0.05
SEEN = 0.5
# Of the gradient that the other losses have.
CRITIC = 0.5


def train_autoencoder(
    images: np.ndarray, eyes: SmallNet, folder: Path, steps: int = STEPS, bfloat16: bool = False
) -> nn.Module:
    """Train on crops of images uint8 [N, H, W, 3]; whole frames cost four times as much.

    eyes: see `likeness.seen_difference`.
    """
    net = nets.autoencoder().to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> Tensor:
        wanted = _crops(images, generator)
        latents = net.taesd_encoder(wanted)
        given = net.taesd_decoder(_disturbed(latents, generator))
        return _lost(eyes, given, wanted) + 0.002 * latents.float().square().mean()

    train(net, Plan("autoencoder", steps, RATE, loss, bfloat16=bfloat16), folder)
    deviation = _deviation(net, images)
    # Latents of unit deviation in the diffusion model's units, as Stable Diffusion's are.
    net.vae_scale.data.fill_(LATENT_SCALE * deviation)
    return net


def sharpen_decoder(
    net: nn.Module,
    images: np.ndarray,
    eyes: SmallNet,
    folder: Path,
    steps: int = SHARP_STEPS,
    bfloat16: bool = False,
) -> nn.Module:
    """Train the decoder of `net` on, against a critic; what latents are made stays as it is."""
    torch.manual_seed(0)
    decoder, critic = net.taesd_decoder.requires_grad_(True), Critic()
    both = nn.ModuleDict({"decoder": decoder, "critic": critic})
    both.to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> Tensor:
        wanted = _crops(images, generator)
        with torch.no_grad():
            latents = net.taesd_encoder(wanted)
        given = decoder(_disturbed(latents, generator))
        lost, doubted = _lost(eyes, given, wanted), critic.of_painter(given)
        share = CRITIC * balance(lost, doubted, decoder[-1].weight)
        return lost + share * doubted + critic.own(given, wanted)

    train(both, Plan("decoder", steps, SHARP_RATE, loss, bfloat16=bfloat16), folder)
    return net


def encode_all(
    net: nn.Module, images: np.ndarray, batch: int = 16, bfloat16: bool = False
) -> Tensor:
    """Latents float32 [N, 4, h, w] in the diffusion model's units."""
    latents = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for at in tqdm(range(0, len(images), batch), "latents", unit="batch"):
            latents.append(nets.encode(net, as_floats(images[at : at + batch])).float())
    # Contiguous and no inference tensor: it is saved, and trained on.
    return torch.cat(latents).contiguous().clone(memory_format=torch.contiguous_format)


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


def _disturbed(latents: Tensor, generator: torch.Generator) -> Tensor:
    return latents + NOISE * torch.randn(latents.shape, generator=generator)


def _lost(eyes: SmallNet, given: Tensor, wanted: Tensor) -> Tensor:
    given = given.float()
    return difference(given, wanted) + SEEN * seen_difference(eyes, given, wanted)


def _deviation(net: nn.Module, images: np.ndarray) -> float:
    some = as_floats(images[:: max(1, len(images) // 64)][:64])
    with torch.inference_mode():
        return float(net.taesd_encoder(some).std())
