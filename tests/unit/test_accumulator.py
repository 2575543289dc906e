"""Laws of the one pass that collects all three priors."""

import time

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.commands import TENSORS
from prior_tools import Prior, PriorAccumulator, PriorError, memory
from prior_tools.accumulator import state_bytes

GRID = (3, 4)


def batch(seed: int, images: int, channels: int = 2, grid=GRID, classes: int = 4):
    """Latents with a mean far from 0, and labels with ids -1, 0, 7, 14, ..."""
    rng = np.random.default_rng(seed)
    latents = torch.from_numpy(rng.normal(3, 2, (images, channels, *grid)))
    ids = rng.integers(-1, classes, (images, *grid))
    return latents, torch.from_numpy(np.where(ids < 0, -1, ids * 7))


def collected(latents, labels, ignore_ids=(), split=1) -> Prior:
    state = PriorAccumulator(latents.shape[1], latents.shape[2:], ignore_ids)
    for part in range(0, len(latents), split):
        state.update(latents[part : part + split], labels[part : part + split])
    return state.finalize()


def assert_same(a: Prior, b: Prior, tolerance: float = 0.0) -> None:
    assert a.num_images == b.num_images
    for name in TENSORS:
        torch.testing.assert_close(
            getattr(a, name), getattr(b, name), atol=tolerance, rtol=tolerance
        )


def by_definition(latents: np.ndarray, labels: np.ndarray):
    """All moments written out as the definitions say, cell by cell."""
    ids = sorted(set(labels[labels >= 0].tolist()))
    _images, channels, height, width = latents.shape
    joint = np.zeros((2, len(ids), channels, height, width))
    count = np.zeros((len(ids), height, width), int)
    per_class = np.zeros((2, len(ids), channels))
    images_with = []
    for k, class_id in enumerate(ids):
        for y in range(height):
            for x in range(width):
                values = latents[labels[:, y, x] == class_id, :, y, x]
                count[k, y, x] = len(values)
                if len(values):
                    joint[:, k, :, y, x] = values.mean(0), values.std(0)
        firsts, seconds = [], []
        for image, image_labels in zip(latents, labels, strict=True):
            values = image[:, image_labels == class_id]
            if values.size:
                firsts.append(values.mean(1))
                seconds.append((values**2).mean(1))
        mean = np.mean(firsts, 0)
        per_class[:, k] = mean, np.sqrt(np.maximum(np.mean(seconds, 0) - mean**2, 0))
        images_with.append(len(firsts))
    return ids, joint, count, per_class, images_with


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 4))
def test_moments_are_those_of_the_definition(seed, images, split):
    latents, labels = batch(seed, images)
    prior = collected(latents, labels, split=split)
    ids, joint, count, per_class, images_with = by_definition(latents.numpy(), labels.numpy())
    assert prior.class_ids.tolist() == ids
    assert prior.joint_count.tolist() == count.tolist()
    assert prior.class_image_count.tolist() == images_with
    for got, want in (
        (prior.joint_mean, joint[0]),
        (prior.joint_std, joint[1]),
        (prior.spatial_mean, latents.numpy().mean(0)),
        (prior.spatial_std, latents.numpy().std(0)),
        (prior.class_mean, per_class[0]),
        (prior.class_std, per_class[1]),
    ):
        np.testing.assert_allclose(got.numpy(), want, atol=2e-6, rtol=2e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 4), min_size=2, max_size=5), st.randoms())
def test_merging_shards_in_any_order_equals_one_pass(seed, sizes, order):
    latents, labels = batch(seed, sum(sizes))
    shards, start = [], 0
    for size in sizes:
        shard = PriorAccumulator(2, GRID)
        shard.update(latents[start : start + size], labels[start : start + size])
        shards.append(shard)
        start += size
    order.shuffle(shards)
    merged = PriorAccumulator(2, GRID)
    for shard in shards:
        merged.merge(shard)
    assert_same(merged.finalize(), collected(latents, labels, split=sum(sizes)), 1e-12)


def test_merging_keeps_the_float64_state_to_1e12():
    latents, labels = batch(5, 40)
    one, left, right = (PriorAccumulator(2, GRID) for _ in range(3))
    one.update(latents, labels)
    right.update(latents[:13], labels[:13])
    left.update(latents[13:], labels[13:])
    left.merge(right)
    # Rows are in order of first appearance, which differs.
    rows = [left.class_ids.index(i) for i in one.class_ids]
    for name in ("_joint_mean", "_joint_m2", "_class_mean", "_class_m2"):
        torch.testing.assert_close(
            getattr(left, name)[rows], getattr(one, name), atol=1e-12, rtol=1e-12
        )


