"""The start of sampling at step mu*T: a sampler's schedule cut at sigma(mu*T)."""

import math

import torch
from torch import Tensor

from .errors import PriorError

# A step much shorter than the one after it costs a model call for nothing, and upsets multistep
# samplers, which extrapolate from it.
SHORTEST_FIRST_STEP = 0.25

# The host multiplies the noise by sqrt(1 + sigma^2) where the first sigma is within 1e-5 of
# sigma_max. A hair below, it leaves x0 + sigma * noise.
BELOW_MAX = 1 - 1e-4


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
