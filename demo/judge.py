"""How results follow their label maps, as the demo's segmentation net sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dev.comfyui import REPOSITORY
from prior_tools import get_palette
from prior_tools.datasets.label_files import read_label_file
from prior_tools.evaluation.segmentation import mean_iou, pixel_counts, predict
from prior_tools.evaluation.segmenters import Segmenter, load_segmenter
from prior_tools.labels.reading import LabelRules

SEGMENTER = REPOSITORY / "demo" / "segmenter.pt"


class Judge:
    """The segmentation net that was trained on the drawn streets' own images."""

    def __init__(self) -> None:
        self._segmenter: Segmenter = load_segmenter(SEGMENTER, trust=True)

    def agreement(self, picture: np.ndarray, label_map: Path) -> tuple[float, Tensor]:
        """The mIoU of a picture uint8 [H, W, 3], and where its class is right: bool [H, W].

        label_map: a file in Cityscapes' colors, of the picture's size.
        """
        palette = get_palette("cityscapes")
        labels = read_label_file(label_map, LabelRules(palette, palette.ignore_ids)).ids[None]
        scores = self._segmenter(torch.from_numpy(picture.copy())[None])
        right = predict(scores, labels.shape[1:]) == labels
        return float(mean_iou(pixel_counts(scores, labels)[0])), right[0]


def largest_and_middle(gains: Sequence[float]) -> list[int]:
    """Which of the gains is the largest, and which the median: of two in the middle the lower."""
    by_gain = sorted(range(len(gains)), key=lambda i: gains[i])
    return [by_gain[-1], by_gain[(len(gains) - 1) // 2]]


def most_gained(before: Tensor, after: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    """Where a window gains most pixels that are right: its (left, top).

    before, after: bool [H, W]. size: (width, height) of the window.
    """
    gained = after.double() - before.double()
    width, height = size
    sums = functional.avg_pool2d(gained[None], (height, width), stride=1)[0]
    top, left = divmod(int(sums.argmax()), sums.shape[1])
    return left, top
