"""The note that a drawn latent carries, so that a sampler can refuse a prior of another model."""

from __future__ import annotations

from typing import Any

from ..prior_tools import Prior, PriorError
from ..prior_tools.latent_formats import UNKNOWN
from .host_models import model_latent_format

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
    ours = note["latent_format"]
    theirs, host_name, channels = model_latent_format(model)
    if note["latent_channels"] != channels:
        raise PriorError(
            f"the prior has {note['latent_channels']} latent channels and the model "
            f"({host_name}) {channels}; load a prior that was built with this model's VAE"
        )
    if UNKNOWN in (ours, theirs):
        return (
            f"cannot tell whether the prior fits the model: the prior's latent format is {ours}, "
            f"the model's is {host_name}"
        )
    if ours != theirs:
        raise PriorError(
            f"the prior's latent format is {ours} and the model's is {theirs}; load a prior that "
            "was built with this model's VAE"
        )
    return None
