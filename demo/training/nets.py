"""The models, from ComfyUI's own classes, with values to start training from."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from demo.training.setting import CHANNELS, HINT_CHANNELS, LATENT_SCALE, UNET
from dev.comfyui import ensure_comfyui


def use_comfyui() -> None:
    """Make ComfyUI's packages importable; harmless when they are."""
    folder = str(ensure_comfyui())
    if folder in sys.path:
        return
    # Before the repository, whose `nodes` would hide ComfyUI's module of that name.
    sys.path.insert(0, folder)
    from comfy.cli_args import args

    args.cpu = args.cpu or not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True


def autoencoder() -> nn.Module:
    """A TAESD for latents of 4 channels, ready to train: images and latents as the VAE has them."""
    use_comfyui()
    from comfy.taesd.taesd import TAESD

    net = _initialised(TAESD(latent_channels=CHANNELS))
    net.vae_scale.requires_grad_(False)
    net.vae_shift.requires_grad_(False)
    for block in net.modules():
        # A residual block that starts as the identity trains faster.
        if hasattr(block, "fuse"):
            nn.init.zeros_(block.conv[-1].weight)
            nn.init.zeros_(block.conv[-1].bias)
    with torch.no_grad():
        _start_from_mean_colors(net)
    return net


def _start_from_mean_colors(net: nn.Module) -> None:
    """Latents 0..2 start as the mean colors of 8 x 8 pixels, and decode to them.

    Colors are what comes last to an autoencoder that starts at random. Three of the 64 channels
    carry them; the others start at random, and count for little in what is painted.
    """
    gain = 4.0
    encoder, decoder = net.taesd_encoder, net.taesd_decoder

    def carry(layer: nn.Module, rows: slice, columns: slice, weight: float) -> None:
        for c in range(3):
            layer.weight[c] = 0
            layer.weight[c, c, rows, columns] = weight
        if layer.bias is not None:
            layer.bias[:3] = 0

    middle = slice(1, 2)
    carry(encoder[0], middle, middle, 1.0)
    for i in (2, 6, 10):
        # With stride 2 these are the pixels 2i and 2i + 1.
        carry(encoder[i], slice(1, 3), slice(1, 3), 0.25)
    carry(encoder[14], middle, middle, gain)
    encoder[14].bias[:3] = -gain / 2
    carry(decoder[1], middle, middle, 1 / gain)
    decoder[1].bias[:3] = 0.5
    for i in (7, 12, 17):
        carry(decoder[i], middle, middle, 1.0)
    decoder[19].weight *= 0.1
    for c in range(3):
        decoder[19].weight[c, c, 1, 1] = 1.0


def unet() -> nn.Module:
    """A small UNet of Stable Diffusion's kind."""
    use_comfyui()
    from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel

    net = _initialised(UNetModel(**UNET, out_channels=CHANNELS))
    for block in net.modules():
        if isinstance(block, ResBlock):
            nn.init.zeros_(block.out_layers[-1].weight)
    nn.init.zeros_(net.out[-1].weight)
    return net


def controlnet(base: nn.Module) -> nn.Module:
    """A ControlNet for `base`: its encoder's values, and convolutions of zeros at its outputs."""
    use_comfyui()
    from comfy.cldm.cldm import ControlNet

    net = _initialised(ControlNet(**UNET, hint_channels=HINT_CHANNELS))
    missing = net.load_state_dict(base.state_dict(), strict=False).missing_keys
    for name, value in net.named_parameters():
        if name.startswith(("zero_convs.", "middle_block_out.")) and name in missing:
            nn.init.zeros_(value)
    return net


def encode(net: nn.Module, images: Tensor) -> Tensor:
    """Images [N, 3, H, W] in 0..1 to latents [N, 4, h, w] in the diffusion model's units."""
    return net.encode(images * 2 - 1) * LATENT_SCALE


def decode(net: nn.Module, latents: Tensor) -> Tensor:
    """Latents in the diffusion model's units to images [N, 3, H, W] in 0..1."""
    return (net.decode(latents / LATENT_SCALE) * 0.5 + 0.5).clamp(0, 1)


def _initialised(net: nn.Module) -> nn.Module:
    """ComfyUI's layers leave their values to a file; torch's own start is used here."""
    kinds = (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm)
    for module in net.modules():
        for kind in kinds:
            if isinstance(module, kind):
                kind.reset_parameters(module)
    return net
