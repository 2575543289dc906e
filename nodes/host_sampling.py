"""ComfyUI's samplers and schedules, as this pack uses them."""

from __future__ import annotations

from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from torch import Tensor

from ..prior_tools.errors import PriorError
from ..prior_tools.schedule import below_maximum, partial_schedule


def sampler_names() -> list[str]:
    """The host's samplers."""
    return list(comfy.samplers.KSampler.SAMPLERS)


def scheduler_names() -> list[str]:
    """The host's schedulers."""
    return list(comfy.samplers.KSampler.SCHEDULERS)


def check_mu(mu: float) -> None:
    """PriorError for a mu that is none: the host does not check what comes through a link."""
    if not 0 <= mu <= 1:
        raise PriorError(f"mu is {mu}; expected a fraction of training time, 0..1")


def start_sigma(model: Any, mu: float) -> float:
    """sigma(mu*T) for 0 < mu < 1; the host counts the fraction of time from the other end."""
    return float(model.get_model_object("model_sampling").percent_to_sigma(1.0 - mu))


def scheduler_sigmas(model: Any, scheduler: str, steps: int, mu: float) -> Tensor:
    """The schedule [n + 1] from step mu*T, for any sampler; empty at mu = 0."""
    if mu <= 0:
        return torch.zeros(0)
    model_sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(model_sampling, scheduler, steps).cpu()
    return sigmas if mu >= 1 else partial_schedule(sigmas, start_sigma(model, mu))


def noise_gains(model: Any, sigma: float) -> tuple[float, float, float]:
    """How the host starts sampling at `sigma`: (gain of noise, its gain at sigma_max, of latent).

    Asked of the model's own `noise_scaling`, so that it holds for every kind of model.
    """
    scale = model.get_model_object("model_sampling").noise_scaling
    at = torch.tensor(sigma, dtype=torch.float64)

    def gain(noise: float, latent: float, maximum: bool) -> float:
        one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
        return float(scale(at, one * noise, one * latent, maximum))

    return gain(1, 0, False), gain(1, 0, True), gain(0, 1, False)


def is_empty(latent: dict[str, Any]) -> bool:
    """Whether a latent counts as "nothing to start from": all zero, as the host's own test is.

    Such are the host's empty latents and draws in mode "normal". The one place that decides it:
    what follows for the start of sampling stands in `sample_from`.
    """
    samples = latent["samples"]
    # Models of picture and sound have one latent of several, and the host tests all of them.
    parts = samples.unbind() if samples.is_nested else [samples]
    return not any(bool(part.any()) for part in parts)


def carries_latent(model: Any, mu: float) -> bool:
    """Whether anything of a latent is left in the start of sampling at mu."""
    model_sampling = model.get_model_object("model_sampling")
    sigma = float(model_sampling.sigma_max) if mu >= 1 else start_sigma(model, mu)
    return noise_gains(model, sigma)[2] > 1e-3


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
    mu: float,
    empty: bool,
) -> dict[str, Any]:
    """Sample from step mu*T of the full schedule, starting at latent + sigma * noise.

    With `empty` (see `is_empty`) it starts from plain N(0, 1) noise instead. At mu = 1 with an
    empty latent this is the host's own KSampler, bit for bit.
    """
    if mu <= 0:
        return latent
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
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
    sigmas = ksampler.sigmas
    if mu < 1:
        sigmas = partial_schedule(sigmas, start_sigma(model, mu))
    gain, gain_at_max, _ = noise_gains(model, float(sigmas[0]))
    if gain != gain_at_max and not (empty and mu >= 1):
        # The host gives the noise its larger gain only at sigma_max. A prior must not get it
        # there; a plain start at a smaller sigma needs it, since it has no data to add to.
        model_sampling = model.get_model_object("model_sampling")
        sigmas = below_maximum(sigmas, float(model_sampling.sigma_max))
        if empty:
            gain, gain_at_max, _ = noise_gains(model, float(sigmas[0]))
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
    out = latent.copy()
    # Noted by newer hosts on empty latents, for fitting them to a model; the result is fitted.
    out.pop("downscale_ratio_spacial", None)
    out["samples"] = result
    return out
