"""Laws of the start of sampling."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prior_tools import PriorError, partial_schedule
from prior_tools.schedule import (
    SD_STEPS,
    below_maximum,
    first_where,
    latent_kept,
    sigma_of_noise,
    stable_diffusion_alpha_bar,
    stable_diffusion_noise,
)

# Thousandths, so that float32 keeps different sigmas different.
schedules = st.lists(st.integers(20, 15_000), min_size=1, max_size=25, unique=True).map(
    lambda s: torch.tensor([*sorted(s, reverse=True), 0]) / 1000
)
starts = st.integers(30, 14_000).map(lambda s: float(torch.tensor(s) / 1000))


@settings(max_examples=200)
@given(schedules, starts)
def test_it_starts_at_exactly_start_and_goes_on_with_the_schedules_own(sigmas, start):
    cut = partial_schedule(sigmas, start)
    assert cut[0] == torch.tensor(start)
    assert cut[-1] == 0 and (cut[1:] < cut[:-1]).all()
    own = sigmas[sigmas < start]
    assert torch.equal(cut[1:], own) or torch.equal(cut[1:], own[1:])


@settings(max_examples=200)
@given(schedules, starts)
def test_the_next_sigma_is_dropped_where_closer_than_a_quarter_of_the_gap_after_it(sigmas, start):
    own = sigmas[sigmas < start]
    dropped = len(partial_schedule(sigmas, start)) == len(own)
    close = len(own) > 1 and start - own[0] < 0.25 * (own[0] - own[1])
    assert dropped == bool(close)


def test_zero_alone_is_never_dropped():
    assert partial_schedule(torch.tensor([10.0, 5.0, 0.0]), 1.0).tolist() == [1.0, 0.0]


@given(schedules)
def test_below_maximum_touches_only_a_first_sigma_at_the_maximum(sigmas):
    top = float(sigmas[0])
    lowered = below_maximum(sigmas, top)
    assert 0.99985 * top < lowered[0] < 0.99995 * top
    assert torch.equal(lowered[1:], sigmas[1:])
    assert torch.equal(below_maximum(sigmas, 2 * top), sigmas)


@pytest.mark.parametrize("start", [0.0, -1.0, math.nan, math.inf])
def test_a_start_that_is_no_noise_level_is_refused(start):
    with pytest.raises(PriorError, match="expected sigma"):
        partial_schedule(torch.tensor([10.0, 5.0, 0.0]), start)


@pytest.mark.parametrize("sigmas", [[0.0, 5.0], [5.0, math.nan], [[5.0, 1.0], [4.0, 0.0]]])
def test_sigmas_that_do_not_fall_are_refused(sigmas):
    with pytest.raises(PriorError, match="do not fall"):
        partial_schedule(torch.tensor(sigmas), 1.0)


@pytest.mark.parametrize("mu", [-0.1, 1.1, math.nan])
def test_a_mu_that_is_no_fraction_is_refused(mu):
    with pytest.raises(PriorError, match="expected a fraction of training time"):
        stable_diffusion_noise(mu)


@pytest.mark.parametrize("noise", [0.0, -1.0, math.nan, math.inf])
def test_noise_that_is_no_ratio_is_refused(noise):
    with pytest.raises(PriorError, match="expected noise to signal"):
        sigma_of_noise(lambda sigma: (1.0, sigma), noise, 14.6)


fractions = st.floats(0, 1)
ratios = st.floats(0.01, 50)


def test_stable_diffusions_noise_is_that_of_its_steps():
    bars = stable_diffusion_alpha_bar()
    assert bars[-1] == pytest.approx(0.00466, abs=5e-6)  # as is widely known of this schedule
    for step in (0, 1, 400, 799, SD_STEPS - 1):
        bar = float(bars[step])
        wanted = math.sqrt((1 - bar) / bar)
        assert stable_diffusion_noise(step / (SD_STEPS - 1)) == pytest.approx(wanted, rel=1e-12)


@given(fractions, fractions)
def test_stable_diffusions_noise_rises_with_mu(one, other):
    low, high = sorted((one, other))
    assert stable_diffusion_noise(low) <= stable_diffusion_noise(high)
    if high - low > 1e-9:
        assert stable_diffusion_noise(low) < stable_diffusion_noise(high)


@given(ratios, st.floats(0.5, 4))
def test_a_flow_models_sigma_of_equal_noise_is_in_closed_form(noise, scale):
    """x = scale * sigma * noise + (1 - sigma) * x0; its ratio has no bound below sigma 1."""

    def gains(sigma):
        return 1 - sigma, scale * sigma

    sigma = sigma_of_noise(gains, noise, 1.0)
    assert sigma == pytest.approx(noise / (scale + noise), rel=1e-12)
    assert latent_kept(*gains(sigma)) == pytest.approx(1 / math.hypot(1, noise), rel=1e-9)


@given(ratios, st.floats(0.1, 2), st.floats(1, 100))
def test_a_stable_diffusions_sigma_of_equal_noise_is_the_noise_up_to_its_maximum(
    noise, deviation, sigma_max
):
    """x = x0 + sigma * noise, x0 of that deviation."""
    sigma = sigma_of_noise(lambda sigma: (deviation, sigma), noise, sigma_max)
    assert sigma == pytest.approx(min(noise * deviation, sigma_max), rel=1e-12)
    assert (sigma == sigma_max) == (noise * deviation >= sigma_max)


@given(fractions, st.floats(0.3, 12))
def test_shifting_a_flow_models_time_does_not_move_the_sigma(mu, shift):
    """What shifts is the time alone, and it is found again from the sigma."""
    noise = stable_diffusion_noise(mu)
    sigma = sigma_of_noise(lambda sigma: (1 - sigma, sigma), noise, 1.0)
    time = first_where(lambda t: shift * t / (1 + (shift - 1) * t) >= sigma, 0.0, 1.0)
    assert time == pytest.approx(sigma / (shift - (shift - 1) * sigma), rel=1e-9)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 5))
def test_the_first_where_it_holds_is_found_to_the_last_bit(edge, low, width):
    found = first_where(lambda x: x >= edge, low, low + width)
    assert found == min(max(edge, math.nextafter(low, math.inf)), low + width)


gains = st.just(0.0) | st.floats(1e-6, 10)


@given(gains, gains, st.floats(0.1, 10))
def test_the_share_of_the_latent_is_of_the_gains_ratio_alone(latent, noise, scale):
    kept = latent_kept(latent, noise)
    assert 0 <= kept <= 1
    assert latent_kept(scale * latent, scale * noise) == pytest.approx(kept, rel=1e-6, abs=1e-12)
    if latent or noise:
        assert kept**2 + latent_kept(noise, latent) ** 2 == pytest.approx(1)
    assert latent_kept(latent, 0.0) == (latent > 0) and latent_kept(0.0, noise) == 0


@pytest.mark.parametrize(("mu", "kept"), [(0.8, 0.193), (1.0, 0.068)])
def test_what_stable_diffusion_keeps(mu, kept):
    assert latent_kept(1.0, stable_diffusion_noise(mu)) == pytest.approx(kept, abs=5e-4)
