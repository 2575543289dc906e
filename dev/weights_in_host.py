"""Draws the weights for `dev.weights`. A snippet for `dev.host`: it is never imported.

ComfyUI's own classes, built without memory for their values, give the names and shapes; the
values come from seeded generators, one per tensor, so that no tensor depends on another's.

args: a list of [name of the recipe, path of the file to write].
"""

import hashlib
import json
import math
from pathlib import Path

import comfy.cldm.cldm
import comfy.clip_model
import comfy.ldm.models.autoencoder
import comfy.ldm.modules.diffusionmodules.mmdit
import comfy.ldm.modules.diffusionmodules.openaimodel
import comfy.ops
import comfy.sd1_clip
import comfy.taesd.taesd
import torch
from safetensors.torch import save_file

Weights = dict[str, torch.Tensor]

SD15_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "num_heads": 8,
    "use_spatial_transformer": True,
    "context_dim": 768,
    "legacy": False,
}
# The smallest that ComfyUI takes for Stable Diffusion 1: 320 channels and one text attention.
TINY_UNET = {
    **SD15_UNET,
    "num_res_blocks": [1],
    "channel_mult": [1],
    "transformer_depth": [1],
    "transformer_depth_output": [0, 0],
    "transformer_depth_middle": -1,
}
# Depth is also the number of heads, of 64 channels each. 64 x 64 patches are 1024 pixels a side.
TINY_MMDIT = {
    "input_size": None,
    "in_channels": 16,
    "depth": 2,
    "adm_in_channels": 2048,
    "context_embedder_config": {
        "target": "torch.nn.Linear",
        "params": {"in_features": 4096, "out_features": 128},
    },
    "num_patches": 64 * 64,
    "pos_embed_max_size": 64,
}
SD15_VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}
# From the VAE's own units to those of the diffusion model: scale * (latent - shift).
SD15_LATENT = (0.18215, 0.0)
SD3_LATENT = (1.5305, 0.0609)

META = {
    "dtype": torch.float16,
    "device": "meta",
    "operations": comfy.ops.disable_weight_init,
}


def draw(model: torch.nn.Module, salt: str) -> Weights:
    """Values for a model built on the meta device: norms 1, biases 0, the rest normal.

    Their scale, one over the root of the fan-in, keeps the size of what passes through.
    """
    weights = {}
    for name, like in model.state_dict().items():
        shape = tuple(like.shape)
        if name.endswith("bias"):
            value = torch.zeros(shape)
        elif len(shape) < 2:
            value = torch.ones(shape)
        else:
            digest = hashlib.sha256(f"{salt}.{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            looked_up = "embedding" in name or "pos_embed" in name
            scale = 0.02 if looked_up else math.prod(shape[1:]) ** -0.5
            value = torch.randn(shape, generator=generator).mul_(scale)
        weights[name] = value.to(torch.float16)
    return weights


def unet(config: dict, salt: str) -> Weights:
    """A UNet whose answer is x / rms(x), x being its input, plus a random part of 0.3 times that.

    With noise alone for an answer, each sampler step would add some and latents would end at ten
    times their size. An answer along x is the right one for data that is unit noise, so sampling
    behaves as with a real model, only that it paints what it started from.
    """
    module = comfy.ldm.modules.diffusionmodules.openaimodel
    weights = draw(module.UNetModel(**config, out_channels=4, **META), salt)
    # x travels as the channel pairs +x and -x: silu(a) - silu(-a) = a, so nothing on the way
    # bends it. Its ten channels are one group of the last norm, with mean 0 and 8 used.
    pairs, group = range(4), slice(0, 10)
    first = weights["input_blocks.0.0.weight"]
    first[group] = 0
    for c in pairs:
        first[2 * c, c, 1, 1], first[2 * c + 1, c, 1, 1] = 1, -1
    last = f"output_blocks.{sum(config['num_res_blocks']) + len(config['channel_mult']) - 1}"
    skip = weights[f"{last}.0.skip_connection.weight"]
    skip[group] = 0
    # The first block's output is the last one's second half of channels.
    start = skip.shape[1] - config["model_channels"]
    for i in range(8):
        skip[i, start + i] = 1
    for name in (f"{last}.0.out_layers.3.weight", f"{last}.1.proj_out.weight"):
        if name in weights:
            weights[name][group] *= 0.1
    answer = weights["out.2.weight"]
    answer *= 0.2
    answer[:, group] = 0
    for c in pairs:
        answer[c, 2 * c, 1, 1], answer[c, 2 * c + 1, 1, 1] = 0.8**0.5, -(0.8**0.5)
    return weights


def controlnet(config: dict, salt: str) -> Weights:
    """A ControlNet past its first training step: its "zero" convolutions are small, not zero."""
    model = comfy.cldm.cldm.ControlNet(**config, hint_channels=3, **META)
    weights = draw(model, salt)
    for name, value in weights.items():
        if name.startswith(("zero_convs.", "middle_block_out.")):
            value *= 0.1
        elif name.startswith("input_hint_block."):
            # Without a norm between them, SiLU would shrink the hint layer by layer.
            value *= 1.7
    return weights


def mmdit(config: dict, salt: str) -> Weights:
    weights = draw(comfy.ldm.modules.diffusionmodules.mmdit.MMDiT(**config, **META), salt)
    weights["final_layer.linear.weight"] *= 0.5
    return weights


def clip_l(salt: str) -> Weights:
    """The text encoder of Stable Diffusion 1, in its full size: loaders accept no other."""
    config = json.loads(Path(comfy.sd1_clip.__file__).with_name("sd1_clip_config.json").read_text())
    weights = draw(comfy.clip_model.CLIPTextModel(config, **META), salt)
    # Not in Stable Diffusion's checkpoints either.
    weights.pop("text_projection.weight", None)
    return weights


def sd15_vae(salt: str) -> Weights:
    with torch.device("meta"):
        model = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=SD15_VAE, embed_dim=4)
    weights = draw(model, salt)
    scale = SD15_LATENT[0]
    weights["quant_conv.weight"][:4] /= scale
    weights["post_quant_conv.weight"] *= scale
    return weights


