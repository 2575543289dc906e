"""ComfyUI's samplers and schedules, as this pack uses them."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ..prior_tools.errors import PriorError
from ..prior_tools.schedule import (
    below_maximum,
    check_mu,
    first_where,
    latent_kept,
    partial_schedule,
    sigma_of_noise,
    stable_diffusion_noise,
)
from .host_models import notify

STABLE_DIFFUSION, MODEL = "stable diffusion", "model"
# What mu may be a fraction of. The first is the default: how much of a prior reaches the model
# depends on the noise level alone, so one mu then means the same in every family, and what the
# paper measured at 0.8 carries over. A flow model's own time is stretched by its shift: Wan keeps
# 3% of the latent at 0.8 of it. In Stable Diffusion both are the same.
MU_OF = (STABLE_DIFFUSION, MODEL)

# Shares of the latent in the start: less than the first is warned about, less than the second is
# none at all (zero terminal SNR keeps 0.02%).
WORTH_KEEPING = 0.05
NOTHING = 1e-3

# Noted by newer hosts on empty latents, for fitting them to a model; a result is fitted.
_TAGS = ("downscale_ratio_spacial", "downscale_ratio_temporal")
_FITTED_BY = frozenset(inspect.signature(comfy.sample.fix_empty_latent_channels).parameters)

_log = logging.getLogger("scp-diff")


@dataclass(frozen=True)
class Start:
    """Where sampling starts in a model; made by `find_start`.

    Attributes:
        mu, mu_of: what was asked for.
        sigma: the first noise level; 0 where nothing is to be done.
        full: whether it is the model's sigma_max, so that the full schedule is run.
    """

    mu: float
    mu_of: str
    sigma: float
    full: bool


def sampler_names() -> list[str]:
    """The host's samplers."""
    return list(comfy.samplers.KSampler.SAMPLERS)


def scheduler_names() -> list[str]:
    """The host's schedulers."""
    return list(comfy.samplers.KSampler.SCHEDULERS)


def find_start(model: Any, mu: float, mu_of: str) -> Start:
    """Where sampling starts in this model at `mu` of `mu_of`.

    The noise level of Stable Diffusion at mu is found from the model's own gains, so that it holds
    for every family, also after a node has shifted the model's schedule. PriorError for a mu or a
    mu_of that is none: the host does not check what comes through a link.
    """
    check_mu(mu)
    if mu_of not in MU_OF:
        raise PriorError(f"mu_of is {mu_of!r}; expected one of {', '.join(MU_OF)}")
    sigma_max = float(model.get_model_object("model_sampling").sigma_max)
    if mu == 0:
        sigma = 0.0
    elif mu == 1:
        sigma = sigma_max
    elif mu_of == STABLE_DIFFUSION:
        sigma = sigma_of_noise(partial(_gains, model), stable_diffusion_noise(mu), sigma_max)
    else:
        sigma = _sigma_at(model, mu)
    return Start(mu, mu_of, sigma, full=sigma >= sigma_max)


def own_time(model: Any, sigma: float) -> float:
    """The fraction of the model's own time at which it has this noise level."""
    return first_where(lambda mu: _sigma_at(model, mu) >= sigma, 0.0, 1.0)


def kept_at(model: Any, sigma: float) -> float:
    """The share of the latent in a start at this noise level: see `schedule.latent_kept`."""
    return latent_kept(*_gains(model, sigma))


def scheduler_sigmas(
    model: Any, scheduler: str, steps: int, start: Start, latent: dict[str, Any] | None = None
) -> Tensor:
    """The schedule [n + 1] from `start`, for any sampler; empty where nothing is to be done.

    latent: what sampling starts from, where that is known. One with something in it must not get
    the larger gain that the host gives the noise at sigma_max.
    """
    if start.sigma <= 0:
        return torch.zeros(0)
    model_sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(model_sampling, scheduler, steps).cpu()
    return _cut(model, sigmas, start, stock=latent is None or is_empty(latent))


def as_empty_latents_are(samples: Tensor) -> Tensor:
    """Latents on the device and in the number format of the host's own empty ones."""
    management = comfy.model_management
    # Newer hosts have a choice (--fp16-intermediates).
    dtype = getattr(management, "intermediate_dtype", lambda: torch.float32)()
    return samples.to(management.intermediate_device(), dtype)


def report_start(model: Any, start: Start, sigmas: Tensor, steps: int, empty: bool) -> None:
    """Say in the log where sampling starts, and warn on the node where that is not as one thinks.

    sigmas: the schedule that is run, of a full one of `steps`; a full one may begin below sigma_max
    (ddim_uniform). empty: of a latent with nothing in it, or not known.
    """
    if len(sigmas) == 0:
        return
    sigma = float(sigmas[0])
    time, kept = own_time(model, sigma), kept_at(model, sigma)
    _log.info(
        "SCP-Diff: sampling starts at sigma %.4g, mu %.3f of the model's own time (start_percent "
        "%.3f of a ControlNet), and runs %d of %d steps%s",
        sigma,
        time,
        1 - time,
        len(sigmas) - 1,
        steps,
        "" if empty else f"; the start keeps {kept:.2%} of the latent",
    )
    if start.full and start.mu < 1:
        notify(
            "sampling starts as at mu 1, since this model has at most the noise of Stable "
            f"Diffusion at mu {start.mu:g}; take a smaller mu, or mu_of 'model'",
            "a start as at mu 1",
        )
    if empty or kept >= WORTH_KEEPING:
        return
    if kept < NOTHING:
        notify(
            f"nothing of the latent is left: at mu {start.mu:g} this model starts from noise "
            "alone; take a smaller mu",
            "a start without the latent",
        )
    else:
        other = " or mu_of 'stable diffusion'" if start.mu_of != STABLE_DIFFUSION else ""
        notify(
            f"only {kept:.1%} of the latent is left at the start, against 19% in Stable "
            f"Diffusion at mu 0.8; take a smaller mu{other}",
            "a start with little of the latent",
        )


