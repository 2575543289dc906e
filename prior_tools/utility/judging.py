"""What a trained net gets right on held-out images, counted image by image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..evaluation.segmentation import class_counts, confusion_matrices, predict
from .sets import VOID, IndexedSet


def judge(net: nn.Module, val: IndexedSet, classes: int, batch: int, device: str) -> Tensor:
    """Pixels of each class that are found, labelled and predicted: int64 [N, 3, K].

    Args:
        net: images float [N, 3, H, W] in 0..1 to scores [N, K, h, w].
        val: the held-out images; what is VOID does not count.
        classes: K.
        batch: images at once.
        device: that the net is on.
    """
    found = []
    for start in range(0, len(val), batch):
        images = val.images[start : start + batch].permute(0, 3, 1, 2).float() / 255
        labels = val.labels[start : start + batch].long()
        with torch.inference_mode():
            scores = net(images.to(device)).float()
            seen = predict(scores, labels.shape[1:]).cpu()
        labels = torch.where(labels == VOID, -1, labels)
        found.append(class_counts(confusion_matrices(seen, labels, classes)))
    return torch.cat(found)


def counts_of_constant(val: IndexedSet, index: int, classes: int) -> Tensor:
    """As `judge`, of answering one class everywhere."""
    labels = val.labels.long()
    labels = torch.where(labels == VOID, -1, labels)
    return class_counts(
        torch.cat(
            [
                confusion_matrices(torch.full_like(one, index)[None], one[None], classes)
                for one in labels
            ]
        )
    )
