"""Small street scenes with exact label maps, drawn from a seed.

A scene is painted twice with the same shapes: once in color, once as Cityscapes train ids.
Nothing is photographed or copied, so the pictures carry no foreign licence.

    python -m demo.scenes OUT --count 64 --width 512 --height 256 --seed 0
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from .canvas import Camera, Canvas
from .ground import paint_ground
from .layout import place_furniture, place_people, place_signals, place_traffic
from .light import finish
from .looks import LOOKS, draw_setting
from .mood import noise_table, paint_sky
from .rows import place_frontage, place_houses
from .skyline import paint_skyline
from .stage import Stage

# Cityscapes train ids 0..18: names and colors.
CLASS_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
CLASS_COLORS = np.array(
    [
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ],
    dtype=np.uint8,
)
USED_IDS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 18)
MIN_SIDE = 32
_SCALE = 3  # odd, so that each pixel has a centre sample


@dataclass(frozen=True)
class Scene:
    """One scene: `image` uint8 [H, W, 3] and `labels` uint8 [H, W] of Cityscapes train ids."""

    image: np.ndarray
    labels: np.ndarray

    @property
    def label_colors(self) -> np.ndarray:
        """The labels in the Cityscapes colors, uint8 [H, W, 3]; unlabelled (255) is black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(CLASS_COLORS)] = CLASS_COLORS
        return table[self.labels]


def generate_scene(seed: int, width: int = 512, height: int = 256, aside: float = 0.0) -> Scene:
    """Draw the scene of a seed.

    The same (seed, width, height) gives the same arrays; another size of the same shape
    gives the same scene at that size.

    seed: not negative. width, height: in pixels, at least 32. aside: metres that the camera
    stands aside of the seed's own place, for frames of one street; a few tenths at most.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if width < MIN_SIDE or height < MIN_SIDE:
        raise ValueError(f"a scene needs at least {MIN_SIDE} x {MIN_SIDE}, got {width} x {height}")
    # Separate streams, so that draws that depend on the size cannot shift the layout.
    layout, objects, texture, grain = (np.random.default_rng([seed, i]) for i in range(4))
    mood, street, mirrored = draw_setting(layout)
    table = noise_table(texture)

    shape = math.sqrt(2.0 * height / width)  # 1 at 2:1, larger for taller pictures
    focal = float(layout.uniform(0.98, 1.22)) * height / shape
    eye_y = float(layout.uniform(2.1, 2.9)) * shape**0.7
    eye_x = float(layout.uniform(-0.15, 0.55)) * street.road + aside
    centre_x = float(layout.uniform(0.40, 0.60)) * width
    horizon = float(layout.uniform(0.42, 0.51)) * height

    sky_cam = Camera(focal, eye_x, eye_y, centre_x, horizon)
    sky = paint_sky(mood, sky_cam, width, height, texture, table)
    s = _SCALE
    cam = Camera(focal * s, eye_x, eye_y, centre_x * s, horizon * s)
    canvas = Canvas(sky, s, cam, mood.haze, mirrored)
    paint_ground(canvas, cam, mood, street, layout)
    paint_skyline(canvas, cam, mood, street, np.random.default_rng([seed, 9]))

    stage = Stage(canvas, cam, mood, street, objects)
    for side in (-1, 1):
        place_houses(stage, side)
        place_frontage(stage, side)
        place_furniture(stage, side)
    place_signals(stage)
    place_traffic(stage)
    place_people(stage)
    stage.paint()
    image, labels = finish(canvas, cam, mood, street, table, grain)
    if mirrored:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return Scene(np.ascontiguousarray(image), np.ascontiguousarray(labels))


def write_dataset(
    folder: str | Path,
    count: int,
    width: int = 512,
    height: int = 256,
    seed: int = 0,
    label_style: Literal["colors", "ids"] = "colors",
    look: str = "any",
) -> Path:
    """Write the first `count` scenes of a look from `seed` on as PNG pairs and return the folder.

    Of any look they are the scenes seed .. seed + count - 1, and their numbers count from 0.
    Pictures go to `images/scene_00000.png` and so on, labels to the same names in `labels/`:
    RGB in the Cityscapes colors ("colors") or single-channel train ids ("ids").
    """
    if label_style not in ("colors", "ids"):
        raise ValueError(f'label_style must be "colors" or "ids", got {label_style!r}')
    root = Path(folder)
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for i, number in enumerate(islice(LOOKS[look].seeds(seed), count)):
        scene = generate_scene(number, width, height)
        labels = scene.labels if label_style == "ids" else scene.label_colors
        Image.fromarray(scene.image).save(root / "images" / f"scene_{i:05d}.png")
        Image.fromarray(labels).save(root / "labels" / f"scene_{i:05d}.png")
    return root


def main(argv: list[str] | None = None) -> None:
    """Command line: write a folder of scenes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write images/ and labels/ into")
    parser.add_argument("--count", type=int, default=16, help="number of scenes")
    parser.add_argument("--width", type=int, default=512, help="pixels")
    parser.add_argument("--height", type=int, default=256, help="pixels")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first scene")
    parser.add_argument(
        "--look", choices=LOOKS, default="any", help="scenes of one look (default: any)"
    )
    parser.add_argument("--label-style", choices=("colors", "ids"), default="colors")
    args = parser.parse_args(argv)
    size = args.width, args.height
    root = write_dataset(args.out, args.count, *size, args.seed, args.label_style, args.look)
    print(f"{args.count} scenes in {root}")
