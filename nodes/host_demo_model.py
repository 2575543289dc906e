"""The demo's models as ComfyUI's own, from the pack's weights file.

ComfyUI's checkpoint loader knows a Stable Diffusion UNet only at full width, so the parts that it
would choose by itself are put together here from the same classes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.latent_formats
import comfy.model_detection
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.utils
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..prior_tools.errors import PriorError
from ..prior_tools.json_values import parsed

HEADER_KEY = "scp_demo_model"
FORMAT_VERSION = 1

_log = logging.getLogger("scp-diff")

_UNET, _CONTROL, _VAE = "model.diffusion_model.", "control_model.", "first_stage_model."

Weights = dict[str, Tensor]


def load_demo_model(path: Path) -> tuple[Any, Any, Any, list[Any]]:
    """(MODEL, CONTROL_NET, VAE, CONDITIONING) of the weights file; PriorError if it is not one."""
    weights = _read(path)
    _log.info(
        "SCP-Diff: the demo's models are smaller than those that ComfyUI knows; its error "
        '"no match" about them is expected'
    )
    conditioning = [[weights["conditioning"].float(), {}]]
    vae = comfy.sd.VAE(sd=_part(weights, _VAE))
    # The prefix is how ComfyUI recognises a ControlNet in Stable Diffusion's original format.
    control = {name: value for name, value in weights.items() if name.startswith(_CONTROL)}
    control_net = comfy.controlnet.load_controlnet_state_dict(control)
    return _unet(weights), control_net, vae, conditioning


def _read(path: Path) -> Weights:
    try:
        with safe_open(path, "pt") as file:
            header = parsed((file.metadata() or {})[HEADER_KEY])
            version = int(header["format_version"])
            if version <= FORMAT_VERSION:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise PriorError(
            f"{path.name} is not in the pack's folder {path.parent.name}; install the pack anew, "
            "with its weights"
        ) from error
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise PriorError(
            f"{path.name} is damaged or not the demo's weights ({error}); install the pack anew"
        ) from error
    raise PriorError(
        f"{path.name} has format version {version} and this version of SCP-Diff reads up to "
        f"{FORMAT_VERSION}; update SCP-Diff"
    )


def _part(weights: Weights, prefix: str) -> Weights:
    return {n[len(prefix) :]: w for n, w in weights.items() if n.startswith(prefix)}


def _unet(weights: Weights) -> Any:
    """A noise-predicting model of 1000 steps with the file's own noise levels."""
    values = {name: value for name, value in weights.items() if name.startswith(_UNET)}
    config = comfy.model_detection.model_config_from_unet(values, _UNET, True)
    # The autoencoder's `vae_scale` makes its latents those of this format.
    config.latent_format = comfy.latent_formats.SD15()
    management = comfy.model_management
    device, offload = management.get_torch_device(), management.unet_offload_device()
    dtype = management.unet_dtype(
        model_params=comfy.utils.calculate_parameters(values),
        supported_dtypes=config.supported_inference_dtypes,
        weight_dtype=torch.float16,
    )
    cast = management.unet_manual_cast(dtype, device, config.supported_inference_dtypes)
    config.set_inference_dtype(dtype, cast)
    model = config.get_model(values, _UNET, device=offload)
    patcher, taken = _patcher(model, device, offload)
    model.load_model_weights(values, _UNET, **taken)
    model.model_sampling.set_sigmas(weights["model_sampling.sigmas"])
    if "latent_rgb" in weights:
        # For previews while sampling: this autoencoder's channels mean other colors than
        # Stable Diffusion's.
        *factors, bias = weights["latent_rgb"].tolist()
        model.latent_format.latent_rgb_factors = factors
        model.latent_format.latent_rgb_factors_bias = bias
    return patcher


def _patcher(model: Any, device: Any, offload: Any) -> tuple[Any, dict[str, bool]]:
    """What manages the model's memory, and how it wants the weights to be loaded.

    Newer hosts have a class for their own models, which manages memory dynamically where it can:
    it then takes the tensors of the file as they are. Its VAE and ControlNet are of that class
    already.
    """
    module = comfy.model_patcher
    if not hasattr(module, "CoreModelPatcher"):
        return module.ModelPatcher(model, load_device=device, offload_device=offload), {}
    patcher = module.CoreModelPatcher(model, load_device=device, offload_device=offload)
    return patcher, {"assign": patcher.is_dynamic()}
