"""Laws of pooled moments and soft label edges: their limits, and better prediction of new data."""

from dataclasses import replace

import pytest
import torch

from prior_tools import (
    PriorAccumulator,
    PriorError,
    SoftLabels,
    draw_prior_sample,
    pooled_prior,
    prior_moments,
    resize_labels,
    soft_labels,
    soft_moments,
)
from prior_tools.labels.soft import MOST_CLASSES
from prior_tools.pooled import strengths_of

GRID = (3, 4)


def hierarchy(classes=6, channels=2, within=1.0, between=0.7, seed=0):
    """True means of classes at cells [K, C, h, w], drawn about those of the classes."""
    generator = torch.Generator().manual_seed(seed)
    means = 2 * torch.randn(classes, channels, 1, 1, generator=generator)
    cells = between * torch.randn(classes, channels, *GRID, generator=generator)
    return means + cells, within


def images_of(truth, count, seed=1, rare=0.2):
    """Latents and labels of images from these means; later classes are ever rarer."""
    means, within = truth
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor([rare**k for k in range(len(means))])
    labels = torch.multinomial(weights, count * GRID[0] * GRID[1], True, generator=generator)
    labels = labels.view(count, *GRID)
    y, x = torch.arange(GRID[0])[:, None], torch.arange(GRID[1])
    mean = means[labels, :, y, x].movedim(-1, 1)
    return mean + within * torch.randn(mean.shape, generator=generator), labels


def prior_of(latents, labels, **metadata):
    state = PriorAccumulator(latents.shape[1], GRID, ())
    state.update(latents, labels)
    return state.finalize(**metadata)


def nll(moments, latents):
    mean, std = moments
    return float((std.log() + 0.5 * ((latents - mean) / std).square()).mean())


def test_with_many_images_of_a_cell_they_are_those_of_the_paper():
    prior = prior_of(*images_of(hierarchy(classes=2), 4000, rare=1.0))
    pooled = pooled_prior(prior)
    torch.testing.assert_close(pooled.joint_mean, prior.joint_mean, atol=5e-3, rtol=0)
    torch.testing.assert_close(pooled.joint_std, prior.joint_std, atol=5e-3, rtol=0)


def test_at_a_cell_without_images_they_are_those_of_a_class_of_many():
    latents, labels = images_of(hierarchy(classes=3), 2000, rare=1.0)
    labels[:, 0, 0] = 0
    prior = prior_of(latents, labels)
    pooled = pooled_prior(prior)
    assert prior.joint_count[1, 0, 0] == 0
    torch.testing.assert_close(
        pooled.joint_mean[1, :, 0, 0], prior.class_mean[1], atol=5e-3, rtol=0
    )
    torch.testing.assert_close(pooled.joint_std[1, :, 0, 0], prior.class_std[1], atol=5e-3, rtol=0)


def test_a_class_of_no_images_has_the_spatial_moments():
    """Its rows may be in a file that was imported; one that has none is spatial in any draw."""
    prior = prior_of(*images_of(hierarchy(classes=3), 400, rare=0.5))
    none = prior.joint_count.clone()
    none[2] = 0
    images = prior.class_image_count.clone()
    images[2] = 0
    pooled = pooled_prior(replace(prior, joint_count=none, class_image_count=images))
    torch.testing.assert_close(pooled.joint_mean[2], prior.spatial_mean)
    torch.testing.assert_close(pooled.joint_std[2], prior.spatial_std)


def test_the_ratio_of_variances_is_found():
    truth = hierarchy(classes=4, within=1.0, between=0.5)
    prior = prior_of(*images_of(truth, 1500, rare=1.0))
    found = 1 / strengths_of(prior).cells
    actual = truth[0].var((2, 3))
    assert float(found.mean()) == pytest.approx(float(actual.mean()), rel=0.1)
    # Of a class whose cells differ more, they are trusted more.
    order = actual.flatten().argsort()
    assert found.flatten()[order[-1]] > found.flatten()[order[0]]


def test_a_class_without_a_cell_of_two_images_takes_the_ratio_of_all():
    latents, labels = images_of(hierarchy(classes=2), 60, rare=1.0)
    labels[0, 0] = 5
    strengths = strengths_of(prior_of(latents, labels))
    assert strengths.cells.isfinite().all()
    low, high = strengths.cells[:2].amin(0), strengths.cells[:2].amax(0)
    assert ((strengths.cells[2] >= 0.9 * low) & (strengths.cells[2] <= 1.1 * high)).all()


@pytest.mark.parametrize("count", [3, 10, 40, 300])
def test_new_images_are_predicted_better_than_by_the_joint_and_the_spatial_prior(count):
    truth = hierarchy(classes=4)
    prior = prior_of(*images_of(truth, count, rare=0.5))
    latents, labels = images_of(truth, 300, seed=2, rare=0.5)
    pooled = nll(prior_moments(pooled_prior(prior), labels), latents)
    assert pooled < nll(prior_moments(prior, labels), latents)
    assert pooled < nll(prior_moments(prior, labels, "spatial"), latents)


