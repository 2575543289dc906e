"""Figures with their intervals, from features and from counts of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ..errors import counted
from .diversity import map_distances
from .frechet import frechet_distances
from .intervals import DRAWS, bootstrap, bootstrap_mean, jackknife
from .kernel import kernel_distances
from .report import Figure
from .segmentation import mean_iou, pixel_accuracy

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
    generated: Tensor | Sequence[Tensor],
    maps: Sequence[str],
    real: Tensor,
    real_names: Sequence[str],
    seed: int = 0,
) -> list[Figure]:
    """FID and KID, with 95% intervals by a jackknife.

    Args:
        generated: features [N, D]; or those of several sets of images of the same label maps, [N,
            D] each: then a figure is the mean of those of the sets.
        maps: the label map of each generated image of a set.
        real: features [M, D].
        real_names: of the real images; where these are the label maps' names, image and map are
            left out together, see `jackknife`.
        seed: of the jackknife's groups.

    Raises PriorError for features that are not finite, or fewer than two images on either side.
    """
    sets = [generated] if isinstance(generated, Tensor) else list(generated)
    bias = f"biased upwards for few images; compare only with FIDs of {len(maps)} against "
    bias += counted(len(real), "image")
    if min(len(maps), len(real)) < _SMALL:
        bias = f"fewer than {_SMALL} images: strongly {bias}"
    remarks = {"FID": bias, "KID": "of all images at once, which a mean over subsets estimates"}
    images = len(sets) * len(maps), len(set(maps)), len(real)

    def values(name: str, keep_real: Tensor, keep: Tensor) -> Tensor:
        return torch.stack([DISTANCES[name](real, one, keep_real, keep) for one in sets]).mean(0)

    return [
        Figure(name, jackknife(partial(values, name), real_names, maps, seed=seed), *images, remark)
        for name, remark in remarks.items()
    ]


def diversity_figure(
    features: Tensor, maps: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> Figure | str:
    """Mean distance of the features [N, D] of images of one map; or why there is none."""
    distances = map_distances(features, maps)
    if not distances:
        return "not available: one image per map"
    images = sum(name in distances for name in maps), len(distances), None
    note = "mean L2 distance of Inception features within a label map"
    return Figure("diversity", bootstrap_mean(distances, draws, seed), *images, note)


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
    classes = counted(present, "class that occurs", "classes that occur")
    notes = {"mIoU": f"over the {classes} in the labels"}
    images = len(maps), len(names), None
    return [
        Figure(name, bootstrap(figure, per_map, names, draws, seed), *images, notes.get(name, ""))
        for name, figure in OF_COUNTS.items()
    ]


def figure_differences(figures: Sequence[Figure], baseline: Sequence[Figure]) -> list[Figure]:
    """Figures less those of a baseline, of images of the same label maps, paired by label map.

    Only figures that both have. Raises PriorError if two are not of the same label maps, or not
    resampled with one seed.
    """
    others = {figure.name: figure.found for figure in baseline}
    return [
        replace(figure, found=figure.found - others[figure.name])
        for figure in figures
        if figure.name in others
    ]
