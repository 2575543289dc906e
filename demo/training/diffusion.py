"""The UNet, trained without labels, and the ControlNet on top of it, trained with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from demo.training import nets
from demo.training.loop import Plan, train
from demo.training.setting import CONTEXT, STEPS

UNET_STEPS, CONTROL_STEPS = 6500, 3500
BATCH, UNET_RATE, CONTROL_RATE = 16, 6e-4, 4e-4
# A hint, which takes as long as the rest of the ControlNet, serves this many times and noises.
PER_HINT = 2
# Steps for which a finished ControlNet is trained on, and the part of T after which a start may
# stand in for the truth there.
TUNING_STEPS, LATE = 500, 0.75
# Of the loss at low noise, which counts for most steps and least for what is seen.
MOST_SIGNAL_TO_NOISE = 5.0

# Latents [B, 4, h, w] to start from for the latents of these numbers [B], by a seed.
Starts = Callable[[Tensor, int], Tensor]


def train_unet(
    latents: Tensor,
    alpha_bars: Tensor,
    folder: Path,
    name: str = "unet",
    steps: int = UNET_STEPS,
    bfloat16: bool = False,
) -> nn.Module:
    """Train on latents [N, 4, h, w] of a diverse set, without their labels."""
    net = nets.unet().to(memory_format=torch.channels_last)
    batches = _Batches(latents, alpha_bars)

    def loss(generator: torch.Generator) -> Tensor:
        _, noised, t, noise = batches.draw(generator)
        answer = net(noised, t, context=torch.zeros(CONTEXT).expand(BATCH, -1, -1))
        return batches.loss(answer, noise, t)

    return train(net, Plan(name, steps, UNET_RATE, loss, bfloat16=bfloat16), folder)


def train_control(
    base: nn.Module,
    latents: Tensor,
    hints: np.ndarray,
    alpha_bars: Tensor,
    folder: Path,
    name: str = "control",
    steps: int = CONTROL_STEPS,
    bfloat16: bool = False,
    begun: nn.Module | None = None,
    starts: Starts | None = None,
) -> nn.Module:
    """Train a ControlNet on latents [N, 4, h, w] and their hints uint8 [N, H, W, 3].

    `base` keeps its values, and so does `begun`, a ControlNet to go on from. `starts`: what half of
    the latents at late times are noised from, in place of the truth.
    """
    net = nets.controlnet(base).to(memory_format=torch.channels_last)
    if begun is not None:
        net.load_state_dict(begun.state_dict())
    batches = _Batches(latents, alpha_bars, starts)

    def loss(generator: torch.Generator) -> Tensor:
        picked, noised, t, noise = batches.draw(generator, PER_HINT)
        hint = torch.from_numpy(hints[picked[::PER_HINT].numpy()]).movedim(-1, 1).float() / 255
        context = torch.zeros(CONTEXT).expand(BATCH, -1, -1)
        control = net(noised, hint, t, context)
        answer = base(noised, t, context=context, control=control)
        return batches.loss(answer, noise, t)

    repeat = net.input_hint_block.register_forward_hook(
        lambda _module, _inputs, read: read.repeat_interleave(PER_HINT, 0)
    )
    trained = train(net, Plan(name, steps, CONTROL_RATE, loss, bfloat16=bfloat16), folder)
    repeat.remove()
    return trained


class _Batches:
    """Noised latents at random times, and the loss of what is made of them."""

    def __init__(self, latents: Tensor, alpha_bars: Tensor, starts: Starts | None = None) -> None:
        self.latents = latents
        self.alpha_bars = alpha_bars
        self.starts = starts
        ratio = alpha_bars / (1 - alpha_bars)
        self.weights = (ratio.clamp(max=MOST_SIGNAL_TO_NOISE) / ratio).float()

    def draw(
        self, generator: torch.Generator, each: int = 1
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(which latents [B], noised [B, 4, h, w], time steps [B], the noise to be told).

        Each latent comes `each` times. Where one was noised from a start, the noise to be told is
        the one that leads back to the latent itself.
        """
        picked = torch.randint(len(self.latents), (BATCH // each,), generator=generator)
        picked = picked.repeat_interleave(each)
        # One time of each sixteenth, in any order: less chance in the loss.
        order = torch.randperm(BATCH, generator=generator)
        spread = (order + torch.rand(BATCH, generator=generator)) / BATCH
        t = (spread * STEPS).long().clamp(max=STEPS - 1)
        clean = self.latents[picked]
        noise = torch.randn(clean.shape, generator=generator)
        kept = self.alpha_bars[t].float()[:, None, None, None]
        if self.starts is not None:
            seed = int(torch.randint(2**62, (1,), generator=generator))
            # Times come in any order: every other latent is a half by chance.
            started = ((t > LATE * STEPS) & (torch.arange(BATCH) % 2 == 0)).view(-1, 1, 1, 1)
            drawn = torch.where(started, self.starts(picked, seed), clean)
            noise = noise + (kept / (1 - kept)).sqrt() * (drawn - clean)
        noised = (kept.sqrt() * clean + (1 - kept).sqrt() * noise).contiguous(
            memory_format=torch.channels_last
        )
        return picked, noised, t, noise

    def loss(self, answer: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Of the noise that a model saw, weighted by time."""
        return (self.weights[t] * (answer - noise).square().mean((1, 2, 3))).mean()
