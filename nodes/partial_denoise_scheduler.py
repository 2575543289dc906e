"""Partial Denoise Scheduler."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from ..prior_tools.errors import PriorError
from .host_models import keeps_warnings, notify
from .host_sampling import (
    MU_OF,
    find_start,
    is_empty,
    report_start,
    scheduler_names,
    scheduler_sigmas,
)
from .prior_note import check_note
from .schema import CATEGORY, check_choices, found_by, mu_input, mu_of_input, steps_input


class PartialDenoiseScheduler(io.ComfyNode):
    """The schedule of Partial Denoise KSampler, for the custom samplers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_PartialDenoiseScheduler",
            display_name="Partial Denoise Scheduler",
            category=CATEGORY,
            **found_by("start latent", "noise prior", "sigmas"),
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
                mu_of_input(),
                io.Latent.Input(
                    "latent_image",
                    optional=True,
                    tooltip="From Joint Prior Noise, to be checked against the model and passed "
                    "on. Without it nothing checks what SamplerCustomAdvanced is given.",
                ),
            ],
            outputs=[
                io.Sigmas.Output(
                    "sigmas",
                    display_name="sigmas",
                    tooltip="Falling noise levels, for SamplerCustomAdvanced.",
                ),
                io.Latent.Output(
                    "latent",
                    display_name="latent",
                    tooltip="latent_image as it came, found to fit the model: for "
                    "SamplerCustomAdvanced.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, scheduler: str | None, mu_of: str | None = None) -> bool | str:
        return check_choices(("scheduler", scheduler, scheduler_names()), ("mu_of", mu_of, MU_OF))

    @classmethod
    @keeps_warnings
    def execute(
        cls,
        model: Any,
        scheduler: str,
        steps: int,
        mu: float,
        mu_of: str = MU_OF[0],
        latent_image: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        start = find_start(model, mu, mu_of)
        if latent_image is not None and (warning := check_note(latent_image, model)):
            notify(warning, "a prior that may not fit the model")
        sigmas = scheduler_sigmas(model, scheduler, steps, start, latent_image)
        empty = latent_image is None or is_empty(latent_image)
        report_start(model, start, sigmas, steps, empty)
        return io.NodeOutput(sigmas, _NotGiven() if latent_image is None else latent_image)


class _NotGiven(dict[str, Any]):
    """Stands for the latent where there is none: the node that takes it says what is missing.

    The host's own way to block an output leaves nothing in a prompt's history.
    """

    def __getitem__(self, key: str) -> Any:
        raise PriorError(
            "Partial Denoise Scheduler passes on a latent that it was not given; connect its input "
            "latent_image"
        )
