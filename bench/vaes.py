"""The two VAEs that are measured, loaded as the command line loads them."""

from __future__ import annotations

from dev import weights
from dev.comfyui import ensure_comfyui
from prior_tools.cli.comfy_vae import ComfyVAE, load_vae

SD = "SD VAE"
SMALL = "small VAE"

SAID = "random weights in the architectures of Stable Diffusion's VAE and of TAESD, on the CPU"


def load(name: str, dtype: str = "auto") -> ComfyVAE:
    """The VAE of this name, on the CPU."""
    file = weights.sd15_checkpoint() if name == SD else weights.tiny_vae(4)
    return load_vae(file, ensure_comfyui(), "cpu", dtype)
