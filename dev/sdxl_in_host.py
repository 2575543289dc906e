"""Draws the weights of a small SDXL for `dev.weights`. A snippet for `dev.host`: never imported.

ComfyUI's loader takes a UNet for a relative of SDXL by its 320 channels, its text's width and the
depth of its transformers; this is KOALA's, as wide in its lower levels as in the first one. Both
text encoders are in their full size, since loaders accept no other.

args: a list of [name of the recipe, path of the file to write].
"""

import json
import runpy
from pathlib import Path

import comfy.clip_model
import comfy.sdxl_clip
from safetensors.torch import save_file

shared = runpy.run_path(
    str(Path(__file__).with_name("weights_in_host.py")), init_globals={"args": []}
)

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [1, 1, 1],
    "channel_mult": [1, 1, 1],
    "transformer_depth": [0, 2, 5],
    "transformer_depth_output": [0, 0, 0, 0, 0, 0],
    "transformer_depth_middle": -1,
    "num_heads": -1,
    "num_head_channels": 64,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "context_dim": 2048,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
    "legacy": False,
}
LATENT = (0.13025, 0.0)


def clip_g() -> dict:
    folder = Path(comfy.sdxl_clip.__file__).parent
    config = json.loads((folder / "clip_config_bigg.json").read_text())
    return shared["draw"](comfy.clip_model.CLIPTextModel(config, **shared["META"]), "clip-g")


def checkpoint() -> dict:
    prefixed = shared["prefixed"]
    return {
        **prefixed("model.diffusion_model.", shared["unet"](UNET, "sdxl")),
        **prefixed("first_stage_model.", shared["tiny_vae"](4, LATENT)),
        **prefixed("conditioner.embedders.0.transformer.", shared["clip_l"]("clip")),
        **prefixed("conditioner.embedders.1.model.transformer.", clip_g()),
    }


RECIPES = {
    "tiny-sdxl": checkpoint,
    "tiny-sdxl-controlnet": lambda: shared["controlnet"](UNET, "sdxl-controlnet"),
}

for recipe, path in args:  # noqa: F821
    save_file(RECIPES[recipe](), path)
result = True
