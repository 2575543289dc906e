"""Figures with their intervals, from features and from counts of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from . import by_torchmetrics
from .diversity import map_distances
from .frechet import frechet_distances
from .intervals import (
    DRAWS,
    FEWEST_UNITS,
    Interval,
    bootstrap_mean,
    bootstrap_weights,
    percentile_interval,
    t_interval,
    two_sample_error,
)
from .kernel import kernel_distances
from .report import Figure
from .segmentation import mean_iou, pixel_accuracy

_FEW = f"no interval: fewer than {FEWEST_UNITS} label maps"
# Below this many images the covariance of 2048 features has no full rank.
_SMALL = 2048


def distribution_figures(
    generated: Tensor,
    maps: Sequence[str],
    real: Tensor,
    real_names: Sequence[str],
    seed: int = 0,
) -> list[Figure]:
    """FID and KID by torchmetrics, with 95% intervals by a jackknife.

    Args:
        generated: features [N, D].
        maps: the label map of each generated image.
        real: features [M, D].
        real_names: of the real images; where these are the label maps' names, image and map are
            left out together, see `two_sample_error`.
        seed: of the jackknife's groups and of KID's subsets.

    Raises PriorError without torchmetrics, or with fewer than two images on either side.
    """
    everything = [torch.ones(1, len(x), dtype=torch.bool) for x in (real, generated)]
    # Checks the features, and wrong ones are found before the slow part.
    mine = float(frechet_distances(real, generated, *everything))
    fid = by_torchmetrics.fid_of(real, generated)
    kid, of_subsets = by_torchmetrics.kid_of(real, generated, seed)
    note = f"biased upwards for few images; compare only with FIDs of {len(generated)} against "
    note += f"{len(real)} images"
    if min(len(generated), len(real)) < _SMALL:
        note = f"fewer than {_SMALL} images: strongly {note}"
    # Of equal sets both are rounding errors around zero, about 1e-8 of the variance.
    if abs(mine - fid) > 1e-3 * abs(fid) + 1e-6 * float(real.double().var(0).sum()):
        note += f"; computed from singular values it is {mine:.4f}"
    figures = []
    for name, value, function, other, remark in (
        ("FID", fid, frechet_distances, 0.0, note),
        ("KID", kid, kernel_distances, of_subsets, ""),
    ):
        error = two_sample_error(partial(function, real, generated), real_names, maps, seed=seed)
        interval, method = None, _FEW
        if error is not None:
            total = (error[0] ** 2 + other**2) ** 0.5
            interval = t_interval(value, total, error[1])
            method = f"delete-a-group jackknife, {error[1]} groups"
        figures.append(
            Figure(name, value, interval, len(generated), len(set(maps)), len(real), method, remark)
        )
    return figures


def diversity_figure(
    features: Tensor, maps: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> Figure | str:
    """Mean distance of the features [N, D] of images of one map; or why there is none."""
    distances = map_distances(features, maps)
    if not distances:
        return "not available: one image per map"
    per_map = torch.tensor(list(distances.values()), dtype=torch.float64)
    interval = bootstrap_mean(per_map, draws, seed)
    images = sum(name in distances for name in maps)
    return Figure(
        "diversity",
        float(per_map.mean()),
        interval,
        images,
        len(distances),
        None,
        _bootstrap_text(interval, draws),
        "mean L2 distance of Inception features within a label map",
    )


def segmentation_figures(
    counts: Tensor, maps: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> list[Figure]:
    """mIoU and pixel accuracy over all images, with bootstrap intervals over label maps.

    Args:
        counts: int64 [N, 3, K] of each image; see `class_counts`.
        maps: the label map of each image.
        draws, seed: of the bootstrap. A draw that lacks a class averages over those it has.
    """
    names = sorted(set(maps))
    row = {name: index for index, name in enumerate(names)}
    per_map = torch.zeros(len(names), *counts.shape[1:], dtype=torch.float64)
    per_map.index_add_(0, torch.tensor([row[name] for name in maps]), counts.double())
    present = int((per_map.sum(0)[1] > 0).sum())
    figures = []
    for name, figure, note in (
        ("mIoU", mean_iou, f"over the {present} classes that occur in the labels"),
        ("pixel accuracy", pixel_accuracy, ""),
    ):
        interval = _counts_interval(figure, per_map, draws, seed)
        figures.append(
            Figure(
                name,
                float(figure(per_map.sum(0))),
                interval,
                len(maps),
                len(names),
                None,
                _bootstrap_text(interval, draws),
                note,
            )
        )
    return figures


def _counts_interval(
    figure: Callable[[Tensor], Tensor], per_map: Tensor, draws: int, seed: int
) -> Interval | None:
    if len(per_map) < FEWEST_UNITS:
        return None
    weights = bootstrap_weights(len(per_map), draws, seed)
    return percentile_interval(figure((weights @ per_map.flatten(1)).view(-1, *per_map.shape[1:])))


def _bootstrap_text(interval: Interval | None, draws: int) -> str:
    return _FEW if interval is None else f"bootstrap over label maps, {draws} draws"
