"""Partial Denoise Scheduler."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from .host_sampling import check_mu, scheduler_names, scheduler_sigmas
from .schema import CATEGORY, check_choices, mu_input, steps_input


class PartialDenoiseScheduler(io.ComfyNode):
    """The schedule of Partial Denoise KSampler, for the custom samplers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_PartialDenoiseScheduler",
            display_name="Partial Denoise Scheduler",
            category=CATEGORY,
            description="A schedule that starts at exactly sigma(mu*T), for SamplerCustomAdvanced "
            "with the latent of Joint Prior Noise.",
            inputs=[
                io.Model.Input("model", tooltip="The model whose schedule this is."),
                io.Combo.Input(
                    "scheduler",
                    options=scheduler_names(),
                    default="sgm_uniform",
                    tooltip="How the steps are spaced. The first is always at sigma(mu*T).",
                ),
                steps_input(),
                mu_input(),
            ],
            outputs=[
                io.Sigmas.Output(
                    "sigmas",
                    display_name="sigmas",
                    tooltip="Falling noise levels. At mu 1 the stock schedule, whose first step "
                    "multiplies the noise by sqrt(1 + sigma^2): 0.2% too much for a prior with "
                    "Stable Diffusion. The KSampler node sees the latent and avoids that.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, scheduler: str | None) -> bool | str:
        return check_choices(("scheduler", scheduler, scheduler_names()))

    @classmethod
    def execute(cls, model: Any, scheduler: str, steps: int, mu: float) -> io.NodeOutput:
        check_mu(mu)
        return io.NodeOutput(scheduler_sigmas(model, scheduler, steps, mu))
