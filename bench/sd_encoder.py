"""The encoder of Stable Diffusion's VAE in plain torch, for machines without ComfyUI.

Tensors have the names that they have in checkpoint files, below `first_stage_model.`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention, silu

WIDTH = 128
WIDER = (1, 2, 4, 4)
BLOCKS = 2
LATENT_CHANNELS = 4


def norm(channels: int) -> nn.GroupNorm:
    """In 32 groups, as every norm of this net."""
    return nn.GroupNorm(32, channels, eps=1e-6)


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(before), nn.Conv2d(before, after, 3, padding=1)
        self.norm2, self.conv2 = norm(after), nn.Conv2d(after, after, 3, padding=1)
        self.nin_shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, before, h, w] to [N, after, h, w]."""
        inner = self.conv1(silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(silu(self.norm2(inner)))


class Attention(nn.Module):
    """Of every place to every other, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] to the same."""
        calm = self.norm(x)
        q, k, v = (part(calm).flatten(2).transpose(1, 2)[:, None] for part in self._asked())
        seen = scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(seen[:, 0].transpose(1, 2).reshape(x.shape))

    def _asked(self) -> tuple[nn.Module, ...]:
        return self.q, self.k, self.v


class Halving(nn.Module):
    """To half the size; the edge is added at the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] to [N, C, h // 2, w // 2]."""
        return self.conv(pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    """All blocks of one size."""

    def __init__(self, before: int, after: int, halve: bool) -> None:
        super().__init__()
        self.block = nn.Sequential(*(Block(after if i else before, after) for i in range(BLOCKS)))
        self.downsample = Halving(after) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, before, h, w] to [N, after, h, w], or half of h and w."""
        return self.downsample(self.block(x))


class Middle(nn.Module):
    """Attention between two blocks, at the smallest size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1, self.block_2 = Block(channels, channels), Block(channels, channels)
        self.attn_1 = Attention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] to the same."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """Pictures to mean and log variance of the latents, before the last mixing of channels."""

    def __init__(self, width: int, wider: Sequence[int]) -> None:
        super().__init__()
        sizes = [width, *(width * factor for factor in wider)]
        self.conv_in = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.Sequential(
            *(Level(sizes[i], sizes[i + 1], i + 1 < len(wider)) for i in range(len(wider)))
        )
        self.mid = Middle(sizes[-1])
        self.norm_out = norm(sizes[-1])
        self.conv_out = nn.Conv2d(sizes[-1], 2 * LATENT_CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] in -1..1 to [N, 8, H / 8, W / 8]."""
        return self.conv_out(silu(self.norm_out(self.mid(self.down(self.conv_in(x))))))


class SDEncoder(nn.Module):
    """Pictures to the mode of their latents, in raw VAE units.

    width: channels at full size, a multiple of 32; the real net has 128.
    """

    def __init__(self, width: int = WIDTH, wider: Sequence[int] = WIDER) -> None:
        super().__init__()
        self.encoder = Encoder(width, wider)
        self.quant_conv = nn.Conv2d(2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] in -1..1 to [N, 4, H / 8, W / 8]."""
        mean, _ = self.quant_conv(self.encoder(x)).chunk(2, 1)
        return mean


def random_encoder(width: int = WIDTH, seed: int = 0) -> SDEncoder:
    """With torch's usual random weights, the same for each seed; the global stream is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SDEncoder(width).eval().requires_grad_(False)