def tiny_vae(channels: int, latent: tuple[float, float]) -> Weights:
    """A VAE of the small TAESD architecture, written by hand: the latent is the small picture.

    With m the mean color of 8 x 8 pixels, each in 0..1, latent channels 0..3 are red, green,
    blue and grey of 4 (m - 0.5) in the diffusion model's units; further channels repeat them,
    every second time negated. Decoding paints each latent cell as 8 x 8 pixels of its color.
    """
    with torch.device("meta"):
        model = comfy.taesd.taesd.TAESD(latent_channels=channels)
    weights = {name: torch.zeros(like.shape) for name, like in model.state_dict().items()}
    colors = torch.cat([torch.eye(3), torch.full((1, 3), 1 / 3)])
    mix = torch.cat([colors * (-1) ** i for i in range(channels // 4)]) * 4.0
    rgb = range(3)

    # The residual blocks, all zero, pass what is not negative, and colors are not.
    for c in rgb:
        weights["taesd_encoder.0.weight"][c, c, 1, 1] = 1
    for layer in (2, 6, 10):
        for c in rgb:
            # With stride 2 these are the pixels 2i and 2i + 1.
            weights[f"taesd_encoder.{layer}.weight"][c, c, 1:, 1:] = 0.25
    weights["taesd_encoder.14.weight"][:, :3, 1, 1] = mix
    weights["taesd_encoder.14.bias"][:] = -0.5 * mix.sum(dim=1)

    weights["taesd_decoder.1.weight"][:3, :, 1, 1] = torch.linalg.pinv(mix)
    weights["taesd_decoder.1.bias"][:3] = 0.5
    for layer in (7, 12, 17, 19):
        for c in rgb:
            weights[f"taesd_decoder.{layer}.weight"][c, c, 1, 1] = 1
    # Scalars stay in float32: in float16 the scale would be 0.02% off.
    halved = {name: value.half() for name, value in weights.items()}
    return {**halved, "vae_scale": torch.tensor(latent[0]), "vae_shift": torch.tensor(latent[1])}


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: value for name, value in weights.items()}


def sd15() -> Weights:
    return {
        **prefixed("model.diffusion_model.", unet(SD15_UNET, "sd15")),
        **prefixed("first_stage_model.", sd15_vae("sd15-vae")),
        **prefixed("cond_stage_model.transformer.", clip_l("clip")),
    }


def tiny_eps() -> Weights:
    return {
        **prefixed("model.diffusion_model.", unet(TINY_UNET, "tiny")),
        **prefixed("first_stage_model.", tiny_vae(4, SD15_LATENT)),
        **prefixed("cond_stage_model.transformer.", clip_l("clip")),
    }


def tiny_flow() -> Weights:
    return {
        **prefixed("model.diffusion_model.", mmdit(TINY_MMDIT, "flow")),
        **prefixed("first_stage_model.", tiny_vae(16, SD3_LATENT)),
        **prefixed("text_encoders.clip_l.transformer.", clip_l("clip")),
    }


RECIPES = {
    "sd15": sd15,
    "sd15-controlnet": lambda: controlnet(SD15_UNET, "sd15-controlnet"),
    "tiny-eps": tiny_eps,
    "tiny-flow": tiny_flow,
    "tiny-controlnet": lambda: controlnet(TINY_UNET, "tiny-controlnet"),
    "tiny-vae-4": lambda: tiny_vae(4, SD15_LATENT),
    "tiny-vae-16": lambda: tiny_vae(16, SD3_LATENT),
}

for recipe, path in args:  # noqa: F821
    save_file(RECIPES[recipe](), path)
result = True
