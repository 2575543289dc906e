"""Figures of a plan's rows, each with its interval, and paired differences to a baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from demo.ablation.plan import Row
from demo.ablation.sampling import made
from prior_tools.evaluation.diversity import map_distances
from prior_tools.evaluation.features import Extractor, extract_features
from prior_tools.evaluation.frechet import frechet_distances
from prior_tools.evaluation.intervals import (
    Interval,
    bootstrap_mean,
    bootstrap_weights,
    percentile_interval,
    t_interval,
    two_sample_error,
)
from prior_tools.evaluation.kernel import kernel_distances
from prior_tools.evaluation.segmentation import (
    class_counts,
    confusion_matrices,
    mean_iou,
    pixel_accuracy,
    predict,
)

IGNORED = 255

Distance = tuple[Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], float]
DISTANCES: dict[str, Distance] = {"FID": (frechet_distances, 1.0), "KID": (kernel_distances, 1e3)}


@dataclass(frozen=True)
class Value:
    """A figure with its 95% interval, where there is one."""

    value: float
    interval: Interval | None

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.interval is None else (self.interval.high - self.interval.low) / 2


@dataclass(frozen=True)
class Seen:
    """What the judges saw in the images of a row at one seed.

    features [maps, 2048]; counts int64 [maps, 3, K], see `class_counts`.
    """

    features: Tensor
    counts: Tensor


class Judge:
    """Looks at images once and keeps what it saw.

    labels: class ids uint8 [N, H, W] of the label maps, 255 not counted.
    real: images uint8 [N, H, W, 3] of the same label maps.
    segmenter: images float32 [n, 3, H, W] in 0..1 to scores [n, K, H, W].
    folder: of the images made, and of what was seen in them.
    """

    def __init__(
        self,
        labels: np.ndarray,
        real: np.ndarray,
        extractor: Extractor,
        segmenter: Callable[[Tensor], Tensor],
        folder: Path,
    ) -> None:
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.extractor, self.segmenter, self.folder = extractor, segmenter, folder
        self.real = self.look(real, "real")

    def see(self, row: Row, seed: int) -> Seen:
        """What is in the images of a row at one seed."""
        return self.look(made(row, seed, self.folder), f"{row.key}/seed{seed}")

    def look(self, images: np.ndarray, name: str) -> Seen:
        """What is in images uint8 [maps, H, W, 3] of the first label maps, kept under a name."""
        file = self.folder / "seen" / name / f"{len(images)}.safetensors"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            features = extract_features(images, self.extractor)
            save_file({"features": features, "counts": self._counts(images)}, file)
        return Seen(**load_file(file))

    def _counts(self, images: np.ndarray) -> Tensor:
        counts = []
        for at in range(0, len(images), 8):
            batch = torch.from_numpy(images[at : at + 8]).movedim(-1, 1).float() / 255
            with torch.inference_mode():
                scores = self.segmenter(batch)
            labels = self.labels[at : at + len(batch)]
            predicted = predict(scores, labels.shape[1:])
            counts.append(
                class_counts(confusion_matrices(predicted, labels, scores.shape[1], (IGNORED,)))
            )
        return torch.cat(counts)


@dataclass(frozen=True)
class Measured:
    """The figures of one row; `against` holds differences to a baseline, paired map by map."""

    row: Row
    figures: dict[str, Value]
    against: dict[str, Value]

    @property
    def images(self) -> int:
        """How many images the figures are of."""
        return self.row.maps * len(self.row.seeds)


def measure(judge: Judge, row: Row, baseline: Row | None = None) -> Measured:
    """FID, KID (times 1000), mIoU, accuracy and diversity of a row.

    FID and KID are computed for each seed's images against as many real ones, and averaged over the
    seeds: so rows of equal `maps` compare. Intervals are over label maps.
    """
    seen = [judge.see(row, seed) for seed in row.seeds]
    other = [judge.see(baseline, seed) for seed in row.seeds] if baseline else []
    return Measured(row, *compare(judge.real.features[: row.maps], seen, other))


def compare(
    real: Tensor, seen: Sequence[Seen], other: Sequence[Seen] = ()
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Figures of images of several seeds, and their differences to those of others, if any.

    real: features [maps, 2048] of the label maps' own images.
    """
    maps = len(real)
    names = [str(i) for i in range(maps)]
    figures, against = {}, {}
    for name, kind in DISTANCES.items():
        figures[name] = _jackknifed(partial(_from_real, kind, real, seen), names)
        if other:
            against[name] = _jackknifed(partial(_nearer, kind, real, seen, other), names)
    ours, theirs = (
        torch.stack([one.counts for one in sets]).sum(0) if sets else None for sets in (seen, other)
    )
    weights = bootstrap_weights(maps)
    for name, of_counts in (("mIoU", mean_iou), ("accuracy", pixel_accuracy)):
        figures[name] = Value(
            float(of_counts(ours.sum(0))), percentile_interval(of_counts(_drawn(weights, ours)))
        )
        if theirs is not None:
            off = of_counts(_drawn(weights, ours)) - of_counts(_drawn(weights, theirs))
            value = of_counts(ours.sum(0)) - of_counts(theirs.sum(0))
            against[name] = Value(float(value), percentile_interval(off))
    if len(seen) > 1:
        ours = _distances(seen, names)
        figures["diversity"] = Value(float(ours.mean()), bootstrap_mean(ours))
        if other:
            off = ours - _distances(other, names)
            against["diversity"] = Value(float(off.mean()), bootstrap_mean(off))
    return figures, against


def _from_real(
    kind: Distance, real: Tensor, sets: Sequence[Seen], keep_real: Tensor, keep: Tensor
) -> Tensor:
    """Distances [R] of subsets from the real images, mean over seeds."""
    distances, scale = kind
    found = [scale * distances(real, one.features, keep_real, keep) for one in sets]
    return torch.stack(found).mean(0)


def _nearer(
    kind: Distance,
    real: Tensor,
    sets: Sequence[Seen],
    others: Sequence[Seen],
    keep_real: Tensor,
    keep: Tensor,
) -> Tensor:
    """The same, less that of other images."""
    ours, theirs = (_from_real(kind, real, x, keep_real, keep) for x in (sets, others))
    return ours - theirs


def _jackknifed(values: Callable[[Tensor, Tensor], Tensor], names: Sequence[str]) -> Value:
    everything = torch.ones(1, len(names), dtype=torch.bool)
    value = float(values(everything, everything))
    error = two_sample_error(values, names, names)
    return Value(value, t_interval(value, *error) if error else None)


def _drawn(weights: Tensor, counts: Tensor) -> Tensor:
    """Counts of bootstrap draws: weights [draws, maps], counts [maps, 3, K]."""
    return (weights @ counts.double().flatten(1)).view(-1, *counts.shape[1:])


def _distances(seen: Sequence[Seen], names: Sequence[str]) -> Tensor:
    """Mean distance between the seeds' images of each label map, float64 [maps]."""
    features = torch.cat([one.features for one in seen])
    distances = map_distances(features, list(names) * len(seen))
    return torch.tensor([distances[name] for name in names], dtype=torch.float64)
