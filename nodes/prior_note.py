"""The note that a drawn latent carries, so that a sampler can refuse a prior of another model."""

from __future__ import annotations

from typing import Any

from ..prior_tools import Prior
from ..prior_tools.latent_formats import check_model
from .host_models import model_latents

KEY = "scp_prior"


def prior_note(prior: Prior) -> dict[str, object]:
    """What a LATENT dict says of the prior it was drawn from."""
    return {
        "latent_channels": prior.latent_channels,
        "downscale_factor": prior.metadata.downscale_factor,
        "latent_format": prior.metadata.latent_format,
    }


def check_note(latent: dict[str, Any], model: Any) -> str | None:
    """Compare a drawn latent with the model that is to sample from it.

    Returns a warning where that cannot be told, None where all is well or the latent was not drawn
    from a prior. Raises PriorError where they do not fit.
    """
    note = latent.get(KEY)
    if note is None:
        return None
    return check_model(
        note["latent_format"],
        note["latent_channels"],
        note["downscale_factor"],
        model_latents(model),
    )
