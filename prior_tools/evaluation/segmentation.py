"""mIoU and pixel accuracy of what a segmentation model sees in generated images.

The figures are those of the PASCAL VOC and Cityscapes benchmarks: pixels of all images are counted
together, then IoU = hit / (label + prediction - hit) per class, averaged over the classes that
occur in the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import PriorError

# Classes whose scores are resized at once: 150 at 2048x1024 would be more than a gigabyte.
_CLASSES = 8


def predict(scores: Tensor, shape: Sequence[int]) -> Tensor:
    """The best class at each pixel of a label map.

    Args:
        scores: [N, K, h, w], of any size; resized bilinearly before the best is chosen.
        shape: [H, W] of the label map.

    Returns:
        int64 [N, H, W], indices of scores; of equal scores the lower index.
    """
    size = (len(scores), *shape)
    best = torch.full(size, -torch.inf, device=scores.device)
    winner = torch.zeros(size, dtype=torch.int64, device=scores.device)
    for start in range(0, scores.shape[1], _CLASSES):
        part = scores[:, start : start + _CLASSES].float()
        if tuple(part.shape[-2:]) != tuple(shape):
            part = functional.interpolate(part, tuple(shape), mode="bilinear")
        value, index = part.max(1)
        better = value > best
        best = torch.where(better, value, best)
        winner = torch.where(better, index + start, winner)
    return winner


def confusion_matrices(
    predicted: Tensor, labels: Tensor, num_classes: int, ignore_ids: Sequence[int] = ()
) -> Tensor:
    """How often each label was taken for each class.

    Args:
        predicted, labels: integer ids [N, H, W]. Pixels labelled -1 or an ignored id do not count.
        num_classes: K.

    Returns:
        int64 [N, K, K], rows by label, columns by prediction. Raises PriorError for other shapes
        or for ids beyond K that are not ignored.
    """
    if predicted.shape != labels.shape or labels.ndim != 3:
        raise PriorError(
            f"predictions have shape {tuple(predicted.shape)} and labels {tuple(labels.shape)}; "
            "expected [N, H, W] for both"
        )
    counted = (labels >= 0) & ~torch.isin(labels, torch.tensor(list(ignore_ids), dtype=torch.int64))
    for ids, what in ((labels[counted], "labels"), (predicted[counted], "predictions")):
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < num_classes:
            raise PriorError(
                f"{what} hold class ids {int(ids.min())} to {int(ids.max())}; expected 0 to "
                f"{num_classes - 1}"
            )
    image = torch.arange(len(labels))[:, None, None].expand_as(labels)[counted]
    cell = (image * num_classes + labels[counted]) * num_classes + predicted[counted]
    total = torch.bincount(cell, minlength=len(labels) * num_classes**2)
    return total.view(len(labels), num_classes, num_classes)


def class_counts(confusion: Tensor) -> Tensor:
    """All that IoU and accuracy need of confusion matrices [..., K, K]: int64 [..., 3, K].

    Pixels that are rightly found, labelled, and predicted, per class.
    """
    return torch.stack([confusion.diagonal(0, -2, -1), confusion.sum(-1), confusion.sum(-2)], -2)


def pixel_counts(scores: Tensor, labels: Tensor, ignore_ids: Sequence[int] = ()) -> Tensor:
    """The `class_counts` int64 [N, 3, K] of images, each by itself.

    Args:
        scores: [N, K, h, w], see `predict`.
        labels: ids [N, H, W] and `ignore_ids` as `confusion_matrices` takes them.
    """
    predicted = predict(scores, labels.shape[1:])
    return class_counts(confusion_matrices(predicted, labels, scores.shape[1], ignore_ids))


def class_iou(counts: Tensor) -> Tensor:
    """IoU per class, float64 [..., K], of counts [..., 3, K]; NaN where no label holds it."""
    hit, labelled, found = counts.double().unbind(-2)
    nowhere = torch.tensor(float("nan"), dtype=torch.float64)
    return torch.where(labelled > 0, hit / (labelled + found - hit), nowhere)


def mean_iou(counts: Tensor) -> Tensor:
    """Mean IoU [...] over the classes that the labels hold; counts [..., 3, K] summed over images.

    NaN where no pixel is labelled.
    """
    return class_iou(counts).nanmean(-1)


def pixel_accuracy(counts: Tensor) -> Tensor:
    """The fraction [...] of labelled pixels that got their class; NaN where there are none."""
    hit, labelled, _ = counts.double().unbind(-2)
    return hit.sum(-1) / labelled.sum(-1)