def test_ignoring_a_class_equals_never_having_seen_its_labels():
    latents, labels = batch(1, 12)
    unseen = torch.where(labels == 7, -1, labels)
    assert_same(collected(latents, labels, ignore_ids=(7,)), collected(latents, unseen))


def test_unknown_and_ignored_cells_enter_the_spatial_moments():
    latents, labels = batch(2, 6)
    nothing = collected(latents, torch.full_like(labels, -1))
    assert len(nothing.class_ids) == 0
    assert torch.equal(nothing.spatial_mean, collected(latents, labels).spatial_mean)


def test_the_deviation_survives_100000_updates_at_a_far_mean():
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(50, 0.1, (100_000, 1, 1, 1, 1)))
    labels = torch.zeros(1, 1, 1, dtype=torch.int64)
    state = PriorAccumulator(1, (1, 1))
    for value in values:
        state.update(value, labels)
    prior = state.finalize()
    want = values.std(correction=0).item()
    for got in (prior.joint_std, prior.spatial_std, prior.class_std):
        assert got.double().item() == pytest.approx(want, rel=1e-6)


def test_float16_and_channels_last_latents_are_taken_at_their_values():
    latents, labels = batch(3, 4)
    half = latents.half()
    want = collected(half.double(), labels)
    assert_same(collected(half, labels), want)
    assert_same(collected(half.to(memory_format=torch.channels_last), labels), want)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda z, y: (z[0], y), r"latents have shape \(2, 3, 4\)"),
        (lambda z, y: (z, y[:, :2]), r"labels have shape"),
        (lambda z, y: (z, y.float()), "integer class ids"),
        (lambda z, y: (z, y - 5), "class ids run from"),
        (lambda z, y: (z, y + 70_000), "class ids run from"),
        (lambda z, y: (z.log(), y), "NaN"),
        (lambda z, y: (z / 0, y), "NaN, infinity"),
        (lambda z, y: (z + 2e9, y), r"beyond 1e\+09"),
    ],
)
def test_wrong_input_is_refused_and_changes_nothing(change, says):
    latents, labels = batch(4, 3)
    state = PriorAccumulator(2, GRID)
    state.update(latents, labels)
    before = state.finalize()
    with pytest.raises(PriorError, match=says):
        state.update(*change(-latents.abs(), labels))
    assert_same(state.finalize(), before)


def test_a_batch_of_no_images_changes_nothing():
    latents, labels = batch(4, 3)
    state = PriorAccumulator(2, GRID)
    state.update(latents[:0], labels[:0])
    with pytest.raises(PriorError, match="no image"):
        state.finalize()
    state.update(latents, labels)
    state.update(latents[:0], labels[:0])
    assert_same(state.finalize(), collected(latents, labels, split=3))
    with pytest.raises(PriorError, match="labels have shape"):
        state.update(latents[:0], labels)


def test_a_state_goes_on_exactly_where_it_was_saved():
    latents, labels = batch(6, 8, classes=9)
    through, resumed = PriorAccumulator(2, GRID, (7,)), PriorAccumulator(2, GRID, (7,))
    # Ids first appear in no order.
    for part in (slice(0, 1), slice(1, 4)):
        for state in (through, resumed):
            state.update(latents[part], (labels[part] - 35).abs())
    resumed = PriorAccumulator.from_state(resumed.to_state())
    for state in (through, resumed):
        state.update(latents[4:], labels[4:].clamp(min=0) * 3 + 1)
    a, b = through.to_state(), resumed.to_state()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_setting_a_state_takes_about_as_long_as_copying_it():
    """Not a copy of all rows for each class: that took 60 times as long as this."""
    state = PriorAccumulator(4, (32, 32))
    ids = torch.arange(1024).remainder(150).view(1, 32, 32)
    state.update(torch.zeros(1, 4, 32, 32), ids)
    tensors = state.to_state()

    def seconds(function) -> float:
        taken = []
        for _ in range(3):
            start = time.process_time()
            function()
            taken.append(time.process_time() - start)
        return min(taken)

    copying = seconds(lambda: [t.clone() for _ in range(10) for t in tensors.values()])
    assert seconds(lambda: PriorAccumulator.from_state(tensors)) < 2 * copying


