"""The datasets that the demo's models are trained on: generated streets, and CamVid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demo.training.images import Scenes, draw_scenes
from demo.training.setting import DOWNSCALE
from prior_tools import get_palette
from prior_tools.labels.palettes import Palette

# (Look, first seed, number of scenes); no scene is in two sets.
DIVERSE = ("any", 0, 6000)
STREETS = ("golden", 100_000, 2400)
UNSEEN = ("golden", 500_000, 240)
APART = ("golden", 400_000, 100)
# The drawn streets' classes (Cityscapes' training ids) as those of CamVid's eleven that hold the
# same things: walls are building, lights are sign, terrain is tree, lorries are car.
_AS_CAMVID = (3, 4, 1, 1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10)


class Source(ABC):
    """Sets of pictures with label maps of one size.

    Attributes:
        name: of files.
        size: (width, height) in pixels.
        palette: the colors that the ControlNet takes.
        classes: how many there are; their ids are 0 .. classes - 1, and 255 is unlabelled.
        large: ids of road, building, vegetation and sky, whose regions are large.
        described: the sets, for the header of the weights.
        ours: whether its images and label maps may be shown in the documentation.
    """

    name: str
    size: tuple[int, int]
    palette: Palette
    classes: int
    large: tuple[int, ...]
    described: dict[str, object]
    ours: bool

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the latents."""
        return self.size[1] // DOWNSCALE, self.size[0] // DOWNSCALE

    @property
    def cells(self) -> int:
        """Latent cells."""
        return self.grid[0] * self.grid[1]

    @property
    @abstractmethod
    def diverse(self) -> Scenes:
        """What autoencoder and UNet are trained on, without labels."""

    @property
    @abstractmethod
    def dataset(self) -> Scenes:
        """What the ControlNet is trained on, and the prior is of."""

    @property
    @abstractmethod
    def elsewhere(self) -> Scenes:
        """The first scenes of the diverse set, up to the dataset's own, with labels as here.

        What a ControlNet is trained on that knows nothing of the dataset.
        """

    @property
    @abstractmethod
    def unseen(self) -> Scenes:
        """What nothing is trained on."""

    @property
    def apart(self) -> Scenes:
        """What nothing is trained on either, to choose by: what is judged must not choose."""
        raise SystemExit(f"{self.name} has no label maps to choose by")

    def hints(self, labels: np.ndarray) -> np.ndarray:
        """Class ids uint8 [N, H, W] as the ControlNet takes them, uint8 [N, H, W, 3]."""
        table = np.zeros((256, 3), np.uint8)
        table[: self.classes] = self.palette.paint(torch.arange(self.classes)).numpy()
        return table[labels]

    def _draw(self, which: tuple[str, int, int]) -> Scenes:
        return draw_scenes(self.cache, *which, *self.size)


class Streets(Source):
    """Generated streets: every look for the UNet, one look for the ControlNet."""

    name = "streets"
    size = (288, 144)
    palette = get_palette("cityscapes")
    classes = 19
    large = (0, 2, 8, 10)
    described = {"diverse": DIVERSE, "dataset": STREETS}
    ours = True

    @cached_property
    def diverse(self) -> Scenes:
        return self._draw(DIVERSE)

    @cached_property
    def dataset(self) -> Scenes:
        return self._draw(STREETS)

    @property
    def elsewhere(self) -> Scenes:
        return self.diverse

    @cached_property
    def unseen(self) -> Scenes:
        return self._draw(UNSEEN)

    @cached_property
    def apart(self) -> Scenes:
        return self._draw(APART)


class Camvid(Source):
    """CamVid's train split, for the UNet with generated streets beside it; its val split unseen.

    folder: with `images/{train,val}` and `labels/{train,val}`, 480x360 pixels, labels as class ids.
    """

    name = "camvid"
    size = (240, 176)
    palette = get_palette("camvid")
    classes = 11
    large = (3, 1, 5, 0)
    described = {
        "diverse": [DIVERSE, "CamVid train, mirrored too"],
        "elsewhere": DIVERSE,
        "dataset": "CamVid train",
    }
    ours = False

    def __init__(self, cache: Path, folder: Path) -> None:
        super().__init__(cache)
        self.folder = folder

    @cached_property
    def diverse(self) -> Scenes:
        drawn, photos = self.elsewhere, self.dataset
        mirrored = Scenes(photos.images[:, :, ::-1], photos.labels[:, :, ::-1])
        return _together([drawn, photos, mirrored])

    @cached_property
    def elsewhere(self) -> Scenes:
        drawn = self._draw(DIVERSE)
        table = np.full(256, 255, np.uint8)
        table[: len(_AS_CAMVID)] = _AS_CAMVID
        return Scenes(drawn.images, table[drawn.labels])

    @cached_property
    def dataset(self) -> Scenes:
        return self._read("train")

    @cached_property
    def unseen(self) -> Scenes:
        return self._read("val")

    def _read(self, split: str) -> Scenes:
        files = sorted((self.folder / "labels" / split).glob("*.png"))
        if not files:
            raise SystemExit(f"there are no label maps in {self.folder / 'labels' / split}")
        images = [self._halved(self.folder / "images" / split / f"{f.stem}.jpg") for f in files]
        labels = np.stack([self._halved(file) for file in files])
        return Scenes(np.stack(images), np.where(labels < self.classes, labels, 255))

    def _halved(self, path: Path) -> np.ndarray:
        """The middle of a picture or label map at half of its size."""
        width, height = self.size
        with Image.open(path) as file:
            top = (file.height - 2 * height) // 2
            middle = file.crop((0, top, 2 * width, top + 2 * height))
        way = Image.Resampling.BOX if middle.mode == "RGB" else Image.Resampling.NEAREST
        return np.asarray(middle.resize(self.size, way))


def _together(sets: Sequence[Scenes]) -> Scenes:
    return Scenes(
        np.concatenate([s.images for s in sets]), np.concatenate([s.labels for s in sets])
    )
