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
from prior_tools.evaluation.intervals import (
    Interval,
    Subsets,
    bootstrap,
    bootstrap_mean,
    jackknife,
)
from prior_tools.evaluation.measure import (
    DISTANCES,
    OF_COUNTS,
    diversity_figure,
    segmentation_figures,
)
from prior_tools.evaluation.segmentation import pixel_counts

IGNORED = 255
BATCH = 8
# What distances are multiplied by to be read.
SCALES = {"FID": 1.0, "KID": 1e3}


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
    segmenter: images uint8 [n, H, W, 3] to scores [n, K, h, w].
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
        labels = self.labels[: len(images)].split(BATCH)
        batches = zip(torch.from_numpy(images).split(BATCH), labels, strict=True)
        return torch.cat([pixel_counts(self.segmenter(x), y, (IGNORED,)) for x, y in batches])


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
    """FID, KID (times 1000), mIoU, pixel accuracy and diversity of a row."""
    real = judge.real.features[: row.maps]
    seen = [judge.see(row, seed) for seed in row.seeds]
    other = [judge.see(baseline, seed) for seed in row.seeds] if baseline else []
    return Measured(row, figures_of(real, seen), differences(real, seen, other) if other else {})


def figures_of(real: Tensor, seen: Sequence[Seen]) -> dict[str, Value]:
    """Figures of images of several seeds; intervals are over label maps.

    FID and KID are computed for each seed's images against as many real ones, and averaged over the
    seeds: so figures of equally many label maps compare.

    real: features [maps, 2048] of the label maps' own images.
    """
    figures = {
        name: _jackknifed(partial(_distance, name, real, seen), _names(real)) for name in DISTANCES
    }
    names = _names(real) * len(seen)
    found = segmentation_figures(torch.cat([one.counts for one in seen]), names)
    diversity = diversity_figure(torch.cat([one.features for one in seen]), names)
    if not isinstance(diversity, str):
        found.append(diversity)
    return figures | {figure.name: Value(figure.value, figure.interval) for figure in found}


def differences(real: Tensor, seen: Sequence[Seen], other: Sequence[Seen]) -> dict[str, Value]:
    """The figures of images less those of others of the same seeds, paired map by map."""
    names = _names(real)

    def nearer(name: str, keep_real: Tensor, keep: Tensor) -> Tensor:
        ours, theirs = (_distance(name, real, sets, keep_real, keep) for sets in (seen, other))
        return ours - theirs

    def better(name: str, counts: Tensor) -> Tensor:
        ours, theirs = OF_COUNTS[name](counts).unbind(-1)
        return ours - theirs

    against = {name: _jackknifed(partial(nearer, name), names) for name in DISTANCES}
    # [maps, 2, 3, K], so that a draw takes the same label maps of both.
    both = (torch.stack([one.counts for one in sets]).sum(0) for sets in (seen, other))
    counts = torch.stack(list(both), 1)
    for name in OF_COUNTS:
        figure = partial(better, name)
        against[name] = Value(float(figure(counts.sum(0))), bootstrap(figure, counts))
    if len(seen) > 1:
        off = _distances_within(seen, names) - _distances_within(other, names)
        against["diversity"] = Value(float(off.mean()), bootstrap_mean(off))
    return against


def _names(real: Tensor) -> list[str]:
    """What tells the label maps apart."""
    return [str(i) for i in range(len(real))]


def _distance(
    name: str, real: Tensor, sets: Sequence[Seen], keep_real: Tensor, keep: Tensor
) -> Tensor:
    """Distances [R] of subsets from the real images, mean over seeds."""
    found = [DISTANCES[name](real, one.features, keep_real, keep) for one in sets]
    return SCALES[name] * torch.stack(found).mean(0)


def _jackknifed(values: Subsets, names: Sequence[str]) -> Value:
    value, interval, _ = jackknife(values, names, names)
    return Value(value, interval)


def _distances_within(seen: Sequence[Seen], names: Sequence[str]) -> Tensor:
    """Mean distance between the seeds' images of each label map, float64 [maps]."""
    features = torch.cat([one.features for one in seen])
    distances = map_distances(features, [*names] * len(seen))
    return torch.tensor([distances[name] for name in names], dtype=torch.float64)
