"""The start of sampling at step mu*T: which noise level that is, and a schedule cut there."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from .errors import PriorError

# How Stable Diffusion was trained (1.x, 2.x, XL): beta linear in its root, over 1000 steps.
SD_FIRST_BETA, SD_LAST_BETA = 0.00085, 0.012
SD_STEPS = 1000

# A step much shorter than the one after it costs a model call for nothing, and upsets multistep
# samplers, which extrapolate from it.
SHORTEST_FIRST_STEP = 0.25

# The host multiplies the noise by sqrt(1 + sigma^2) where the first sigma is within 1e-5 of
# sigma_max. A hair below, it leaves x0 + sigma * noise.
BELOW_MAX = 1 - 1e-4

# sigma to (gain of the latent, gain of the noise): x = latent gain * x0 + noise gain * noise.
Gains = Callable[[float], tuple[float, float]]


def check_mu(mu: float) -> None:
    """PriorError for a mu that is none."""
    if not 0 <= mu <= 1:
        raise PriorError(f"mu is {mu}; expected a fraction of training time, 0..1")


def stable_diffusion_alpha_bar() -> Tensor:
    """alpha_bar of Stable Diffusion's steps, float64 [1000]."""
    roots = torch.linspace(SD_FIRST_BETA**0.5, SD_LAST_BETA**0.5, SD_STEPS, dtype=torch.float64)
    return (1 - roots.square()).cumprod(0)


def stable_diffusion_noise(mu: float) -> float:
    """Noise to signal of Stable Diffusion at step mu*T: sqrt((1 - alpha_bar) / alpha_bar).

    Args:
        mu: fraction of training time, 0..1. Between two steps the logarithm is interpolated, as
            ComfyUI does.

    Raises PriorError for another mu.

    >>> round(stable_diffusion_noise(0.8), 2), round(stable_diffusion_noise(1.0), 2)
    (5.09, 14.61)
    """
    check_mu(mu)
    steps = _stable_diffusion_log_noise()
    at = mu * (SD_STEPS - 1)
    low = min(math.floor(at), SD_STEPS - 2)
    return math.exp(steps[low] + (at - low) * (steps[low + 1] - steps[low]))


def sigma_of_noise(gains: Gains, noise: float, sigma_max: float) -> float:
    """The sigma at which a model's noise to signal is `noise`; sigma_max where it never is.

    Args:
        gains: the model's own; noise to latent must rise with sigma, as it does in every family
            (sigma for Stable Diffusion, sigma / (1 - sigma) for flow models).
        noise: noise to signal, > 0, such as `stable_diffusion_noise(mu)`.
        sigma_max: the model's greatest sigma.

    Raises PriorError for another `noise`.

    >>> flow = lambda sigma: (1 - sigma, sigma)
    >>> round(sigma_of_noise(flow, noise=4.0, sigma_max=1.0), 6)
    0.8
    """
    if not 0 < noise < math.inf:
        raise PriorError(f"noise is {noise}; expected noise to signal, a finite number above 0")

    def as_noisy(sigma: float) -> bool:
        latent_gain, noise_gain = gains(sigma)
        return noise_gain >= noise * latent_gain

    return first_where(as_noisy, 0.0, sigma_max)


def latent_kept(latent_gain: float, noise_gain: float) -> float:
    """The share a / sqrt(a^2 + b^2) of the latent in the start, 0..1.

    Stable Diffusion keeps 19% at mu 0.8 and 6.8% at mu 1, a flow model nothing at mu 1.

    >>> round(latent_kept(1.0, stable_diffusion_noise(0.8)), 3)
    0.193
    """
    size = math.hypot(latent_gain, noise_gain)
    return latent_gain / size if size else 0.0


def first_where(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The least number in low..high for which `holds`, to the last bit; high where there is none.

    `holds` must be false below some number and true above.
    """
    while low < (middle := (low + high) / 2) < high:
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def partial_schedule(sigmas: Tensor, start: float) -> Tensor:
    """The schedule that begins at exactly `start` and goes on with its own smaller sigmas.

    Args:
        sigmas: the full schedule [steps + 1], falling, usually to 0.
        start: sigma(mu*T) > 0.

    The first smaller sigma is left out where it lies closer to `start` than a quarter of the gap
    that follows it; the last sigma always stays.

    Raises PriorError for another `start`, and for sigmas that are no falling row.

    >>> partial_schedule(torch.tensor([14.6, 7.0, 3.0, 1.0, 0.0]), start=5.0)
    tensor([5., 3., 1., 0.])
    """
    if not 0 < start < math.inf:
        raise PriorError(f"start is {start}; expected sigma(mu*T), a finite number above 0")
    if sigmas.ndim != 1 or not bool((sigmas[1:] <= sigmas[:-1]).all()):
        raise PriorError(
            f"sigmas of shape {tuple(sigmas.shape)} do not fall from each to the next; expected a "
            "sampler's schedule [steps + 1]"
        )
    below = sigmas[sigmas < start]
    if len(below) >= 2 and start - below[0] < SHORTEST_FIRST_STEP * (below[0] - below[1]):
        below = below[1:]
    return torch.cat([sigmas.new_tensor([start]), below])


def below_maximum(sigmas: Tensor, sigma_max: float) -> Tensor:
    """The schedule with a first sigma at `sigma_max` lowered a hair; others stay as they are."""
    if len(sigmas) == 0 or float(sigmas[0]) < sigma_max * BELOW_MAX:
        return sigmas
    lowered = sigmas.clone()
    lowered[0] = sigma_max * BELOW_MAX
    return lowered


@cache
def _stable_diffusion_log_noise() -> tuple[float, ...]:
    """log sqrt((1 - alpha_bar) / alpha_bar) of every step."""
    alpha_bar = stable_diffusion_alpha_bar()
    return tuple((((1 - alpha_bar) / alpha_bar).log() / 2).tolist())
