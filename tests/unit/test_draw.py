"""Laws of the draw."""

import dataclasses
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prior_tools import (
    PRIOR_MODES,
    PriorAccumulator,
    PriorError,
    draw,
    draw_prior_sample,
    memory,
    prior_moments,
)
from prior_tools.draw import coverage, resize_moments

GRID = (4, 6)


def street(images: int = 40, seed: int = 0, channels: int = 4):
    """Sky (3) above, road (5) below, a car (9) here and there; 20 at one cell of one image."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.full((images, *GRID), 5)
    labels[:, :2] = 3
    labels[:, 2, 2][torch.rand(images, generator=generator) < 0.5] = 9
    labels[7, 3, 5] = 20
    latents = torch.randn(images, channels, *GRID, generator=generator)
    latents = latents * 0.5 + labels[:, None] * 0.3 + torch.arange(GRID[1]) * 0.1
    return latents, labels


def prior_of(latents, labels, **metadata):
    state = PriorAccumulator(latents.shape[1], latents.shape[2:])
    state.update(latents, labels)
    return state.finalize(**metadata)


LATENTS, LABELS = street()
PRIOR = prior_of(LATENTS, LABELS)


@pytest.mark.parametrize("mode", ["joint", "spatial", "categorical", "mixture"])
def test_moments_over_many_seeds_are_the_priors(mode):
    labels = LABELS[7:8]
    mean, std = prior_moments(PRIOR, labels, mode)
    many = draw_prior_sample(PRIOR, labels.expand(4000, -1, -1), mode, seed=1)
    # Five standard errors of the mean and of the deviation.
    assert ((many.mean(0) - mean[0]).abs() < 5 * std[0] / 4000**0.5 + 1e-6).all()
    assert ((many.std(0) - std[0]).abs() < 5 * std[0] / 8000**0.5 + 1e-6).all()
    seeds = torch.cat([draw_prior_sample(PRIOR, labels, mode, seed=s) for s in range(500)])
    assert ((seeds.mean(0) - mean[0]).abs() < 5 * std[0] / 500**0.5 + 1e-6).all()


def test_images_alone_give_the_spatial_draw_whatever_the_labels_and_no_other():
    alone = prior_of(LATENTS, torch.full_like(LABELS, -1), label_method=None)
    for labels in (LABELS[:2], torch.full((2, 7, 9), -1)):
        any_other = labels.clone().fill_(77)
        for mode in ("spatial", "normal"):
            want = draw_prior_sample(PRIOR, labels, mode, seed=3)
            assert torch.equal(draw_prior_sample(alone, labels, mode, seed=3), want)
            assert torch.equal(draw_prior_sample(alone, any_other, mode, seed=3), want)
    for mode in ("joint", "categorical", "mixture"):
        says = f"mode {mode} needs classes, and the prior was built from images alone.*spatial"
        with pytest.raises(PriorError, match=says):
            draw_prior_sample(alone, LABELS[:2], mode)


def test_the_joint_draw_has_the_stored_moments_where_they_were_seen_often():
    mean, std = prior_moments(PRIOR, LABELS[:1])
    row = PRIOR.class_ids.tolist().index(3)
    assert torch.equal(mean[0, :, :2], PRIOR.joint_mean[row][:, :2])
    assert torch.equal(std[0, :, :2], PRIOR.joint_std[row][:, :2])


def test_a_class_seen_once_takes_the_spatial_deviation_and_no_nan():
    row = PRIOR.class_ids.tolist().index(20)
    assert PRIOR.joint_std[row].abs().max() == 0, "the stored moments stay raw"
    mean, std = prior_moments(PRIOR, LABELS[7:8])
    assert torch.equal(mean[0, :, 3, 5], LATENTS[7, :, 3, 5])
    assert torch.equal(std[0, :, 3, 5], PRIOR.spatial_std[:, 3, 5])
    everywhere = torch.full((1, *GRID), 20)
    _, std = prior_moments(PRIOR, everywhere, "categorical")
    assert torch.equal(std[0], PRIOR.spatial_std)


def test_a_cell_seen_once_takes_the_classs_deviation():
    latents, labels = street()
    labels[3, 0, 0] = 9  # cars are in many images, but only once up here
    prior = prior_of(latents, labels)
    row = prior.class_ids.tolist().index(9)
    mean, std = prior_moments(prior, labels[3:4])
    assert torch.equal(mean[0, :, 0, 0], latents[3, :, 0, 0])
    assert torch.equal(std[0, :, 0, 0], prior.class_std[row])


@pytest.mark.parametrize("mode", ["joint", "categorical", "mixture"])
def test_an_id_never_seen_and_an_unknown_cell_are_spatial(mode):
    for class_id in (-1, 999):
        mean, std = prior_moments(PRIOR, torch.full((1, *GRID), class_id), mode)
        assert torch.equal(mean[0], PRIOR.spatial_mean)
        assert torch.equal(std[0], PRIOR.spatial_std)


def test_an_empty_cell_takes_the_fallback():
    sky_below = torch.full((1, *GRID), 3)
    row = PRIOR.class_ids.tolist().index(3)
    mean, std = prior_moments(PRIOR, sky_below, fallback="spatial")
    assert torch.equal(mean[0, :, 3], PRIOR.spatial_mean[:, 3])
    assert torch.equal(std[0, :, 3], PRIOR.spatial_std[:, 3])
    mean, std = prior_moments(PRIOR, sky_below, fallback="categorical")
    assert torch.equal(mean[0, :, 3, 0], PRIOR.class_mean[row])
    assert torch.equal(std[0, :, 3, 0], PRIOR.class_std[row])
    found = coverage(PRIOR, sky_below)
    assert found.empty == 0.5 and found.unseen == 0


def test_coverage_reports_what_the_prior_does_not_know():
    labels = torch.full((1, *GRID), 77)
    labels[:, 0] = -1
    found = coverage(PRIOR, labels)
    assert (found.unknown, found.unseen, found.unseen_ids) == (0.25, 0.75, (77,))


def test_mixture_is_moment_matched():
    spatial = prior_moments(PRIOR, LABELS[:1], "spatial")
    categorical = prior_moments(PRIOR, LABELS[:1], "categorical")
    for mix, want in ((1.0, spatial), (0.0, categorical)):
        got = prior_moments(PRIOR, LABELS[:1], "mixture", mix=mix)
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)
    mean, std = prior_moments(PRIOR, LABELS[:1], "mixture", mix=0.3)
    first = 0.3 * spatial[0] + 0.7 * categorical[0]
    second = 0.3 * (spatial[0] ** 2 + spatial[1] ** 2)
    second += 0.7 * (categorical[0] ** 2 + categorical[1] ** 2)
    torch.testing.assert_close(mean, first)
    torch.testing.assert_close(std, (second - first**2).sqrt())


def test_normal_is_all_zero():
    assert draw_prior_sample(PRIOR, LABELS[:3], "normal").count_nonzero() == 0


def test_deviation_scales_the_random_part_alone():
    mean, _ = prior_moments(PRIOR, LABELS[:2])
    one = draw_prior_sample(PRIOR, LABELS[:2], seed=4)
    half = draw_prior_sample(PRIOR, LABELS[:2], seed=4, deviation=0.5)
    torch.testing.assert_close(half - mean, (one - mean) / 2)
    assert torch.equal(draw_prior_sample(PRIOR, LABELS[:2], seed=4, deviation=0), mean)


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    a, b, c = (draw_prior_sample(PRIOR, LABELS[:1], seed=s) for s in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    draw_prior_sample(PRIOR, LABELS[:1], seed=2**64 - 1)


def test_equal_seeds_in_prior_and_sampler_are_uncorrelated():
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    flat = prior_of(torch.randn(2, 4, 64, 64), torch.zeros(2, 64, 64, dtype=torch.int64))
    unit = torch.ones_like(flat.joint_std)
    flat = dataclasses.replace(flat, joint_mean=unit * 0, joint_std=unit)
    for seed in (0, 1, 42, 2**63):
        ours = draw_prior_sample(flat, labels, seed=seed)
        samplers = torch.randn(ours.shape, generator=torch.Generator().manual_seed(seed))
        correlation = torch.corrcoef(torch.stack([ours.flatten(), samplers.flatten()]))[0, 1]
        assert abs(correlation) < 5 / ours.numel() ** 0.5
        assert ours.std() == pytest.approx(1, abs=0.05)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_batch_index_picks_the_noise_of_that_image_of_a_full_batch(indices, seed):
    """The host's meaning: image i gets the noise that image batch_index[i] would get."""
    full = draw_prior_sample(PRIOR, LABELS[:1].expand(31, -1, -1), seed=seed)
    labels = LABELS[:1].expand(len(indices), -1, -1)
    picked = draw_prior_sample(PRIOR, labels, seed=seed, batch_index=indices)
    assert torch.equal(picked, full[indices])