def is_empty(latent: dict[str, Any]) -> bool:
    """Whether a latent counts as "nothing to start from": all zero, as the host's own test is.

    Such are the host's empty latents and draws in mode "normal". The one place that decides it:
    what follows for the start of sampling stands in `sample_from`.
    """
    samples = latent["samples"]
    # Models of picture and sound have one latent of several, and the host tests all of them.
    parts = samples.unbind() if samples.is_nested else [samples]
    return not any(bool(part.any()) for part in parts)


def sample_from(
    model: Any,
    latent: dict[str, Any],
    positive: Any,
    negative: Any,
    *,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    start: Start,
    empty: bool,
) -> dict[str, Any]:
    """Sample from `start` of the full schedule, that is from latent + sigma * noise.

    With `empty` (see `is_empty`) it starts from plain N(0, 1) noise instead. At mu = 1 with an
    empty latent this is the host's own KSampler, bit for bit.
    """
    if start.sigma <= 0:
        # As it came, save that the latent of a clip has an axis of frames: see `_with_frames`.
        return {**latent, "samples": _with_frames(model, latent["samples"])}
    known = {name: latent.get(name) for name in _TAGS if name in _FITTED_BY}
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"], **known)
    noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    ksampler = comfy.samplers.KSampler(
        model,
        steps=steps,
        device=model.load_device,
        sampler=sampler_name,
        scheduler=scheduler,
        denoise=1.0,
        model_options=model.model_options,
    )
    sigmas = _cut(model, ksampler.sigmas, start, stock=empty and start.full)
    report_start(model, start, sigmas, steps, empty)
    if empty and not start.full:
        # The host gives the noise its larger gain only at sigma_max. A plain start at a smaller
        # sigma needs it too, since it has no data to add to.
        gain, gain_at_max = _noise_gains(model, float(sigmas[0]))
        if gain != gain_at_max:
            noise = noise * (gain_at_max / gain)

    result = comfy.sample.sample(
        model,
        noise,
        steps,
        cfg,
        sampler_name,
        scheduler,
        positive,
        negative,
        samples,
        noise_mask=latent.get("noise_mask"),
        sigmas=sigmas,
        callback=latent_preview.prepare_callback(model, len(sigmas) - 1),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    out = {name: value for name, value in latent.items() if name not in _TAGS}
    out["samples"] = result
    return out


def _with_frames(model: Any, samples: Tensor) -> Tensor:
    """As the host gives it to a model of clips, and as VAE Decode takes it."""
    clip = model.get_model_object("latent_format").latent_dimensions == 3
    return samples.unsqueeze(2) if clip and not samples.is_nested and samples.ndim == 4 else samples


def _sigma_at(model: Any, mu: float) -> float:
    """sigma(mu*T) of the model's own time, which the host counts from the other end."""
    sampling = model.get_model_object("model_sampling")
    return min(float(sampling.percent_to_sigma(1.0 - mu)), float(sampling.sigma_max))


def _gain(model: Any, sigma: float, noise: float, latent: float, maximum: bool = False) -> float:
    """What `noise_scaling`, by which the host starts sampling, makes of these two numbers."""
    scale = model.get_model_object("model_sampling").noise_scaling
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    return float(scale(torch.tensor(sigma, dtype=one.dtype), one * noise, one * latent, maximum))


def _gains(model: Any, sigma: float) -> tuple[float, float]:
    """(of the latent, of the noise) at the start of sampling.

    The latent's is for data of unit deviation: a few models (EDM) were trained on smaller data.
    """
    deviation = getattr(model.get_model_object("model_sampling"), "sigma_data", 1.0)
    return _gain(model, sigma, 0.0, deviation), _gain(model, sigma, 1.0, 0.0)


def _noise_gains(model: Any, sigma: float) -> tuple[float, float]:
    """(of the noise, of the noise as the host starts at sigma_max), at the start of sampling."""
    return _gain(model, sigma, 1.0, 0.0), _gain(model, sigma, 1.0, 0.0, maximum=True)


def _cut(model: Any, sigmas: Tensor, start: Start, stock: bool) -> Tensor:
    """The schedule from `start` on.

    stock: leave it to the host to give noise the larger gain at sigma_max. A prior must not get it.
    """
    if not start.full:
        sigmas = partial_schedule(sigmas, start.sigma)
    gain, gain_at_max = _noise_gains(model, float(sigmas[0]))
    if stock or gain == gain_at_max:
        return sigmas
    model_sampling = model.get_model_object("model_sampling")
    return below_maximum(sigmas, float(model_sampling.sigma_max))
