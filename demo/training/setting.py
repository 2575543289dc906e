"""The architectures and the noise schedule of the demo's models."""

from __future__ import annotations

from torch import Tensor

from prior_tools.schedule import SD_STEPS, stable_diffusion_alpha_bar

DOWNSCALE, CHANNELS = 8, 4
# Of the model in the repository: 288 x 144 pixels.
CELLS = 36 * 18

# Of the kind of Stable Diffusion's, at a fifth of its width. ComfyUI gives a ControlNet that it
# does not know 64 channels a head, so the UNet has 64 too.
UNET = {
    "image_size": 32,
    "in_channels": CHANNELS,
    "model_channels": 64,
    "num_res_blocks": [1, 1, 1],
    "channel_mult": [1, 2, 2],
    "transformer_depth": [0, 1, 1],
    "transformer_depth_output": [0, 0, 1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "num_heads": -1,
    "num_head_channels": 64,
    "use_spatial_transformer": True,
    "context_dim": 64,
    "legacy": False,
}
# One token of zeros: the models know no words.
CONTEXT = (1, 1, UNET["context_dim"])
HINT_CHANNELS = 3

# Stable Diffusion's factor, which the autoencoder takes as its `vae_scale`.
LATENT_SCALE = 0.18215

# How much of a dataset's mean a model can read from its noisiest input grows with alpha_bar_T
# times the number of cells: 38 for Stable Diffusion at 1024 x 512 pixels.
LEAK = 38.0
STEPS = SD_STEPS


def alpha_bar(cells: int = CELLS) -> Tensor:
    """Stable Diffusion's schedule lifted so that alpha_bar_T * cells is LEAK: float64 [1000].

    Lifting adds a floor and leaves the shape: a schedule whose steps are only made smaller would
    have more than twice the signal at 0.8 T (0.16 against 0.09; Stable Diffusion has 0.037), and
    there the prior's white part would weigh more than in real use.
    """
    usual = stable_diffusion_alpha_bar()
    floor = (LEAK / cells - usual[-1]) / (1 - usual[-1])
    return floor + (1 - floor) * usual


def sigmas(alpha_bars: Tensor) -> Tensor:
    """ComfyUI's noise levels of a schedule: float32 [1000]."""
    return ((1 - alpha_bars) / alpha_bars).sqrt().float()
