"""A VAE loaded by ComfyUI's own loader, so that latents are those of the graph.

The one module of `prior_tools` that imports ComfyUI, and only when called.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import PriorError
from ..latent_formats import VaeLatents
from ..vae_fingerprint import VaeFingerprint, fingerprint_weights
from ..vae_pictures import encode_pictures, latents_of

DTYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ComfyVAE:
    """A VAE that is ready to encode.

    Attributes:
        encode: images float32 [N, H, W, 3] in 0..1 to latents float32 [N, C, h, w] in raw VAE
            units on the CPU, as ComfyUI's VAE Encode gives them: the posterior's mode.
        latents: what ComfyUI has for their channels, dimensions and pixels per cell.
        fingerprint: of its weights.
        device: where it runs.
        dtype: in which precision.
    """

    encode: Callable[[Tensor], Tensor]
    latents: VaeLatents
    fingerprint: VaeFingerprint
    device: str
    dtype: str


def find_comfyui(given: Path | None = None) -> Path:
    """ComfyUI's folder: the one given, that of COMFYUI_DIR, or the one this pack lies in.

    Raises PriorError if there is none.
    """
    pack = Path(__file__).absolute().parents[2]
    environment = os.environ.get("COMFYUI_DIR")
    named = given or (Path(environment) if environment else None)
    candidates = [named] if named else [pack.parents[1], pack.resolve().parents[1]]
    for folder in candidates:
        if (folder / "comfy" / "sd.py").is_file():
            return folder.resolve()
    where = str(named) if named else "the folder above custom_nodes that this pack would lie in"
    raise PriorError(
        f"ComfyUI is not in {where}; give its folder, the one with main.py, by --comfyui DIR"
    )


def load_vae(
    path: Path | str, comfyui: Path, device: str = "auto", dtype: str = "auto"
) -> ComfyVAE:
    """Load a VAE file, or the VAE of a checkpoint, as ComfyUI's loaders do.

    Args:
        path: safetensors file.
        comfyui: see `find_comfyui`.
        device: "auto" lets ComfyUI choose; else one that is there, see `choose_device`.
        dtype: "auto" lets ComfyUI choose by device; "fp32", "bf16", "fp16".

    Raises PriorError if the file is damaged or holds no VAE.
    """
    path = Path(path)
    if not path.is_file():
        raise PriorError(f"there is no VAE file {path}")
    if dtype not in DTYPES:
        raise PriorError(f"dtype is {dtype!r}; expected one of {', '.join(DTYPES)}")
    if path.suffix.lower() not in (".safetensors", ".sft"):
        raise PriorError(f"{path.name} is not a safetensors file; convert it first")
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        raise PriorError(
            f"the VAE file {path.name} cannot be read ({error}); download or copy it again"
        ) from error
    _settle_device(device, comfyui)
    import comfy.model_management
    import comfy.sd
    import comfy.utils

    weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    prefix = "first_stage_model."
    if any(name.startswith(prefix) for name in weights):
        weights = {n[len(prefix) :]: w for n, w in weights.items() if n.startswith(prefix)}
    vae = comfy.sd.VAE(sd=weights, dtype=DTYPES[dtype], metadata=metadata)
    if vae.first_stage_model is None:
        raise PriorError(
            f"ComfyUI finds no VAE in {path.name}; expected a VAE file or a checkpoint with its VAE"
        )

    def encode(images: Tensor) -> Tensor:
        return encode_pictures(vae, images).float().cpu()

    return ComfyVAE(
        encode=encode,
        latents=latents_of(vae),
        fingerprint=fingerprint_weights(vae.get_sd()),
        device=str(vae.device),
        dtype=str(vae.vae_dtype).removeprefix("torch."),
    )


def _settle_device(device: str, comfyui: Path) -> None:
    """Import ComfyUI's settings and tell it the device, before it looks for one itself."""
    # Before this pack's own folder, whose `nodes` would hide ComfyUI's module of that name.
    sys.path.insert(0, str(comfyui))
    from comfy.cli_args import args

    if device == "auto":
        # Where it finds nothing that it knows, ComfyUI takes CUDA for granted.
        others = (getattr(torch, kind, None) for kind in ("xpu", "npu", "mlu"))
        kinds = (torch.cuda, torch.backends.mps, *filter(None, others))
        args.cpu = args.cpu or not any(kind.is_available() for kind in kinds)
    elif device == "cpu":
        args.cpu = True
    elif device.startswith("cuda:"):
        torch.cuda.set_device(device)