def test_equal_entries_of_batch_index_share_their_noise():
    labels = LABELS[[0, 7, 9]]
    mean, std = prior_moments(PRIOR, labels)
    drawn = draw_prior_sample(PRIOR, labels, seed=3, batch_index=[0, 0, 1])
    noise = (drawn - mean) / std
    torch.testing.assert_close(noise[0], noise[1], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(noise[0], noise[2], atol=0.1)


@pytest.mark.parametrize("mode", PRIOR_MODES)
@pytest.mark.parametrize("grid", [(8, 12), (2, 3), (5, 5), (4, 6), (1, 1)])
def test_any_grid_gives_finite_latents(mode, grid):
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([-1, 3, 5, 9, 20, 999])[torch.randint(6, (3, *grid), generator=generator)]
    drawn = draw_prior_sample(PRIOR, labels, mode)
    assert drawn.shape == (3, 4, *grid)
    assert drawn.isfinite().all()


def test_interpolation_keeps_what_does_not_vary():
    """Where all cells of a class agree, another grid changes neither mean nor deviation."""
    latents, labels = street()
    prior = prior_of(latents, labels)
    flat = dataclasses.replace(
        prior,
        joint_mean=torch.full_like(prior.joint_mean, 1.5),
        joint_std=torch.full_like(prior.joint_std, 0.25),
        joint_count=torch.full_like(prior.joint_count, 9),
    )
    mean, std = prior_moments(flat, torch.full((1, 9, 13), 3))
    assert torch.allclose(mean, torch.tensor(1.5))
    assert torch.allclose(std, torch.tensor(0.25), atol=1e-6)


def test_interpolation_matches_mean_and_second_moment():
    labels = torch.full((1, 8, 12), 3)
    mean, std = prior_moments(PRIOR, labels, "spatial")
    first = torch.nn.functional.interpolate(
        PRIOR.spatial_mean[None], (8, 12), mode="bilinear", align_corners=False
    )
    second = torch.nn.functional.interpolate(
        (PRIOR.spatial_mean**2 + PRIOR.spatial_std**2)[None],
        (8, 12),
        mode="bilinear",
        align_corners=False,
    )
    torch.testing.assert_close(mean, first)
    torch.testing.assert_close(std**2 + mean**2, second, atol=1e-5, rtol=1e-5)


def covered(old: int, new: int) -> torch.Tensor:
    """Share of each old cell in each new one along an axis, [new, old], in exact fractions."""
    size = Fraction(old, new)
    return torch.tensor(
        [
            [
                float(max(Fraction(0), min((i + 1) * size, j + 1) - max(i * size, j)) / size)
                for j in range(old)
            ]
            for i in range(new)
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize(("old", "new"), [((64, 64), (8, 8)), ((9, 13), (4, 5)), ((7, 5), (1, 5))])
def test_a_coarser_grid_has_the_moments_of_all_cells_that_it_covers(old, new):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(2, 3, *old, generator=generator) * 3
    std = torch.rand(2, 3, *old, generator=generator)
    rows, columns = (covered(a, b) for a, b in zip(old, new, strict=True))
    first = rows @ mean.double() @ columns.T
    second = rows @ (mean.double() ** 2 + std.double() ** 2) @ columns.T
    got_mean, got_std = resize_moments(mean, std, new)
    torch.testing.assert_close(got_mean, first.float())
    torch.testing.assert_close(got_std, (second - first**2).sqrt().float())


def along(old: int, new: int) -> torch.Tensor:
    """Weights [new, old] of the old cells in each new one along an axis."""
    if new < old:
        return covered(old, new)
    unit = torch.eye(old, dtype=torch.float64)[None]
    return torch.nn.functional.interpolate(unit, new, mode="linear", align_corners=False)[0].T


def joint_moments_of_all_maps(prior, labels, fallback):
    """The long way: every class's map is completed and resized, then each cell looks up its own."""
    place = (prior.spatial_mean, prior.spatial_std)
    single = (prior.class_image_count < 2)[:, None, None, None]
    class_std = torch.where(single, place[1], prior.class_std[..., None, None])
    of_class = (prior.class_mean[..., None, None].expand_as(class_std), class_std)
    count = prior.joint_count.unsqueeze(1)
    other = place if fallback == "spatial" else of_class
    mean = torch.where(count > 0, prior.joint_mean, other[0])
    std = torch.where(
        count > 0, torch.where(count > 1, prior.joint_std, class_std), other[1].expand_as(mean)
    )
    mean, std = (torch.cat([m, p[None]]).double() for m, p in zip((mean, std), place, strict=True))
    rows, columns = map(along, prior.grid, labels.shape[1:])
    first, second = (rows @ m @ columns.T for m in (mean, mean**2 + std**2))
    # The last row, at -1, is the spatial map.
    at = torch.where(prior.rows_of(labels) < 0, len(prior.class_ids), prior.rows_of(labels))
    at = at.unsqueeze(1).expand(-1, mean.shape[1], -1, -1)
    first, second = first.gather(0, at), second.gather(0, at)
    return first.float(), (second - first**2).clamp(min=0).sqrt().float()


@pytest.mark.parametrize("fallback", ["spatial", "categorical"])
@pytest.mark.parametrize(
    "grid",
    [(8, 12), (9, 17), (4, 13), (11, 6), (4, 6), (2, 3), (3, 5), (1, 1), (2, 17), (13, 2)],
)
def test_only_what_is_looked_up_is_resized_and_that_is_the_same(monkeypatch, grid, fallback):
    generator = torch.Generator().manual_seed(0)
    ids = torch.tensor([-1, 3, 5, 9, 20, 999])
    labels = ids[torch.randint(6, (2, *grid), generator=generator)]
    got = prior_moments(PRIOR, labels, fallback=fallback)
    want = joint_moments_of_all_maps(PRIOR, labels, fallback)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)
    # Map by map.
    monkeypatch.setattr(draw, "_CELLS", 1)
    assert all(map(torch.equal, prior_moments(PRIOR, labels, fallback=fallback), got))


class LargestTensor(TorchDispatchMode):
    """Notes the most numbers that a result of any operation holds, but for views of the prior."""

    def __init__(self, prior):
        super().__init__()
        held = [m for m in vars(prior).values() if isinstance(m, torch.Tensor)]
        self.held = {m.untyped_storage().data_ptr() for m in held}
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if isinstance(one, torch.Tensor) and one.untyped_storage().data_ptr() not in self.held:
                self.numbers = max(self.numbers, one.numel())
        return result


@pytest.mark.parametrize("grid", [(4, 6), (8, 12), (3, 5), (2, 12)])
def test_no_more_is_held_for_more_classes_and_never_more_than_the_result(grid):
    found = []
    for classes in (2, 60):
        labels = torch.arange(3 * 24).view(3, *GRID) % classes
        prior = prior_of(torch.randn(3, 4, *GRID), labels)
        wanted = torch.arange(2 * math.prod(grid)).view(2, *grid) % classes
        with LargestTensor(prior) as largest:
            drawn = draw_prior_sample(prior, wanted)
        found.append(largest.numbers)
    assert found == [drawn.numel()] * 2


def test_a_draw_that_would_take_most_of_the_memory_is_refused_with_the_figure(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 10**9)
    draw_prior_sample(PRIOR, LABELS)
    # Not a copy: nothing of this size may be made before it is refused.
    labels = torch.full((1, 1, 1), 3).expand(20, 1024, 1024)
    with pytest.raises(
        PriorError, match=r"20 latents of 4 channels on 1024x1024 cells takes 1\.\d"
    ):
        draw_prior_sample(PRIOR, labels)


def test_no_cell_is_lost_on_a_coarser_grid():
    """One cell in eight each way holds all there is."""
    mean = torch.zeros(1, 64, 64)
    mean[:, ::8, ::8] = 64.0
    small, std = resize_moments(mean, torch.zeros_like(mean), (8, 8))
    torch.testing.assert_close(small, torch.ones(1, 8, 8))
    torch.testing.assert_close(std, torch.full((1, 8, 8), 63.0**0.5))


@given(
    st.sampled_from([(1, 1), (2, 6), (4, 3), (8, 2)]),
    st.sampled_from([(1, 1), (3, 2), (1, 4), (5, 1)]),
    st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_shrinking_by_whole_factors_keeps_both_moments_over_the_grid(new, factors, seed):
    old = (new[0] * factors[0], new[1] * factors[1])
    generator = torch.Generator().manual_seed(seed)
    mean, std = torch.randn(2, 4, *old, generator=generator)
    small_mean, small_std = resize_moments(mean, std.abs(), new)
    for was, now in ((mean, small_mean), (mean**2 + std**2, small_mean**2 + small_std**2)):
        torch.testing.assert_close(now.mean((1, 2)), was.mean((1, 2)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grid", [(3, 3), (8, 12), (3, 40), (40, 3), (64, 1)])
def test_constant_maps_stay_constant(grid):
    mean, std = torch.full((2, 11, 7), -1.5), torch.full((2, 11, 7), 0.25)
    mean, std = resize_moments(mean, std, grid)
    torch.testing.assert_close(mean, torch.full((2, *grid), -1.5))
    torch.testing.assert_close(std, torch.full((2, *grid), 0.25))


def test_one_axis_may_grow_while_the_other_shrinks():
    mean = torch.arange(4.0).expand(1, 8, 4).contiguous()
    wide, std = resize_moments(mean, torch.zeros_like(mean), (2, 8))
    want = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    torch.testing.assert_close(wide, want.expand(1, 2, 8))
    tall, std = resize_moments(mean, torch.zeros_like(mean), (16, 2))
    torch.testing.assert_close(tall, torch.tensor([0.5, 2.5]).expand(1, 16, 2))
    torch.testing.assert_close(std, torch.full((1, 16, 2), 0.5))


def test_one_image_makes_a_prior_that_can_be_drawn_from():
    prior = prior_of(LATENTS[:1], LABELS[:1])
    drawn = draw_prior_sample(prior, LABELS[:1])
    assert torch.equal(drawn, LATENTS[:1])


def test_a_prior_without_classes_draws_the_spatial_one():
    prior = prior_of(LATENTS, torch.full_like(LABELS, -1))
    for mode in ("joint", "categorical", "mixture"):
        mean, _ = prior_moments(prior, LABELS[:1], mode)
        assert torch.equal(mean[0], prior.spatial_mean)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mode": "jointly"}, "mode is 'jointly'; expected one of joint"),
        ({"fallback": "none"}, "fallback"),
        *(
            ({"mode": mode, "mix": mix}, f"mix is {mix}; expected")
            for mode in PRIOR_MODES
            for mix in (1.5, -0.1, math.nan)
        ),
        *(
            ({"mode": mode, "deviation": deviation}, f"deviation is {deviation}; expected a finite")
            for mode in PRIOR_MODES
            for deviation in (math.nan, math.inf, -1.0)
        ),
        ({"batch_index": [0, 1, 2]}, "batch_index has 3 entries for 2"),
        ({"labels": torch.zeros(4, 6, dtype=torch.int64)}, r"\[N, h, w\]"),
        ({"labels": torch.zeros(2, 4, 6)}, "integer"),
    ],
)
def test_wrong_arguments_are_named(arguments, says):
    with pytest.raises(PriorError, match=says):
        draw_prior_sample(PRIOR, **{"labels": LABELS[:2], **arguments})


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(3, 5, dtype=torch.int64), torch.zeros(1, 3, 5), torch.zeros(0, 3, 5).long()],
)
def test_labels_of_another_kind_are_refused_by_draw_and_coverage(labels):
    prior = prior_of(*street())
    for ask in (draw_prior_sample, coverage):
        with pytest.raises(PriorError, match=r"expected integer class ids \[N, h, w\]"):
            ask(prior, labels)
