"""The one file with all weights of the demo's models."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from demo.training.setting import CONTEXT, sigmas
from prior_tools.atomic import write_bytes

FORMAT_VERSION = 1


def write_weights(
    path: Path,
    vae: nn.Module,
    unet: nn.Module,
    control: nn.Module,
    alpha_bars: Tensor,
    latent_rgb: Tensor,
    notes: dict[str, object],
) -> None:
    """Write the models in half precision, under Stable Diffusion's names.

    latent_rgb: see `companions.latent_colors`.
    notes: what the header tells about how they were made.
    """
    tensors = {}
    for prefix, net in (
        ("first_stage_model.", vae),
        ("model.diffusion_model.", unet),
        ("control_model.", control),
    ):
        for name, value in net.state_dict().items():
            # In half precision the autoencoder's scale would be 0.02% off.
            dtype = torch.float32 if value.ndim == 0 else torch.float16
            tensors[prefix + name] = value.detach().to(dtype).contiguous()
    tensors["model_sampling.sigmas"] = sigmas(alpha_bars)
    tensors["latent_rgb"] = latent_rgb.contiguous()
    tensors["conditioning"] = torch.zeros(CONTEXT)
    header = {"format_version": FORMAT_VERSION, **notes}
    write_bytes(path, save(tensors, {"scp_demo_model": json.dumps(header, sort_keys=True)}))
