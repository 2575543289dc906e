"""One narrow model of each latent format, with random weights, of ComfyUI's own classes.

For snippets of `dev.host`, which load it by its path (`runpy.run_path`): it needs ComfyUI. A model
is what the host makes of a checkpoint of that family, two blocks deep and some ten channels wide.
"""

import importlib
import math
from dataclasses import dataclass, field
from typing import Any

import comfy.model_patcher
import comfy.supported_models
import torch

WIDE, TOKENS = 32, 7  # of the text's embedding: channels and tokens

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 1],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "num_heads": -1,
    "num_head_channels": 16,
    "use_spatial_transformer": True,
    "context_dim": WIDE,
    "legacy": False,
}
MMDIT = {
    "input_size": None,
    "in_channels": 16,
    "depth": 2,
    "adm_in_channels": 24,
    "context_embedder_config": {
        "target": "torch.nn.Linear",
        "params": {"in_features": WIDE, "out_features": 128},
    },
    "num_patches": 64 * 64,
    "pos_embed_max_size": 64,
}
# Flux, Chroma and Hunyuan are of one kind.
STREAMS = {
    "context_in_dim": WIDE,
    "hidden_size": 48,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "theta": 10000,
    "qkv_bias": True,
}
FLUX = {
    **STREAMS,
    "axes_dim": [8, 8, 8],
    "vec_in_dim": 24,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
CHROMA_RADIANCE = {
    **STREAMS,
    "in_channels": 3,
    "out_channels": 3,
    "axes_dim": [8, 8, 8],
    "patch_size": 16,
    "in_dim": 64,
    "out_dim": 48,
    "hidden_dim": 32,
    "n_layers": 1,
    "nerf_hidden_size": 16,
    "nerf_mlp_ratio": 2,
    "nerf_depth": 1,
    "nerf_max_freqs": 4,
    "nerf_tile_size": 0,
    "nerf_final_head_type": "conv",
    "nerf_embedder_dtype": torch.float32,
    "use_x0": False,
    "txt_ids_dims": [],
    "vec_in_dim": None,
    "use_sequential_txt_ids": False,
}
HUNYUAN = {
    **STREAMS,
    "vec_in_dim": None,
    "guidance_embed": False,
    "byt5": False,
    "meanflow": False,
    "meanflow_sum": False,
    "use_cond_type_embedding": False,
    "vision_in_dim": None,
}
WAN = {
    "model_type": "t2v",
    "dim": 48,
    "ffn_dim": 64,
    "freq_dim": 32,
    "text_dim": WIDE,
    "num_heads": 2,
    "num_layers": 2,
}


@dataclass(frozen=True)
class Narrow:
    """A family: its class in `comfy.supported_models`, its net, and what its graphs begin with.

    empty: the host's node for its empty latents, as (module, class, inputs besides the size).
    conditioning: what it needs besides text.
    params: the net's dataclass of parameters, as (module, class): newer hosts know more of them.
    """

    family: str
    net: dict[str, Any]
    empty: tuple[str, str, dict[str, Any]]
    conditioning: dict[str, torch.Tensor] = field(default_factory=dict)
    params: tuple[str, str] | None = None


STILL = {"length": 1}
POOLED = {"pooled_output": torch.ones(1, 24)}
FLUX_PARAMS = ("comfy.ldm.flux.model", "FluxParams")
CHROMA_PARAMS = ("comfy.ldm.chroma_radiance.model", "ChromaRadianceParams")
HUNYUAN_PARAMS = ("comfy.ldm.hunyuan_video.model", "HunyuanVideoParams")
MODELS = {
    "SD15": Narrow("SD15", {**UNET, "adm_in_channels": None}, ("nodes", "EmptyLatentImage", {})),
    "SDXL": Narrow(
        "SDXL",
        # The host gives its heads 64 channels each.
        {**UNET, "model_channels": 64, "num_classes": "sequential", "adm_in_channels": 2816},
        ("nodes", "EmptyLatentImage", {}),
        {"pooled_output": torch.ones(1, 1280)},
    ),
    "SD3": Narrow("SD3", MMDIT, ("comfy_extras.nodes_sd3", "EmptySD3LatentImage", {}), POOLED),
    "Flux": Narrow(
        "Flux",
        {**FLUX, "in_channels": 16, "out_channels": 16, "patch_size": 2},
        ("comfy_extras.nodes_sd3", "EmptySD3LatentImage", {}),
        POOLED,
        FLUX_PARAMS,
    ),
    "Flux2": Narrow(
        "Flux2",
        {**FLUX, "in_channels": 128, "out_channels": 128, "patch_size": 1, "vec_in_dim": None},
        ("comfy_extras.nodes_flux", "EmptyFlux2LatentImage", {}),
        POOLED,
        FLUX_PARAMS,
    ),
    "QwenImage": Narrow(
        "QwenImage",
        {
            "attention_head_dim": 24,
            "num_attention_heads": 2,
            "joint_attention_dim": WIDE,
            "num_layers": 2,
            "axes_dims_rope": (8, 8, 8),
        },
        ("comfy_extras.nodes_sd3", "EmptySD3LatentImage", {}),
    ),
    "Wan21": Narrow(
        "WAN21_T2V", WAN, ("comfy_extras.nodes_hunyuan", "EmptyHunyuanLatentVideo", STILL)
    ),
    "Wan22": Narrow(
        "WAN22_T2V",
        {**WAN, "in_dim": 48, "out_dim": 48},
        ("comfy_extras.nodes_wan", "Wan22ImageToVideoLatent", {**STILL, "vae": None}),
    ),
    "HunyuanImage21": Narrow(
        "HunyuanImage21",
        {
            **HUNYUAN,
            "in_channels": 64,
            "out_channels": 64,
            "patch_size": [1, 1],
            "axes_dim": [12, 12],
        },
        ("comfy_extras.nodes_hunyuan", "EmptyHunyuanImageLatent", {}),
        params=HUNYUAN_PARAMS,
    ),
    "HunyuanVideo": Narrow(
        "HunyuanVideo",
        {
            **HUNYUAN,
            "in_channels": 16,
            "out_channels": 16,
            "patch_size": [1, 2, 2],
            "axes_dim": [8, 8, 8],
            "vec_in_dim": 24,
        },
        ("comfy_extras.nodes_hunyuan", "EmptyHunyuanLatentVideo", STILL),
        POOLED,
        HUNYUAN_PARAMS,
    ),
    "HunyuanVideo15": Narrow(
        "HunyuanVideo15",
        {
            **HUNYUAN,
            "in_channels": 65,
            "out_channels": 32,
            "patch_size": [1, 1, 1],
            "axes_dim": [8, 8, 8],
        },
        ("comfy_extras.nodes_hunyuan", "EmptyHunyuanVideo15Latent", STILL),
        POOLED,
        HUNYUAN_PARAMS,
    ),
    "LTXV": Narrow(
        "LTXV",
        {
            "in_channels": 128,
            "cross_attention_dim": 48,
            "attention_head_dim": 24,
            "num_attention_heads": 2,
            "caption_channels": WIDE,
            "num_layers": 2,
        },
        ("comfy_extras.nodes_lt", "EmptyLTXVLatentVideo", STILL),
        {"attention_mask": torch.ones(1, TOKENS, dtype=torch.long)},
    ),
    "ChromaRadiance": Narrow(
        "ChromaRadiance",
        CHROMA_RADIANCE,
        ("comfy_extras.nodes_chroma_radiance", "EmptyChromaRadianceLatentImage", {}),
        POOLED,
        CHROMA_PARAMS,
    ),
}


def model_of(name: str) -> Any:
    """The MODEL of this name: weights of one seed, norms near 1."""
    narrow = MODELS[name]
    family = getattr(comfy.supported_models, narrow.family)
    net = narrow.net
    if narrow.params:
        module, params = narrow.params
        known = getattr(importlib.import_module(module), params).__dataclass_fields__
        net = {key: value for key, value in net.items() if key in known}
    config = family({**family.unet_config, **net})
    config.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    model = config.get_model({}, "", device=cpu)
    generator = torch.Generator().manual_seed(len(name))
    for weight in model.diffusion_model.state_dict().values():
        if weight.is_floating_point() and weight.numel():
            scale = 0.1 if weight.ndim < 2 else math.prod(weight.shape[1:]) ** -0.5
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def conditioning_of(name: str) -> list[Any]:
    """A CONDITIONING of random text."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randn(1, TOKENS, WIDE, generator=generator)
    return [[text, dict(MODELS[name].conditioning)]]


def empty_of(name: str, width: int, height: int, batch_size: int = 1) -> dict[str, Any]:
    """The LATENT of the model's own empty node."""
    module, node, inputs = MODELS[name].empty
    return run_node(module, node, width=width, height=height, batch_size=batch_size, **inputs)


def run_node(module: str, node: str, **inputs: Any) -> Any:
    """The first output of a node of the host, of either of its two kinds."""
    found = getattr(importlib.import_module(module), node)
    if hasattr(found, "define_schema"):
        return found.execute(**inputs).args[0]
    return getattr(found(), found.FUNCTION)(**inputs)[0]
