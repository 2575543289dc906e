"""Single pictures through a VAE of ComfyUI, also through one of clips.

A VAE of clips takes a batch of pictures as the frames of one clip and gives latents
[1, C, T, h, w]; priors and draws are of single pictures, [N, C, h, w].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .errors import PriorError
from .latent_formats import VaeLatents


def latents_of(vae: Any) -> VaeLatents:
    """What the VAE says of its latents, before it has encoded anything."""
    return VaeLatents(
        int(vae.latent_channels), int(vae.latent_dim), int(vae.spacial_compression_encode())
    )


def encode_pictures(vae: Any, images: Tensor) -> Tensor:
    """Images [N, H, W, 3] in 0..1 to latents [N, C, h, w] in raw VAE units.

    One by one where the VAE is of clips. PriorError if the latents are not of single pictures.
    """
    with torch.inference_mode():
        if vae.latent_dim == 3:
            latents = torch.cat([vae.encode(image) for image in images[..., :3].split(1)])
        else:
            latents = vae.encode(images[..., :3])
    if latents.ndim == 5 and latents.shape[2] == 1:
        latents = latents.squeeze(2)
    if latents.ndim != 4 or len(latents) != len(images):
        raise PriorError(
            f"the VAE gave latents of shape {tuple(latents.shape)} for {len(images)} images; "
            "expected [N, C, h, w]: the VAE of a model of pictures or clips"
        )
    return latents


def decode_pictures(vae: Any, latents: Tensor) -> Tensor:
    """Latents [N, C, h, w] in raw VAE units to images [N, H, W, 3] in 0..1."""
    with torch.inference_mode():
        images: Tensor = vae.decode(latents.unsqueeze(2) if vae.latent_dim == 3 else latents)
    return images.reshape(-1, *images.shape[-3:])[..., :3]
