"""Figures with their intervals, from features and from counts of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from .diversity import map_distances
from .frechet import frechet_distances
from .intervals import DRAWS, FEWEST_UNITS, Interval, bootstrap, bootstrap_mean, jackknife
from .kernel import kernel_distances
from .report import Figure
from .segmentation import mean_iou, pixel_accuracy

_FEW = f"no interval: fewer than {FEWEST_UNITS} label maps"
# Below this many images the covariance of 2048 features has no full rank.
_SMALL = 2048

# Figure -> its values on subsets of real and of generated images, as `frechet_distances`.
DISTANCES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "FID": frechet_distances,
    "KID": kernel_distances,
}
# Figure -> its value of pixel counts [..., 3, K].
OF_COUNTS: dict[str, Callable[[Tensor], Tensor]] = {
    "mIoU": mean_iou,
    "pixel accuracy": pixel_accuracy,
}


def distribution_figures(
    generated: Tensor,
    maps: Sequence[str],
    real: Tensor,
    real_names: Sequence[str],
    seed: int = 0,
) -> list[Figure]:
    """FID and KID, with 95% intervals by a jackknife.

    Args:
        generated: features [N, D].
        maps: the label map of each generated image.
        real: features [M, D].
        real_names: of the real images; where these are the label maps' names, image and map are
            left out together, see `two_sample_error`.
        seed: of the jackknife's groups.

    Raises PriorError for features that are not finite, or fewer than two images on either side.
    """
    bias = f"biased upwards for few images; compare only with FIDs of {len(generated)} against "
    bias += f"{len(real)} images"
    if min(len(generated), len(real)) < _SMALL:
        bias = f"fewer than {_SMALL} images: strongly {bias}"
    remarks = {"FID": bias, "KID": "of all images at once, which a mean over subsets estimates"}
    figures = []
    for name, distances in DISTANCES.items():
        value, interval, groups = jackknife(
            partial(distances, real, generated), real_names, maps, seed
        )
        method = _FEW if interval is None else f"delete-a-group jackknife, {groups} groups"
        images = len(generated), len(set(maps)), len(real)
        figures.append(Figure(name, value, interval, *images, method, remarks[name]))
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
    names = list(dict.fromkeys(maps))
    row = {name: index for index, name in enumerate(names)}
    per_map = torch.zeros(len(names), *counts.shape[1:], dtype=torch.float64)
    per_map.index_add_(0, torch.tensor([row[name] for name in maps]), counts.double())
    present = int((per_map.sum(0)[1] > 0).sum())
    notes = {"mIoU": f"over the {present} classes that occur in the labels"}
    figures = []
    for name, figure in OF_COUNTS.items():
        value = float(figure(per_map.sum(0)))
        interval = bootstrap(figure, per_map, draws, seed)
        method = _bootstrap_text(interval, draws)
        images = len(maps), len(names), None
        figures.append(Figure(name, value, interval, *images, method, notes.get(name, "")))
    return figures


def _bootstrap_text(interval: Interval | None, draws: int) -> str:
    return _FEW if interval is None else f"bootstrap over label maps, {draws} draws"
