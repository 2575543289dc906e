"""Partial Denoise KSampler."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from .host_models import keeps_warnings, notify
from .host_sampling import (
    MU_OF,
    find_start,
    is_empty,
    sample_from,
    sampler_names,
    scheduler_names,
)
from .prior_note import check_note
from .schema import CATEGORY, MAX_SEED, check_choices, found_by, mu_input, mu_of_input, steps_input


class PartialDenoiseKSampler(io.ComfyNode):
    """The host's KSampler, started at exactly sigma(mu*T)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_PartialDenoiseKSampler",
            display_name="Partial Denoise KSampler",
            category=CATEGORY,
            **found_by("start latent", "noise prior", "sampler"),
            description="Adds noise to a clean latent at step mu*T and denoises it from there. "
            "With an empty latent it is the plain sampler started at mu*T; at mu 1 it is the stock "
            "KSampler.",
            inputs=[
                io.Model.Input("model", tooltip="The model that denoises."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=True,
                    tooltip="Seed of the noise that is added, as in the stock KSampler.",
                ),
                steps_input(),
                io.Float.Input(
                    "cfg",
                    default=7.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="Guidance scale. The paper takes 4 for Cityscapes, 7.5 for ADE20K and "
                    "COCO-Stuff.",
                ),
                io.Combo.Input(
                    "sampler_name",
                    options=sampler_names(),
                    default="euler",
                    tooltip="The sampling algorithm. euler is the paper's DDIM with eta 0.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=scheduler_names(),
                    default="sgm_uniform",
                    tooltip="How the steps are spaced. The first is always at sigma(mu*T).",
                ),
                io.Conditioning.Input(
                    "positive", tooltip="What to put into the image, with the ControlNet applied."
                ),
                io.Conditioning.Input("negative", tooltip="What to keep out of the image."),
                io.Latent.Input(
                    "latent_image",
                    tooltip="From Joint Prior Noise. Also any other clean latent, or an empty one.",
                ),
                mu_input(),
                mu_of_input(),
            ],
            outputs=[
                io.Latent.Output(
                    "latent", display_name="latent", tooltip="The denoised latent, for VAE Decode."
                )
            ],
        )

    @classmethod
    def validate_inputs(
        cls, sampler_name: str | None, scheduler: str | None, mu_of: str | None = None
    ) -> bool | str:
        return check_choices(
            ("sampler_name", sampler_name, sampler_names()),
            ("scheduler", scheduler, scheduler_names()),
            ("mu_of", mu_of, MU_OF),
        )

    @classmethod
    @keeps_warnings
    def execute(
        cls,
        model: Any,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict[str, Any],
        mu: float,
        mu_of: str = MU_OF[0],
    ) -> io.NodeOutput:
        start = find_start(model, mu, mu_of)
        if warning := check_note(latent_image, model):
            notify(warning, "a prior that may not fit the model")
        return io.NodeOutput(
            sample_from(
                model,
                latent_image,
                positive,
                negative,
                seed=seed,
                steps=steps,
                cfg=cfg,
                sampler_name=sampler_name,
                scheduler=scheduler,
                start=start,
                empty=is_empty(latent_image),
            )
        )