def test_the_deviation_holds_the_means_own_uncertainty():
    """New images deviate from pooled means as pooled deviations say, also those of rare classes."""
    truth = hierarchy(classes=4, channels=8)
    prior = prior_of(*images_of(truth, 60, rare=0.4))
    latents, labels = images_of(truth, 1000, seed=2, rare=0.4)
    mean, std = prior_moments(pooled_prior(prior), labels)
    joint_mean, joint_std = prior_moments(prior, labels)
    for class_id in range(4):
        here = labels == class_id
        surprise = float(((latents - mean) / std).square().mean(1)[here].mean())
        assert surprise == pytest.approx(1, abs=0.5)
        if class_id:
            of_joint = ((latents - joint_mean) / joint_std).square().mean(1)[here].mean()
            assert surprise < float(of_joint)


def test_pooled_moments_are_finite_whatever_was_counted():
    latents = torch.zeros(2, 3, *GRID)
    labels = torch.full((2, *GRID), -1)
    labels[0, 0, 0] = 7
    for prior in (prior_of(latents, labels), prior_of(latents, torch.full((2, *GRID), -1))):
        pooled = pooled_prior(prior)
        assert pooled.joint_mean.isfinite().all() and (pooled.joint_std >= 0).all()
        assert draw_prior_sample(pooled, labels).isfinite().all()


def test_shares_are_areas():
    labels = torch.tensor([[0, 0, 1], [0, 2, 1], [-1, -1, 1]])
    soft = soft_labels(labels, (2, 2))
    assert soft.shares.sum(0).allclose(torch.ones(2, 2))

    def share(class_id):
        return torch.where(soft.ids == class_id, soft.shares, 0).sum(0)

    # A cell is 1.5 x 1.5 pixels.
    area = 2.25
    assert share(0)[0, 0] == pytest.approx((1 + 0.5 + 0.5) / area)
    assert share(2)[0, 0] == pytest.approx(0.25 / area)
    assert share(-1)[1, 0] == pytest.approx((1 + 0.5) / area)
    assert (soft.shares[:-1] >= soft.shares[1:]).all()


@pytest.mark.parametrize("size", [(24, 32), (3, 4), (2, 2), (7, 9)])
def test_most_of_a_cell_is_its_majority(size):
    labels = torch.randint(-1, 3, size, generator=torch.Generator().manual_seed(3))
    soft, hard = soft_labels(labels, GRID), resize_labels(labels, GRID)
    if size[0] % GRID[0] == 0:
        own = torch.where(soft.ids == hard, soft.shares, 0).amax(0)
        assert own.allclose(soft.shares[0])
    assert soft.shares.sum(0).allclose(torch.ones(GRID))


def test_of_many_classes_the_largest_are_told():
    labels = torch.arange(9).view(3, 3).clone()
    labels[0] = 1
    soft = soft_labels(labels, (1, 1))
    assert soft.ids[0, 0, 0] == 1 and soft.shares[0, 0, 0] == pytest.approx(3 / 6)
    assert soft.ids.shape == (MOST_CLASSES, 1, 1) and soft.shares.sum() == pytest.approx(1)


def test_labels_that_are_none_have_no_shares():
    with pytest.raises(PriorError, match=r"shape \(2, 3, 3\); expected \[H, W\]"):
        soft_labels(torch.zeros(2, 3, 3, dtype=torch.int64), GRID)
    with pytest.raises(PriorError, match="float32"):
        soft_labels(torch.zeros(3, 3), GRID)


def test_a_shared_cell_has_the_variance_within_classes_and_of_their_means():
    """The law of total variance, against draws from the mixture."""
    prior = prior_of(*images_of(hierarchy(classes=3), 200, rare=1.0))
    ids = torch.tensor([0, 2, -1]).view(1, 3, 1, 1).expand(1, 3, *GRID)
    shares = torch.tensor([0.5, 0.3, 0.2]).view(1, 3, 1, 1).expand(1, 3, *GRID)
    mean, std = soft_moments(prior, SoftLabels(ids, shares))
    parts = [prior_moments(prior, one) for one in ids.unbind(1)]
    generator = torch.Generator().manual_seed(0)
    draws = []
    for (m, s), n in zip(parts, (50_000, 30_000, 20_000), strict=True):
        draws.append(m + s * torch.randn(n, *m.shape[1:], generator=generator))
    drawn = torch.cat(draws)
    torch.testing.assert_close(mean[0], drawn.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(std[0], drawn.std(0), atol=0.03, rtol=0)


def test_a_cell_of_one_class_has_its_moments():
    prior = prior_of(*images_of(hierarchy(classes=3), 50, rare=1.0))
    labels = torch.randint(-1, 3, GRID, generator=torch.Generator().manual_seed(0))
    soft = soft_labels(labels.repeat_interleave(8, 0).repeat_interleave(8, 1), GRID)
    found = soft_moments(prior, SoftLabels(soft.ids[None], soft.shares[None]))
    for ours, theirs in zip(found, prior_moments(prior, labels[None]), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
