"""Laws of the figures: what other implementations say, closed forms, and intervals that cover."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.classification import Accuracy, JaccardIndex
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from prior_tools import PriorError
from prior_tools.evaluation.diversity import map_distances
from prior_tools.evaluation.features import extract_features, prepare
from prior_tools.evaluation.frechet import frechet_distance, frechet_distances
from prior_tools.evaluation.intervals import (
    Interval,
    Resampled,
    bootstrap_mean,
    bootstrap_weights,
    jackknife,
    t_interval,
)
from prior_tools.evaluation.kernel import kernel_distance, kernel_distances
from prior_tools.evaluation.measure import (
    distribution_figures,
    diversity_figure,
    figure_differences,
    segmentation_figures,
)
from prior_tools.evaluation.report import Figure, difference_rows, rows, write_json
from prior_tools.evaluation.segmentation import (
    class_counts,
    class_iou,
    confusion_matrices,
    mean_iou,
    pixel_accuracy,
    predict,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def one_thread():
    """Thousands of tiny products: several threads would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SIZES = [(40, 50, 96), (50, 40, 96), (300, 200, 24), (30, 200, 64), (2, 3, 8)]


def samples(n, m, features, seed=0, shift=0.3):
    """Two correlated sets of features, not centred, on unlike scales."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=generator, dtype=torch.float64) / 4
    a = torch.randn(n, features, generator=generator, dtype=torch.float64) @ mixing + 2
    b = torch.randn(m, features, generator=generator, dtype=torch.float64) @ mixing.tril() + 2
    return a, b + shift


# FID


class Given(torch.nn.Module):
    """In the place of torchmetrics' network: gives back features."""

    def __init__(self, num_features):
        super().__init__()
        self.num_features = num_features

    def forward(self, features):
        return features


def by_torchmetrics(metric, a, b):
    """What a metric of `Given` says in float64: a number, or a tuple of them."""
    metric = metric.set_dtype(torch.float64)
    metric.update(a, real=True)
    metric.update(b, real=False)
    return metric.compute()


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_fid_is_that_of_torchmetrics(sizes):
    a, b = samples(*sizes)
    want = by_torchmetrics(FrechetInceptionDistance(Given(sizes[2])), a, b)
    # The square roots of eigenvalues that are zero but for rounding are what torchmetrics is off.
    assert frechet_distance(a, b) == pytest.approx(float(want), rel=1e-5)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_fid_of_a_set_with_itself_is_zero(sizes):
    a, _ = samples(*sizes)
    scale = float(a.var(0).sum())
    assert abs(frechet_distance(a, a.flip(0))) < 1e-9 * scale
    assert frechet_distance(a, a + 1) == pytest.approx(sizes[2], rel=1e-9)