@pytest.mark.parametrize(
    "change",
    [
        {"class_ids": torch.tensor([0, 0])},
        {"class_ids": torch.tensor([0, -1])},
        {"class_ids": torch.tensor([0, 70_000])},
        {"class_ids": torch.tensor([0, 9])},
        {"class_ids": torch.tensor([0])},
        {"class_ids": torch.tensor([0.0, 1.0])},
        {"class_ids": None},
        {"shape": torch.tensor([1, 1, 2, -1])},
        {"shape": torch.tensor([1, 200_000, 200_000, 1])},
        {"shape": torch.tensor([1, -1, -2, 1])},
        {"shape": torch.tensor([1, 1, 2])},
        {"joint_mean": torch.zeros(2, 2, 1)},
        {"class_m2": torch.zeros(2, 2, dtype=torch.float64)},
    ],
)
def test_tensors_that_are_no_state_are_refused(change):
    state = PriorAccumulator(1, (1, 2), (9,))
    state.update(torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 1]]]))
    tensors = state.to_state()
    PriorAccumulator.from_state(tensors)
    tensors.update(change)
    with pytest.raises(PriorError):
        PriorAccumulator.from_state({n: t for n, t in tensors.items() if t is not None})


def test_instance_ids_by_the_thousand_are_refused():
    state = PriorAccumulator(1, (1, 5000))
    with pytest.raises(PriorError, match="instance ids"):
        state.update(torch.zeros(1, 1, 1, 5000), torch.arange(5000).view(1, 1, 5000))


def test_classes_that_would_take_most_of_the_memory_are_refused_and_change_nothing(monkeypatch):
    state = PriorAccumulator(3, (4, 4))
    state.update(torch.randn(1, 3, 4, 4), torch.arange(16).view(1, 4, 4) % 2)
    held = sum(
        m.numel() * m.element_size() for name, m in state.to_state().items() if "joint" in name
    )
    assert state_bytes(2, 3, (4, 4)) == held
    monkeypatch.setattr(memory, "machine_memory", lambda: 2 * state_bytes(5, 3, (4, 4)))
    more = torch.arange(16).view(1, 4, 4) % 6
    with pytest.raises(PriorError, match=r"6 classes of 3 channels on 4x4 cells takes .* GB"):
        state.update(torch.randn(1, 3, 4, 4), more)
    assert state.num_images == 1 and state.class_ids == [0, 1]
    state.update(torch.randn(1, 3, 4, 4), more.clamp(max=4))
    assert state.class_ids == [0, 1, 2, 3, 4]


def test_the_machine_has_no_more_memory_than_is_built_in():
    assert 2**28 < memory.machine_memory() <= psutil.virtual_memory().total


def test_nothing_makes_no_prior():
    with pytest.raises(PriorError, match="no image"):
        PriorAccumulator(4, (2, 2)).finalize()


def test_accumulators_that_differ_do_not_merge():
    for other in (
        PriorAccumulator(3, GRID),
        PriorAccumulator(2, (4, 3)),
        PriorAccumulator(2, GRID, (1,)),
    ):
        with pytest.raises(PriorError, match="cannot merge"):
            PriorAccumulator(2, GRID).merge(other)


def test_the_categorical_prior_is_what_the_published_estimator_converges_to():
    """One random cell per class and image, drawn many times, has our image-weighted moments."""
    rng = np.random.default_rng(0)
    # Images of a brightness of their own; those of class 7 nearly everywhere are the darkest, so
    # that weighting by cells would give other moments.
    latents, labels = batch(0, 40)
    latents += torch.linspace(-4, 4, 40, dtype=torch.float64)[:, None, None, None]
    labels[:20][torch.from_numpy(rng.random((20, *GRID))) < 0.8] = 7
    prior = collected(latents, labels, split=8)
    weighted_by_cells = latents.movedim(1, -1)[labels == 7].mean(0)
    assert ((prior.class_mean[prior.class_ids == 7] - weighted_by_cells).abs() > 0.5).all()
    for row, class_id in enumerate(prior.class_ids.tolist()):
        draws = []
        for image, image_labels in zip(latents.numpy(), labels.numpy(), strict=True):
            values = image[:, image_labels == class_id]
            if values.size:
                draws.append(values[:, rng.integers(0, values.shape[1], 2000)])
        draws = np.stack(draws, 1).reshape(latents.shape[1], -1)
        tolerance = 0.03 * draws.std(1).max()
        assert np.abs(prior.class_mean[row].numpy() - draws.mean(1)).max() < tolerance
        assert np.abs(prior.class_std[row].numpy() - draws.std(1)).max() < tolerance
