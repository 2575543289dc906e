"""One narrow VAE of each latent format, with random weights, of ComfyUI's own classes.

For snippets of `dev.host`, which load it by its path (`runpy.run_path`): it needs ComfyUI. The
host recognises each by the keys and shapes of a file, as it does a user's; only the widths of the
net that it then makes are others, and no weights are read into it.
"""

import json
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import comfy.ldm.wan.vae
import comfy.ldm.wan.vae2_2
import comfy.sd
import torch

# What the host knows a family by: name of a weight -> its shape.
STILLS = {"encoder.down.2.downsample.conv.weight": (1,)}
WAN = {
    "decoder.middle.0.residual.0.gamma": (1,),
    "decoder.head.0.gamma": (8,),
    "decoder.head.2.weight": (3, 8),
    "encoder.conv1.weight": (8, 3),
}
LTXV_STAGES = [["compress_all", 1], ["compress_all", 1], ["compress_all", 1], ["res_x", 1]]
LTXV = {
    "dims": 3,
    "latent_channels": 128,
    "blocks": LTXV_STAGES,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
}


@dataclass(frozen=True)
class Narrow:
    """A VAE: what the host knows it by, the class of its net, and what is narrower in it.

    net: (module, name) of the class; what it is given holds the widths at any depth.
    """

    keys: dict[str, tuple[int, ...]]
    net: tuple[Any, str] | None = None
    widths: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] | None = None


KL, ENGINE = (comfy.sd, "AutoencoderKL"), (comfy.sd, "AutoencodingEngine")
UNET = {"ch": 32, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1}
VAES = {
    "SD15": Narrow(
        {**STILLS, "decoder.conv_in.weight": (1, 4, 1, 1), "post_quant_conv.weight": (1, 4)},
        KL,
        UNET,
    ),
    "SD3": Narrow({**STILLS, "decoder.conv_in.weight": (1, 16, 1, 1)}, ENGINE, UNET),
    "Flux2": Narrow(
        {
            **STILLS,
            "decoder.conv_in.weight": (1, 32, 1, 1),
            "post_quant_conv.weight": (1, 32),
            "bn.running_mean": (128,),
        },
        KL,
        UNET,
    ),
    "Wan21": Narrow(WAN, (comfy.ldm.wan.vae, "WanVAE"), {"dim": 8}),
    "Wan22": Narrow(
        {**WAN, "decoder.upsamples.0.upsamples.0.residual.2.weight": (1,)},
        (comfy.ldm.wan.vae2_2, "WanVAE"),
        {"dim": 8, "dec_dim": 8, "num_res_blocks": 1},
    ),
    "HunyuanImage21": Narrow(
        {"decoder.conv_in.weight": (1, 64, 1, 1)},
        ENGINE,
        {"block_out_channels": [32, 32, 64, 64, 128, 128], "num_res_blocks": 1},
    ),
    "HunyuanVideo": Narrow(
        {"decoder.conv_in.conv.weight": (1, 16), "post_quant_conv.weight": (1, 16)}, KL, UNET
    ),
    "HunyuanVideo15": Narrow(
        {"decoder.conv_in.conv.weight": (1, 32)},
        ENGINE,
        {"block_out_channels": [32, 32, 64, 64, 64], "num_res_blocks": 1},
    ),
    "LTXV": Narrow(
        {"decoder.up_blocks.0.res_blocks.0.conv1.conv.weight": (512,)},
        metadata={"config": json.dumps({"vae": LTXV})},
    ),
    "ChromaRadiance": Narrow({"pixel_space_vae": ()}),
}
# Models that have the VAE of another.
SAME = {"SDXL": "SD15", "Flux": "SD3", "QwenImage": "Wan21"}


def vae_of(name: str) -> Any:
    """The VAE of the model of this name in `narrow_models`: weights of one seed, norms near 1."""
    narrow = VAES[SAME.get(name, name)]
    keys = {key: torch.zeros(shape) for key, shape in narrow.keys.items()}
    if narrow.net is None:
        with patch.object(torch.nn.Module, "load_state_dict", _reads_nothing):
            vae = comfy.sd.VAE(sd=keys, metadata=narrow.metadata)
    else:
        module, class_name = narrow.net
        made = getattr(module, class_name)

        def narrower(**given: Any) -> Any:
            return made(**_with(given, narrow.widths))

        with (
            patch.object(module, class_name, narrower),
            patch.object(torch.nn.Module, "load_state_dict", _reads_nothing),
        ):
            vae = comfy.sd.VAE(sd=keys)
    generator = torch.Generator().manual_seed(len(name))
    for key, weight in vae.first_stage_model.state_dict().items():
        if not weight.is_floating_point() or not weight.numel() or key == "pixel_space_vae":
            continue
        if key.endswith(("running_var", "std-of-means", "gamma")):
            weight.fill_(1.0)
        else:
            scale = 0.1 if weight.ndim < 2 else (weight.numel() / len(weight)) ** -0.5
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return vae


def _reads_nothing(*_: Any, **__: Any) -> tuple[list[str], list[str]]:
    return [], []


def _with(given: Any, widths: dict[str, Any]) -> Any:
    """Arguments with these in the place of what has their names, at any depth."""
    if not isinstance(given, dict):
        return given
    return {k: widths[k] if k in widths else _with(v, widths) for k, v in given.items()} | {
        k: v for k, v in widths.items() if "z_dim" in given
    }
