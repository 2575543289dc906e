"""The graph that demo and ablation run: one model and label maps, started in different ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dev.graph import Graph, Node

Link = list[Any]
WEIGHTS = "scp_diff_demo.safetensors"


@dataclass(frozen=True)
class Start:
    """How sampling starts: a draw of the prior (see Joint Prior Noise), noised as of step mu T.

    mu: of the model's own time, since the demo's models have less noise than Stable Diffusion.
    prior: mode of the draw; "normal" is an empty latent. At mu = 1 an empty latent is the stock
    start at sigma_max.
    """

    prior: str = "joint"
    mu: float = 0.8
    deviation: float = 1.0
    noise: str = "grain"


@dataclass(frozen=True)
class Settings:
    """What equal starts share; the seed may be a node that gives it."""

    seed: int | Node = 0
    steps: int = 20
    cfg: float = 2.0
    sampler: str = "euler"
    scheduler: str = "sgm_uniform"


class StartGraph:
    """A graph under construction, with the demo's models loaded and `labels` as ControlNet hint.

    labels: a node that gives label images [N, H, W, 3].
    prior_name: a file in the list of Load SCP Prior.
    """

    def __init__(
        self, graph: Graph, labels: Node, prior_name: str = WEIGHTS, weights: str = WEIGHTS
    ) -> None:
        self.graph, self.labels = graph, labels
        model = graph.add("SCP_LoadDemoModel", weights=weights)
        self.model, self.vae, self.negative = model.out(0), model.out(2), model.out(4)
        self.prior = graph.add("SCP_LoadPrior", prior_name=prior_name)
        applied = graph.add(
            "ControlNetApplyAdvanced",
            positive=model.out(3),
            negative=model.out(4),
            control_net=model.out(1),
            image=labels,
            strength=1.0,
            start_percent=0.0,
            end_percent=1.0,
        )
        # Guidance goes from any street to the one of the label map.
        self.positive = applied.out(0)

    def drawn(self, start: Start, settings: Settings, batch_noise: str = "separate") -> Node:
        """The clean latents [N, 4, h, w] of a start, one for each label map."""
        return self.graph.add(
            "SCP_JointPriorNoise",
            prior=self.prior,
            label_image=self.labels,
            mode=start.prior,
            noise=start.noise,
            deviation=start.deviation,
            seed=settings.seed,
            batch_size=1,
            palette="prior",
            batch_noise=batch_noise,
        )

    def sampled(self, latent: Node, start: Start, settings: Settings) -> Node:
        """The latents after sampling."""
        return self.graph.add(
            "SCP_PartialDenoiseKSampler",
            model=self.model,
            positive=self.positive,
            negative=self.negative,
            latent_image=latent,
            seed=settings.seed,
            steps=settings.steps,
            cfg=settings.cfg,
            sampler_name=settings.sampler,
            scheduler=settings.scheduler,
            mu=start.mu,
            mu_of="model",
        )

    def decoded(self, latent: Node) -> Node:
        """Images [N, H, W, 3]."""
        return self.graph.add("VAEDecode", samples=latent, vae=self.vae)
