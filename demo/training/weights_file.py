"""The one file with all weights of the demo's models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from demo.training.setting import CONTEXT, sigmas
from prior_tools.atomic import write_bytes

FORMAT_VERSION = 1
HEADER = "scp_demo_model"
# Stable Diffusion's names.
PREFIXES = {
    "autoencoder": "first_stage_model.",
    "unet": "model.diffusion_model.",
    "control": "control_model.",
}


def write_weights(
    path: Path,
    vae: nn.Module,
    unet: nn.Module,
    control: nn.Module,
    alpha_bars: Tensor,
    latent_rgb: Tensor,
    notes: dict[str, object],
) -> None:
    """Write the models in half precision.

    latent_rgb: see `companions.latent_colors`.
    notes: what the header tells about how they were made.
    """
    tensors = {}
    for part, net in (("autoencoder", vae), ("unet", unet), ("control", control)):
        for name, value in net.state_dict().items():
            # In half precision the autoencoder's scale would be 0.02% off.
            dtype = torch.float32 if value.ndim == 0 else torch.float16
            tensors[PREFIXES[part] + name] = value.detach().to(dtype).contiguous()
    tensors["model_sampling.sigmas"] = sigmas(alpha_bars)
    tensors["latent_rgb"] = latent_rgb.contiguous()
    tensors["conditioning"] = torch.zeros(CONTEXT)
    header = {"format_version": FORMAT_VERSION, **notes}
    write_bytes(path, save(tensors, {HEADER: json.dumps(header, sort_keys=True)}))


def read_net(path: Path, part: str, net: nn.Module) -> nn.Module:
    """Give `net` the values of a part of the file (see PREFIXES); it is not to be trained on."""
    prefix = PREFIXES[part]
    with safe_open(path, "pt") as file:
        values = {
            name[len(prefix) :]: file.get_tensor(name).float()
            for name in file.keys()  # noqa: SIM118
            if name.startswith(prefix)
        }
    net.load_state_dict(values)
    return net.eval().requires_grad_(False)


def read_notes(path: Path) -> dict[str, Any]:
    """What the header tells about how the weights were made."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()[HEADER])
