"""What the nodes' schemas share."""

import inspect
from collections.abc import Iterable
from typing import Any

from comfy_api.v0_0_2 import io

from .host_sampling import MU_OF

CATEGORY = "SCP-Diff"
MAX_SEED = 0xFFFFFFFFFFFFFFFF

PriorType = io.Custom("SCP_PRIOR")

# For inputs that a new user never needs: newer hosts show them when asked to.
ADVANCED: dict[str, Any] = (
    {"advanced": True} if "advanced" in inspect.signature(io.Int.Input).parameters else {}
)


def found_by(*words: str) -> dict[str, Any]:
    """For a schema: words by which the search of newer hosts finds the node, besides its name."""
    known = "search_aliases" in io.Schema.__dataclass_fields__
    return {"search_aliases": ["segmentation", "semantic", *words]} if known else {}


def check_choices(*choices: tuple[str, object, Iterable[str]]) -> bool | str:
    """For `validate_inputs`: True, or what is wrong with the first (name, value, options).

    The host does not check combo values that come through the API. A linked input arrives as None
    and is left alone.
    """
    for name, value, options in choices:
        options = list(options)
        if value is not None and value not in options:
            return f"{name} is {value!r}; expected one of {', '.join(options) or '(nothing yet)'}"
    return True


def mu_input() -> io.Float.Input:
    """The start of sampling, shared by the sampler and the scheduler."""
    return io.Float.Input(
        "mu",
        default=0.8,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="Where sampling starts, as a fraction of training time T: at exactly sigma(mu*T), "
        "whatever the scheduler. 0.8 is the paper's choice; lower keeps more of the prior, 1 is "
        "the full schedule, 0 does nothing.",
    )


def mu_of_input() -> io.Combo.Input:
    """Whose time mu is a fraction of, shared by the sampler and the scheduler.

    Stable Diffusion's by default: see `host_sampling.MU_OF`.
    """
    return io.Combo.Input(
        "mu_of",
        options=list(MU_OF),
        default=MU_OF[0],
        optional=True,
        **ADVANCED,
        tooltip="Whose training time mu is a fraction of. stable diffusion: start at the noise "
        "level that Stable Diffusion has at mu, so that every model keeps the same share of the "
        "prior (19% at mu 0.8). model: the model's own time, in which flow models are noisier "
        "(Wan keeps 3% at mu 0.8). For Stable Diffusion both are the same, and at mu 1 for all "
        "models.",
    )


def steps_input() -> io.Int.Input:
    """Steps of the full schedule."""
    return io.Int.Input(
        "steps",
        default=20,
        min=1,
        max=10000,
        tooltip="Steps of the full schedule, as in the paper. Only those below the starting noise "
        "level are run: with mu 0.8 and 20 steps about 16 in Stable Diffusion, 13 in SD3 and 8 in "
        "Wan. Schedulers that crowd their steps at one end (linear_quadratic, kl_optimal, "
        "exponential) run more or fewer. The log says how many.",
    )


def overwrite_input() -> io.Boolean.Input:
    """Of the nodes that save a prior."""
    return io.Boolean.Input(
        "overwrite",
        default=False,
        optional=True,
        tooltip="Replace a prior of the same name.",
    )
