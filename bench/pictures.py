"""The labelled images that are measured on: CamVid where it is present, else generated scenes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from bench.options import Options
from demo.scenes import write_dataset
from prior_tools.datasets.dataset import PairDataset
from prior_tools.datasets.layout import Layout
from prior_tools.datasets.layouts import find_dataset
from prior_tools.labels.geometry import resize_labels

# CamVid's own size, so that both sets cost about the same to decode.
SCENE_SIZE = (480, 360)
SCENES = 24


@dataclass(frozen=True)
class Pictures:
    """Labelled images on disk.

    Attributes:
        source: in words.
        layout: where the files are.
    """

    source: str
    layout: Layout

    def dataset(self, count: int, size: tuple[int, int]) -> PairDataset:
        """`count` of the pairs, evenly spread, read at `size` (width, height).

        Where there are fewer, they come again.
        """
        there = len(self.layout.pairs)
        spread = max(count, there)
        return self.layout.dataset(size).subset([i * spread // count % there for i in range(count)])

    def label_maps(self, count: int, size: tuple[int, int]) -> Tensor:
        """Class ids int64 [count, h, w] on the grid of `size` (width, height) at a factor of 8."""
        dataset, grid = self.dataset(count, size), (size[1] // 8, size[0] // 8)
        return torch.stack([resize_labels(dataset[i].labels, grid) for i in range(count)])


def find_pictures(options: Options) -> Pictures:
    """CamVid if the options name it, else scenes, which are drawn on the first call."""
    if options.camvid is not None:
        layout = find_dataset("pairs", options.camvid, "train").with_palette("camvid")
        return Pictures("CamVid, 480x360 pixels", layout)
    width, height = SCENE_SIZE
    root = draw_scenes(options.cache, SCENES, width, height)
    layout = find_dataset("pairs", root, "").with_palette("cityscapes")
    return Pictures(f"generated scenes, {width}x{height} pixels", layout)


@cache
def draw_scenes(folder: Path, count: int, width: int, height: int) -> Path:
    """A folder with images/ and labels/ of generated scenes, drawn once."""
    root = folder / f"scenes_{count}_{width}x{height}"
    complete = root / "complete"
    if not complete.exists():
        print(f"drawing {count} scenes of {width}x{height} pixels, once", flush=True)
        write_dataset(root, count, width, height)
        complete.touch()
    return root
