"""Figures of a plan's rows, each with its interval, and paired differences to a baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from demo.ablation.inside import astray, share_astray
from demo.ablation.plan import Row
from demo.ablation.sampling import made
from prior_tools.evaluation.features import Extractor, extract_features
from prior_tools.evaluation.intervals import Interval, bootstrap
from prior_tools.evaluation.measure import (
    distribution_figures,
    diversity_figure,
    figure_differences,
    segmentation_figures,
)
from prior_tools.evaluation.report import Figure
from prior_tools.evaluation.segmentation import class_counts, confusion_matrices, predict

IGNORED = 255
BATCH = 8
ASTRAY = "astray"
# What figures are multiplied by to be read.
SCALES = {"KID": 1e3, ASTRAY: 100.0}


@dataclass(frozen=True)
class Value:
    """A figure with its 95% interval, where there is one."""

    value: float
    interval: Interval | None

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.interval is None else self.interval.half

    @classmethod
    def of(cls, figure: Figure) -> Value:
        """That of a figure, to be read."""
        scale, found = SCALES.get(figure.name, 1.0), figure.interval
        interval = Interval(scale * found.low, scale * found.high) if found else None
        return cls(scale * figure.value, interval)


@dataclass(frozen=True)
class Seen:
    """What the judges saw in one image of each label map.

    features [maps, 2048]; counts int64 [maps, 3, K], see `class_counts`; inside int64 [maps, 2],
    see `astray`.
    """

    features: Tensor
    counts: Tensor
    inside: Tensor


class Judge:
    """Looks at images once and keeps what it saw, by what the images are.

    labels: class ids uint8 [N, H, W] of the label maps, 255 not counted.
    real: images uint8 [N, H, W, 3] of the same label maps.
    segmenter: images uint8 [n, H, W, 3] to scores [n, K, h, w].
    large: ids of the classes that have large regions.
    folder: of the images made.
    seen: folder for what these judges saw.
    """

    def __init__(
        self,
        labels: np.ndarray,
        real: np.ndarray,
        extractor: Extractor,
        segmenter: Callable[[Tensor], Tensor],
        large: Sequence[int],
        folder: Path,
        seen: Path,
    ) -> None:
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.extractor, self.segmenter, self.large = extractor, segmenter, tuple(large)
        self.folder, self.seen = folder, seen
        self.real = self.look(real)

    def see(self, row: Row) -> list[Seen]:
        """What is in the first, the second ... images of a row's label maps."""
        return [self.look(made(row, k, self.folder)) for k in range(row.per_map)]

    def look(self, images: np.ndarray) -> Seen:
        """What is in images uint8 [maps, H, W, 3] of the first label maps."""
        content = hashlib.sha256(self.labels[: len(images)].numpy())
        content.update(np.ascontiguousarray(images))
        file = self.seen / f"{content.hexdigest()}.safetensors"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            counts, inside = self._pixels(images)
            found = Seen(extract_features(images, self.extractor), counts, inside)
            save_file(vars(found), file)
        return Seen(**load_file(file))

    def _pixels(self, images: np.ndarray) -> tuple[Tensor, Tensor]:
        """`counts` and `inside` of `Seen`."""
        labels = self.labels[: len(images)].split(BATCH)
        counts, inside = [], []
        for x, y in zip(torch.from_numpy(images).split(BATCH), labels, strict=True):
            scores = self.segmenter(x)
            predicted = predict(scores, y.shape[1:])
            matrices = confusion_matrices(predicted, y, scores.shape[1], (IGNORED,))
            counts.append(class_counts(matrices))
            inside.append(astray(predicted, y, self.large))
        return torch.cat(counts), torch.cat(inside)


@dataclass(frozen=True)
class Measured:
    """The figures of one row; `against` holds differences to a baseline, paired map by map."""

    row: Row
    figures: dict[str, Value]
    against: dict[str, Value]

    @property
    def images(self) -> int:
        """How many images the figures are of."""
        return self.row.maps * self.row.per_map


def measure(judge: Judge, row: Row, baseline: Row | None = None) -> Measured:
    """FID, KID (times 1000), mIoU, pixel accuracy, what is astray in %, diversity of a row."""
    real = judge.real.features[: row.maps]
    figures = figures_of(real, judge.see(row))
    against: list[Figure] = []
    if baseline:
        against = figure_differences(figures, figures_of(real, judge.see(baseline)))
    return Measured(row, values(figures), values(against))


def values(figures: Sequence[Figure]) -> dict[str, Value]:
    """Figures by their names."""
    return {figure.name: Value.of(figure) for figure in figures}


def figures_of(real: Tensor, seen: Sequence[Seen]) -> list[Figure]:
    """Figures of one or several images of each label map; intervals are over label maps.

    FID and KID are computed of one image of each against as many real ones, and averaged: so
    figures of equally many label maps compare.

    real: features [maps, 2048] of the label maps' own images.
    """
    names = [str(i) for i in range(len(real))]
    each = names * len(seen)
    features = [one.features for one in seen]
    figures = distribution_figures(features, names, real, names)
    figures += segmentation_figures(torch.cat([one.counts for one in seen]), each)
    inside = torch.stack([one.inside for one in seen]).sum(0)
    # Small or patchy label maps have no region so large.
    if int(inside[:, 1].sum()):
        found = bootstrap(share_astray, inside.double(), names)
        figures.append(Figure(ASTRAY, found, len(each), len(names), None))
    diversity = diversity_figure(torch.cat(features), each)
    return figures if isinstance(diversity, str) else [*figures, diversity]
