"""The stages of a training; each is done when first asked for, and kept on disk."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from demo.training import autoencoder, diffusion, nets, segmenter
from demo.training.images import Scenes
from demo.training.setting import LATENT_SCALE, alpha_bar
from demo.training.sources import Source
from demo.training.weights_file import read_net, read_notes
from prior_tools import Prior, draw_prior_sample, resize_labels
from prior_tools.schedule import stable_diffusion_alpha_bar
from prior_tools.utility.net import SmallNet

# The trainings that the autoencoder takes.
AUTOENCODER = ("eyes", "autoencoder", "decoder")


class Stages:
    """The models of a source; all that is unfinished or made before lies in the source's cache.

    stable_diffusion: train UNet and ControlNets with Stable Diffusion's own noise schedule in place
    of the lifted one.
    base: a weights file whose autoencoder, and UNet and ControlNet where the schedule is the same,
    are taken as they are; None trains them.
    bfloat16: compute in it; see `demo.training.loop.Plan`.
    """

    def __init__(
        self,
        source: Source,
        stable_diffusion: bool = False,
        base: Path | None = None,
        bfloat16: bool = False,
    ) -> None:
        self.source, self.base, self.bfloat16 = source, base, bfloat16
        self.cache = source.cache
        self.cache.mkdir(parents=True, exist_ok=True)
        self.suffix = "-sd" if stable_diffusion else ""
        self.alpha_bars = (
            stable_diffusion_alpha_bar() if stable_diffusion else alpha_bar(source.cells)
        )

    @cached_property
    def encoder(self) -> nn.Module:
        """The autoencoder whose latents are final and whose decoder is not yet sharp."""
        images = self.source.diverse.images
        return autoencoder.train_autoencoder(images, self.eyes, self.cache, bfloat16=self.bfloat16)

    @cached_property
    def autoencoder(self) -> nn.Module:
        """Trained on crops of the diverse set."""
        if self.base is not None:
            return read_net(self.base, "autoencoder", nets.autoencoder())
        images = self.source.diverse.images
        return autoencoder.sharpen_decoder(
            self.encoder, images, self.eyes, self.cache, bfloat16=self.bfloat16
        )

    @cached_property
    def diverse_latents(self) -> Tensor:
        """[N, 4, h, w] in the diffusion model's units."""
        return self._latents(self.source.diverse, "latents-diverse", self.bfloat16)

    @cached_property
    def dataset_latents(self) -> Tensor:
        """[N, 4, h, w] in the diffusion model's units, exact: the prior is of them."""
        return self._latents(self.source.dataset, "latents-dataset", False)

    @cached_property
    def unet(self) -> nn.Module:
        """Trained on the diverse set, without labels."""
        if self.base is not None and not self.suffix:
            return read_net(self.base, "unet", nets.unet())
        return diffusion.train_unet(
            self.diverse_latents,
            self.alpha_bars,
            self.cache,
            "unet" + self.suffix,
            bfloat16=self.bfloat16,
        )

    @cached_property
    def control(self) -> nn.Module:
        """The ControlNet of the dataset."""
        if self.base is not None and not self.suffix:
            return read_net(self.base, "control", nets.controlnet(self.unet))
        return self._control(self.dataset_latents, self.source.dataset, "control")

    @cached_property
    def general_control(self) -> nn.Module:
        """A ControlNet that was not trained on the prior's dataset."""
        scenes = self.source.elsewhere
        latents = self.diverse_latents[: len(scenes.labels)]
        return self._control(latents, scenes, "control-general")

    def tuned_control(self, prior: Prior | None) -> nn.Module:
        """The dataset's ControlNet trained on, with some starts from draws of `prior` if given."""
        scenes, latents = self.source.dataset, self.dataset_latents
        starts = None
        if prior is not None:
            ids = torch.from_numpy(np.asarray(scenes.labels).astype(np.int64))
            on_grid = resize_labels(ids, self.source.grid)

            def starts(picked: Tensor, seed: int) -> Tensor:
                # As exact as a draw in the graph, whatever the layers compute in.
                with torch.autocast("cpu", enabled=False):
                    return draw_prior_sample(prior, on_grid[picked], seed=seed) * LATENT_SCALE

        name = "control-tuned" + ("-started" if starts else "")
        steps = diffusion.TUNING_STEPS
        return self._control(latents, scenes, name, steps, begun=self.control, starts=starts)

    @cached_property
    def segmenter(self) -> nn.Module:
        """Trained on real images of the dataset and their labels."""
        dataset = self.source.dataset
        return segmenter.train_segmenter(
            dataset.images,
            dataset.labels,
            self.source.classes,
            self.cache,
            bfloat16=self.bfloat16,
        )

    @cached_property
    def eyes(self) -> SmallNet:
        """A segmenter whose features tell the autoencoder what it lost.

        Not the one that judges: pictures made to please the judge would prove nothing.
        """
        diverse = self.source.diverse
        return segmenter.train_segmenter(
            diverse.images,
            diverse.labels,
            self.source.classes,
            self.cache,
            "eyes",
            segmenter.EYES_STEPS,
            self.bfloat16,
        )

    def note(self, name: str) -> dict[str, object]:
        """Steps, seconds and loss of a finished training."""
        taken = AUTOENCODER if self.suffix else (*AUTOENCODER, "unet", "control")
        if self.base is not None and name in taken:
            return {"taken_from": self.base.name, **read_notes(self.base)["training"][name]}
        with safe_open(self.cache / f"{name}.safetensors", "pt") as file:
            return json.loads(file.metadata()["training"])

    def _control(
        self,
        latents: Tensor,
        scenes: Scenes,
        name: str,
        steps: int = diffusion.CONTROL_STEPS,
        begun: nn.Module | None = None,
        starts: diffusion.Starts | None = None,
    ) -> nn.Module:
        return diffusion.train_control(
            self.unet,
            latents,
            self.source.hints(scenes.labels),
            self.alpha_bars,
            self.cache,
            name + self.suffix,
            steps,
            self.bfloat16,
            begun,
            starts,
        )

    def _latents(self, scenes: Scenes, name: str, bfloat16: bool) -> Tensor:
        path = self.cache / f"{name}.safetensors"
        if not path.exists():
            latents = autoencoder.encode_all(self.autoencoder, scenes.images, bfloat16=bfloat16)
            save_file({"latents": latents}, path)
        return load_file(path)["latents"]