def test_the_fid_of_known_gaussians():
    n = 4000
    # Exactly uncorrelated with exact deviations 3 and 1: mean (3 - 1)² per feature, and a shift.
    whole = torch.randn(n, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    white = torch.linalg.qr(whole - whole.mean(0))[0] * (n - 1) ** 0.5
    assert frechet_distance(3 * white, white + 0.5) == pytest.approx(4 * 4 + 4 * 0.25, rel=1e-9)


@pytest.mark.parametrize("sizes", SIZES[:3], ids=str)
@pytest.mark.parametrize("both", [frechet_distances, kernel_distances], ids=["FID", "KID"])
def test_subsets_give_what_their_images_give(sizes, both):
    a, b = samples(*sizes)
    generator = torch.Generator().manual_seed(3)
    keep_a, keep_b = (torch.rand(3, len(x), generator=generator) < 0.7 for x in (a, b))
    one = frechet_distance if both is frechet_distances else kernel_distance
    want = [one(a[i], b[j]) for i, j in zip(keep_a, keep_b, strict=True)]
    assert both(a, b, keep_a, keep_b).tolist() == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("function", [frechet_distance, kernel_distance])
def test_wrong_features_are_refused(function):
    a, b = samples(5, 6, 4)
    with pytest.raises(PriorError, match=r"\(5, 4\) and \(6, 3\)"):
        function(a, b[:, :3])
    with pytest.raises(PriorError, match="at least two images"):
        function(a[:1], b)
    a[0, 0] = float("nan")
    with pytest.raises(PriorError, match="not finite"):
        function(a, b)


# KID


@pytest.mark.parametrize("features", [8, 64])
@pytest.mark.filterwarnings("ignore:.*will save all extracted features")
def test_the_kid_is_that_of_torchmetrics(features):
    a, b = samples(60, 60, features)
    metric = KernelInceptionDistance(Given(features), subsets=1, subset_size=60)
    value, _ = by_torchmetrics(metric, a, b)
    assert kernel_distance(a, b) == pytest.approx(float(value), rel=1e-9)


@pytest.mark.filterwarnings("ignore:.*will save all extracted features")
def test_the_kid_of_unequal_sets_is_what_the_mean_over_subsets_estimates():
    a, b = samples(40, 400, 16)
    metric = KernelInceptionDistance(Given(16), subsets=100, subset_size=40)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        value, deviation = by_torchmetrics(metric, a, b)
    assert deviation > 0 and abs(value - kernel_distance(a, b)) < 4 * deviation / 100**0.5


def test_the_kid_has_no_bias():
    # Sets of one distribution: the mean over many is zero, within four standard errors.
    values = torch.tensor([kernel_distance(*samples_of_one(20, seed)) for seed in range(400)])
    assert abs(float(values.mean())) < 4 * float(values.std()) / 20
    assert float(values.min()) < 0


def samples_of_one(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, 6, generator=generator, dtype=torch.float64)


# intervals


def test_student_t_is_as_tabulated():
    for groups, t in ((20, 2.093), (10, 2.262), (5, 2.776), (4, 3.182)):
        interval = t_interval(1.0, 2.0, groups)
        assert interval.high - 1 == pytest.approx(2 * t, rel=3e-4 if groups > 9 else 1e-2)
        assert 1 - interval.low == pytest.approx(interval.high - 1)


@pytest.mark.parametrize("maps", [6, 10, 24, 100])
def test_the_bootstrap_covers_the_mean_for_few_label_maps_too(maps):
    """Unwidened it would cover 87, 90, 92 and 95%."""
    generator = np.random.default_rng(0)
    hits = 0
    for seed in range(1000):
        values = dict(enumerate(generator.normal(2, 1, maps)))
        interval = bootstrap_mean(values, 1000, seed).interval
        hits += interval.low <= 2 <= interval.high
    assert 927 <= hits <= 969


def test_every_draw_is_of_as_many_maps():
    weights = bootstrap_weights(7, 50, 1)
    assert weights.shape == (50, 7) and torch.equal(weights.sum(1), torch.full((50,), 7.0).double())
    assert not torch.equal(weights[0], weights[1])


def test_the_jackknife_of_a_mean_is_its_standard_error():
    a = torch.randn(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = torch.randn(20, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + a

    def difference(keep_a, keep_b):
        mean_a, mean_b = ((keep * x).sum(1) / keep.sum(1) for keep, x in ((keep_a, a), (keep_b, b)))
        return mean_b - mean_a

    names = [f"m{i}" for i in range(20)]
    found = jackknife(difference, names, names)
    # The same label maps: the error is that of the differences, not of two independent means.
    assert found.groups == 20 and found.error == pytest.approx(
        float((b - a).std()) / 20**0.5, rel=1e-9
    )
    error = jackknife(difference, names, [f"o{i}" for i in range(20)]).error
    assert error == pytest.approx(float((a.var() + b.var()) / 20) ** 0.5, rel=1e-9)


def test_maps_that_fill_no_group_are_accounted_for():
    names = [f"m{i}" for i in range(50)]  # groups of 2, ten maps stay in always
    errors = []
    for seed in range(300):
        x = torch.randn(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

        def mean(keep_a, _keep_b, x=x):
            return (keep_a * x).sum(1) / keep_a.sum(1)

        errors.append(jackknife(mean, names, names, seed=seed).error ** 2)
    assert np.mean(errors) == pytest.approx(1 / 50, rel=0.06)


def test_several_images_of_a_map_are_left_out_together():
    maps = [f"m{i // 3}" for i in range(60)]
    seen = []

    def note(keep_a, keep_b):
        seen.append((keep_a, keep_b))
        return torch.zeros(len(keep_a), dtype=torch.float64)

    jackknife(note, sorted(set(maps)), maps)
    (all_real, all_generated), (keep_real, keep_generated) = seen
    assert all_real.all() and all_generated.all()
    assert torch.equal(keep_generated.view(20, 20, 3).all(2), keep_generated.view(20, 20, 3).any(2))
    assert torch.equal((~keep_real).sum(1), torch.ones(20, dtype=torch.int64))
    assert torch.equal((~keep_generated).sum(1), torch.full((20,), 3))


@pytest.mark.parametrize("both", [frechet_distances, kernel_distances], ids=["FID", "KID"])
def test_intervals_cover_the_figure_at_this_number_of_images(both):
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        a, b = torch.randn(2, 60, 6, generator=generator, dtype=torch.float64)
        return a, 1.3 * b + 0.4

    everything = torch.ones(1, 60, dtype=torch.bool)
    truth = np.mean([float(both(*draw(s), everything, everything)) for s in range(1000, 2000)])
    names = [[f"{side}{i}" for i in range(60)] for side in "ab"]
    hits = 0
    for seed in range(100):
        a, b = draw(seed)
        interval = jackknife(lambda p, q, a=a, b=b: both(a, b, p, q), *names, seed=seed).interval
        hits += interval.low <= truth <= interval.high
    assert 85 <= hits < 100


def test_few_maps_have_no_interval():
    assert bootstrap_mean(dict.fromkeys("abc", 1.0)).interval is None
    assert jackknife(lambda a, b: a.sum(1), ["a", "b", "c"], ["d"] * 9).interval is None
    a, b = samples(6, 6, 5)
    figures = distribution_figures(a, list("aabbcc"), b, list("xyzuvw"))
    assert all(f.interval is None and "fewer than 6 label maps" in f.method for f in figures)


# segmentation


def label_maps(seed=0, images=6, classes=5, side=12):
    generator = torch.Generator().manual_seed(seed)
    labels, predicted = torch.randint(0, classes, (2, images, side, side), generator=generator)
    right = torch.rand(labels.shape, generator=generator) < 0.6
    return torch.where(right, labels, predicted), labels


def test_miou_and_accuracy_are_those_of_torchmetrics():
    predicted, labels = label_maps()
    labels[:, :4] = 3  # to be ignored
    counts = class_counts(confusion_matrices(predicted, labels, 5, [3]).sum(0))
    index = {"task": "multiclass", "num_classes": 5, "ignore_index": 3}
    jaccard = JaccardIndex(average="none", **index)(predicted, labels)
    kept = [0, 1, 2, 4]
    assert class_iou(counts)[kept].tolist() == pytest.approx(jaccard[kept].tolist(), rel=1e-5)
    assert class_iou(counts)[3].isnan()
    assert float(mean_iou(counts)) == pytest.approx(float(jaccard[kept].mean()), rel=1e-5)
    accuracy = Accuracy(average="micro", **index)(predicted, labels)
    assert float(pixel_accuracy(counts)) == pytest.approx(float(accuracy), rel=1e-5)


def test_classes_that_no_label_holds_do_not_count():
    labels = torch.tensor([[[0, 0], [1, -1]]])
    predicted = torch.tensor([[[0, 2], [1, 3]]])
    counts = class_counts(confusion_matrices(predicted, labels, 4))[0]
    assert class_iou(counts)[:2].tolist() == [0.5, 1.0] and float(mean_iou(counts)) == 0.75
    assert float(pixel_accuracy(counts)) == pytest.approx(2 / 3)


def test_pixels_are_counted_per_image():
    predicted, labels = label_maps()
    matrices = confusion_matrices(predicted, labels, 5)
    assert matrices.shape == (6, 5, 5) and torch.equal(matrices.sum((1, 2)), torch.full((6,), 144))
    assert matrices[2, 1, 4] == ((labels[2] == 1) & (predicted[2] == 4)).sum()


def test_ids_that_are_no_class_are_refused():
    predicted, labels = label_maps()
    with pytest.raises(PriorError, match="labels hold class ids 0 to 4; expected 0 to 3"):
        confusion_matrices(predicted, labels, 4)
    confusion_matrices(predicted.clamp(max=3), labels, 4, [4])
    with pytest.raises(PriorError, match=r"expected \[N, H, W\]"):
        confusion_matrices(predicted[:, 1:], labels, 5)


@pytest.mark.parametrize("classes", [3, 8, 21])
def test_scores_are_resized_before_the_best_is_chosen(classes):
    scores = torch.randn(2, classes, 5, 7, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.interpolate(scores, (30, 28), mode="bilinear").argmax(1)
    assert torch.equal(predict(scores, (30, 28)), whole)
    assert torch.equal(predict(scores, (5, 7)), scores.argmax(1))


def test_maps_not_images_are_the_unit_of_the_interval():
    predicted, labels = label_maps(images=12)
    counts = class_counts(confusion_matrices(predicted, labels, 5))
    names = [f"m{i:02d}" for i in range(12)]
    one = segmentation_figures(counts, names, 400)
    # Each image five times over is no more evidence; the bootstrap draws maps, so nothing changes.
    five = segmentation_figures(counts.repeat_interleave(5, 0), sorted(names * 5), 400)
    for a, b in zip(one, five, strict=True):
        assert (a.value, a.interval) == (b.value, b.interval)
        assert a.interval.low < a.value < a.interval.high
        assert (b.images, b.maps) == (60, 12)


# diversity


def test_diversity_is_the_distance_within_maps():
    features = torch.tensor([[0.0, 0], [3, 4], [100, 0], [100, 2], [100, 4], [7, 7]])
    maps = ["a", "a", "b", "b", "b", "c"]
    assert map_distances(features, maps) == pytest.approx({"a": 5, "b": 8 / 3})
    figure = diversity_figure(features, maps)
    assert figure.value == pytest.approx((5 + 8 / 3) / 2) and figure.interval is None
    assert (figure.images, figure.maps) == (5, 2)
    assert diversity_figure(features[:2], ["a", "b"]) == "not available: one image per map"
    assert diversity_figure(torch.ones(12, 3), list("aabbccddeeff")).interval == Interval(0, 0)


# features


def test_images_are_resized_as_pillow_does_with_floats():
    generator = np.random.default_rng(0)
    for height, width in ((64, 64), (512, 256), (310, 299)):
        image = generator.integers(0, 256, (height, width, 3), np.uint8)
        got = prepare(torch.from_numpy(image)[None])[0] * 128 + 128
        for channel in range(3):
            plane = Image.fromarray(image[..., channel].astype(np.float32))
            want = np.asarray(plane.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255)
            assert np.abs(got[channel].numpy() - want).max() < 0.01


def test_levels_are_mapped_as_tensorflow_did():
    levels = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 299, 3)
    image = levels.permute(0, 2, 3, 1).repeat_interleave(100, 2)[:, :, :299]
    assert prepare(image)[0, :, 0, 0].tolist() == [-1.0, 0.0, 127 / 128]


def test_features_do_not_depend_on_the_batches():
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 9, 3), np.uint8)
    done = []
    got = extract_features(images, means, batch_size=3, progress=done.append)
    assert torch.equal(got, means(torch.from_numpy(images))) and done == [3, 3, 1]
    assert torch.equal(got, extract_features(iter(images), means, batch_size=100))
    with pytest.raises(PriorError, match="expected uint8"):
        extract_features(images / 255, means)
    with pytest.raises(PriorError, match="no images"):
        extract_features([], means)


def means(images):
    return images.float().mean((1, 2))


# differences


def start(seed, offset):
    """All figures of a start, with two images of each of 40 label maps.

    What is hard in a label map, and the seeds of its images, are common to all starts.
    """
    common = torch.Generator().manual_seed(9)
    real = torch.randn(40, 32, generator=common).double()
    generator = torch.Generator().manual_seed(seed)
    features = real.repeat_interleave(2, 0)
    for scale, source in ((0.4, common), (0.1, generator)):
        features = features + scale * torch.randn(80, 32, generator=source).double()
    hit = (features[:, :5] * 20 + 60 - 10 * offset).round().long().clamp(10, 100)
    counts = torch.stack([hit, torch.full_like(hit, 120), torch.full_like(hit, 110)], 1)
    names = [f"m{i:02d}" for i in range(40)]
    maps = [name for name in names for _ in range(2)]
    figures = distribution_figures(features + offset, maps, real, names)
    figures += segmentation_figures(counts, maps, 500)
    return [*figures, diversity_figure(features, maps, 500)]


@pytest.fixture(scope="module")
def two_starts():
    return start(1, 0.4), start(2, 0.5)


def test_a_difference_is_that_of_the_figures_and_changes_its_sign_with_the_sides(two_starts):
    one, other = two_starts
    forth, back = figure_differences(one, other), figure_differences(other, one)
    assert [d.name for d in forth] == ["FID", "KID", "mIoU", "pixel accuracy", "diversity"]
    for a, b, there, again in zip(one, other, forth, back, strict=True):
        assert there.value == a.value - b.value == -again.value
        ends = -again.interval.high, -again.interval.low
        assert (there.interval.low, there.interval.high) == pytest.approx(ends, rel=1e-9)
        assert (there.maps, there.images) == (40, 80)


def test_images_differ_from_themselves_by_nothing(two_starts):
    for difference in figure_differences(two_starts[0], two_starts[0]):
        assert difference.value == 0 and difference.interval == Interval(0, 0)


def test_pairs_tell_more_than_two_independent_sets(two_starts):
    """What makes a label map hard for one start makes it hard for the other."""
    for a, b, d in zip(*two_starts, figure_differences(*two_starts), strict=True):
        unpaired = (a.interval.half**2 + b.interval.half**2) ** 0.5
        assert d.interval.half < 0.6 * unpaired, d.name


def test_the_interval_of_a_difference_covers_the_truth():
    """As often as it says, where pairs have much in common."""
    names = [f"m{i}" for i in range(40)]
    hits, halves = 0, []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        common = generator.normal(0, 5, 40)
        ours, theirs = (common + generator.normal(mean, 1, 40) for mean in (0.5, 0))
        one, other = (
            bootstrap_mean(dict(zip(names, side, strict=True)), 300, 7) for side in (ours, theirs)
        )
        interval = (one - other).interval
        hits += interval.low <= 0.5 <= interval.high
        halves.append(interval.half)
    assert 178 <= hits < 200
    assert np.mean(halves) == pytest.approx(1.96 * (2 / 40) ** 0.5, rel=0.06)


def test_differences_computed_by_hand():
    """Six label maps with 10 pixels of either class; what is wrong was taken for the other."""
    labelled = torch.tensor([10, 10])

    def counts(*hits):
        found = [[[a, b], labelled.tolist(), [10 + a - b, 10 + b - a]] for a, b in hits]
        return torch.tensor(found)

    maps, right = list("abcdef"), [(10, 10)] * 4
    ours = segmentation_figures(counts(*right, (5, 5), (5, 5)), maps)
    theirs = segmentation_figures(counts(*right, (5, 5), (0, 0)), maps)
    iou, accuracy = figure_differences(ours, theirs)
    # 50 of 60 pixels right against 45, of either class: 50 / 70 and 45 / 75.
    assert iou.value == pytest.approx(50 / 70 - 45 / 75)
    assert accuracy.value == pytest.approx(5 / 60)
    # Only f differs, by half of its pixels. Of six draws it is none with probability 0.335, at most
    # three with 0.9913, at most four with 0.9993; of six label maps 0.9975 counts.
    assert accuracy.interval.low == 0 and accuracy.interval.high == pytest.approx(4 * 0.5 / 6)
    # Distances 3 and 5 in a, 1 and 1 in b, and so on: a mean of 2, 0, 2, 0, 2, 0.
    rows = ((5, 1, 3, 1, 9, 4), (3, 1, 1, 1, 7, 4))
    distances = [dict(zip(maps, row, strict=True)) for row in rows]
    off = bootstrap_mean(distances[0]) - bootstrap_mean(distances[1])
    assert off.value == 1
    assert (off.interval.low, off.interval.high) == pytest.approx((0, 2))
    # Left out one at a time, the difference of two means is that of the others: 1 -+ 1/5.
    values = [torch.tensor([list(row.values())], dtype=torch.float64) for row in distances]
    one, other = (
        jackknife(lambda a, b, x=x: (b * x).sum(1) / b.sum(1), maps, maps) for x in values
    )
    assert sorted((one - other).again[0].tolist()) == pytest.approx([0.8] * 3 + [1.2] * 3)
    assert (one - other).error == pytest.approx((1 / 5) ** 0.5)


def test_figures_of_other_label_maps_are_no_pairs():
    counts = torch.ones(4, 3, 2, dtype=torch.int64)
    one = segmentation_figures(counts, list("abcd"))
    for other in (
        segmentation_figures(counts, list("abce")),
        segmentation_figures(counts, list("abdc")),
        segmentation_figures(counts, list("abcd"), seed=1),
    ):
        with pytest.raises(PriorError, match="different label maps"):
            figure_differences(one, other)
    assert figure_differences(one[:1], one[1:]) == []


def test_a_mean_over_sets_is_that_of_their_figures():
    real, first = samples(20, 20, 8)
    sets = [first, first.flip(1)]
    names = list(map(str, range(20)))
    mean = distribution_figures(sets, names, real, names)
    each = [distribution_figures(one, names, real, names) for one in sets]
    for figure, *parts in zip(mean, *each, strict=True):
        assert figure.value == pytest.approx(sum(part.value for part in parts) / 2)
        assert (figure.images, figure.maps) == (40, 20)


# report


@dataclass(frozen=True)
class Known(Resampled):
    """A figure whose interval is given."""

    interval = None
    method = "jackknife"


def known(name, value, interval=None, maps=6):
    found = Known(value, (), ())
    object.__setattr__(found, "interval", interval)
    return Figure(name, found, 12, maps, 34)


@pytest.mark.parametrize(
    ("name", "values", "half", "interval", "cells"),
    [
        ("FID", (234.2, 225.24), 4, (-12.8, -5), ["234.2 ± 4.0", "225.2 ± 4.0", "-9.0 ± 3.9"]),
        ("FID", (234.2, 245), 39, (-28, 52), ["234 ± 39", "245 ± 39", "+11 ± 40"]),
        (
            "mIoU",
            (0.41, 0.46),
            0.03,
            (0.0, 0.1),
            ["0.410 ± 0.030", "0.460 ± 0.030", "+0.050 ± 0.050"],
        ),
        ("KID", (0.02, 0.02), 0.1, (-1e-9, 1e-9), ["0.02 ± 0.10", "0.02 ± 0.10", "0.00 ± 0.00"]),
        ("diversity", (13.25, 12.8), None, None, ["13.25", "12.80", "-0.45"]),
        ("mIoU", (0.0, 0.0), None, None, ["0", "0", "0"]),
    ],
)
def test_a_difference_stands_beside_what_it_is_of(name, values, half, interval, cells):
    before, after = (known(name, x, half and Interval(x - half, x + half)) for x in values)
    difference = known(name, values[1] - values[0], interval and Interval(*interval))
    heading, row = difference_rows([after], [before], [difference])
    assert heading == ["figure", "baseline", "generated", "difference", "verdict", "label maps"]
    assert row[0] == name and row[1:4] == cells and row[5] == "6"


@pytest.mark.parametrize(
    ("name", "interval", "word"),
    [
        ("FID", (1, 2), "worse"),
        ("FID", (-2, -1), "better"),
        ("KID", (-2, 1), "not clear"),
        ("mIoU", (1, 2), "better"),
        ("pixel accuracy", (-2, -1), "worse"),
        ("diversity", (1, 2), "more"),
        ("diversity", (-2, -1), "less"),
        ("mIoU", (0, 0), "equal"),
        ("mIoU", (0, 1), "not clear"),
    ],
)
def test_a_difference_is_clear_where_its_interval_leaves_out_zero(name, interval, word):
    figure = known(name, sum(interval) / 2, Interval(*interval))
    assert difference_rows([figure], [figure], [figure])[1][4] == word


def test_the_cells_show_all_that_a_figure_rests_on():
    figure = known("FID", 123.456, Interval(120, 126.91))
    none = replace(known("mIoU", 0.01234), real=None)
    heading, first, second = rows([figure, none])
    assert first == ["FID", "123.5", "120.0 to 126.9", "12", "6", "34"]
    assert second == ["mIoU", "0.01234", "-", "12", "6", "-"]
    assert heading[2] == "95% interval"
    rounding = known("FID", -2e-9, Interval(-3e-9, 1e-9))
    assert rows([rounding])[1] == ["FID", "0", "0 to 0", "12", "6", "34"]


def test_figures_of_distributions_are_the_distances_of_all_images():
    a, b = samples(30, 40, 64)
    fid, kid = distribution_figures(b, [f"m{i // 2}" for i in range(40)], a, list(map(str, a)))
    assert (fid.value, kid.value) == (frechet_distance(a, b), kernel_distance(a, b))
    for figure in (fid, kid):
        assert figure.interval.low < figure.value < figure.interval.high
        assert (figure.images, figure.maps, figure.real) == (40, 20, 30)


def test_json_is_whole_and_not_replaced_unasked(tmp_path):
    path = tmp_path / "r.json"
    nan = known("mIoU", float("nan"))
    write_json(path, {"figures": [nan.to_json()]})
    assert '"value": null' in path.read_text()
    with pytest.raises(FileExistsError):
        write_json(path, {})
    write_json(path, {}, overwrite=True)
    assert path.read_text() == "{}\n" and list(tmp_path.iterdir()) == [path]


def test_nothing_of_it_is_imported_before_it_is_needed():
    code = (
        "import sys, prior_tools; assert 'prior_tools.evaluation' not in sys.modules; "
        "import prior_tools.cli; import prior_tools.evaluation.folders; "
        "found = {'transformers', 'scipy'} & set(sys.modules); "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
