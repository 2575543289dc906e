"""Laws of the start of sampling."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prior_tools import PriorError, partial_schedule
from prior_tools.schedule import below_maximum

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
