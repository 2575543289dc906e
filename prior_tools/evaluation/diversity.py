"""How far apart the images of one label map lie."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def map_distances(features: Tensor, maps: Sequence[str]) -> dict[str, float]:
    """Mean distance between different images of the same label map.

    Args:
        features: [N, D].
        maps: the label map of each image.

    Returns:
        label map -> mean Euclidean distance over its pairs of images, in units of the features;
        only maps with two images or more. Diversity is the mean of these: each map weighs alike.
    """
    members: dict[str, list[int]] = {}
    for index, name in enumerate(maps):
        members.setdefault(name, []).append(index)
    return {
        name: float(torch.pdist(features[indices].double()).mean())
        for name, indices in members.items()
        if len(indices) > 1
    }
