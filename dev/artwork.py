"""Draws the registry's artwork: docs/icon.png and docs/banner.png.

    python -m dev.artwork

Both show what the pack does. The banner is one generated street: its label map at the left, noise
around the mean of each class and place in the middle, the picture at the right. The icon says the
same with a few squares. Every random number comes from a fixed seed: a second run draws the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demo.scenes import Scene, generate_scene

DOCS = Path(__file__).resolve().parents[1] / "docs"

ICON_SIDE = 400
BANNER_WIDTH, BANNER_HEIGHT = 1344, 576  # 21:9

# A scene of the look "golden": a house's plain wall behind the name, a car and houses at the right.
_SCENE_SEED = 849
_CELL = 12  # side of a noise square of the banner, in pixels
_OVERSAMPLE = 4  # shapes and letters are drawn larger and averaged down

_NIGHT = (18, 20, 30)
_SLATE = np.array([74.0, 82.0, 108.0])  # takes the glare from the label colors
_PAPER = (250, 247, 240)


def main() -> None:
    """Write both files."""
    DOCS.mkdir(exist_ok=True)
    for name, image in (("icon", draw_icon()), ("banner", draw_banner())):
        path = DOCS / f"{name}.png"
        image.save(path, optimize=True)
        print(f"{path}: {image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB")


# The banner


def draw_banner() -> Image.Image:
    """The banner, RGB."""
    scene = generate_scene(_SCENE_SEED, BANNER_WIDTH, BANNER_HEIGHT)
    scene.labels[60:240, 150:230] = 2  # ivy on the building, which would run through the letters
    image = _to_image(_dissolve(scene))
    return _write(image)


def _dissolve(scene: Scene) -> np.ndarray:
    """Label map, noise and picture side by side, float [H, W, 3].

    A square turns from one stage to the next where its place, left to right and a little shaken,
    passes the stage's threshold. From the noise on, squares get smaller and their noise fainter.
    """
    rng = np.random.default_rng(7)
    picture = scene.image.astype(np.float64)
    height, width = scene.labels.shape
    rows, columns = height // _CELL, width // _CELL
    y, x = (np.mgrid[0:rows, 0:columns] + 0.5) / np.array([rows, columns]).reshape(2, 1, 1)
    place = x + 0.08 * (y - 0.5)
    shaken = place + 0.15 * (rng.random(place.shape) - 0.5)
    late_shaken = place + 0.16 * (rng.random(place.shape) - 0.5)

    image = 0.66 * scene.label_colors + 0.34 * _SLATE
    rise = _ease(0.33, 0.48, place)
    stages = (
        # side, shown from, strength of the noise
        (12, 0.40, 30 * rise * (1 - 0.5 * _ease(0.52, 0.70, place))),
        (6, 0.585, 22 * (1 - _ease(0.52, 0.73, place))),
        (3, 0.64, 15 * (1 - _ease(0.56, 0.75, place))),
        (1, 0.695, np.zeros_like(place)),
    )
    for side, start, strength in stages:
        if side == _CELL:  # under noise the means are nearer to grey, as in diffusion
            mean = 0.84 * _means(picture, scene.labels) + 0.16 * picture.mean((0, 1))
        else:
            mean = _pool(picture, side)
        repeat = _CELL // side
        noisy = mean + _noise(rng, mean.shape[:2]) * _spread(strength, repeat)
        shown = _spread((shaken if side == _CELL else late_shaken) > start, _CELL)
        image = np.where(shown, _spread(noisy, side), image)
    return image


def _means(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The picture's mean color per class and place, per square: float [rows, columns, 3]."""
    shape = (labels.shape[0] // _CELL, labels.shape[1] // _CELL, 3)
    means = np.zeros(shape)
    for label in np.unique(labels):
        mask = (labels == label)[..., None].astype(np.float64)
        share = _pool(mask, _CELL)
        total = _blur(_pool(picture * mask, _CELL), 8)
        means += share * total / (_blur(share, 8) + 1e-9)
    return means


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Normal noise, more of it in brightness than in hue: float [H, W, 3]."""
    return 0.8 * rng.standard_normal((*shape, 1)) + 0.4 * rng.standard_normal((*shape, 3))


def _write(image: Image.Image) -> Image.Image:
    """The name and the line below it, on the wall at the left."""
    s = _OVERSAMPLE
    mask = Image.new("L", (image.width * s, image.height * s))
    draw = ImageDraw.Draw(mask)
    for text, x, y, size, weight, ink in (
        ("SCP-Diff", 61, 227, 102, 5, 255),
        ("Start from your dataset\u2019s", 66, 273, 29, 1, 232),
        ("own noise prior", 66, 308, 29, 1, 232),
    ):
        # The basic layout, which every Pillow has, so that letters stand in the same places.
        font = ImageFont.load_default(size * s).font_variant(layout_engine=ImageFont.Layout.BASIC)
        draw.text((x * s, y * s), text, ink, font, anchor="ls", stroke_width=weight)
    image.paste(_PAPER, (0, 0), mask.resize(image.size, Image.Resampling.BOX))
    return image


# The icon

_TILES = 8
_MARGIN = 20  # dark frame around the tiles, in pixels
_TILE = (ICON_SIDE - 2 * _MARGIN) // _TILES


def draw_icon() -> Image.Image:
    """The icon, RGBA: squares of noise that close up to a picture along the diagonal."""
    s = _OVERSAMPLE
    side = _TILE * s
    rng = np.random.default_rng(3)
    picture = np.asarray(_street(_TILES * side), np.float64)
    means, halves = _pool(picture, side), _pool(picture, side // 2)
    noise, fine = _noise(rng, means.shape[:2]), _noise(rng, halves.shape[:2])
    shake = 0.12 * (rng.random(means.shape[:2]) - 0.5)

    tiles = Image.new("RGB", (_TILES * side, _TILES * side), _NIGHT)
    for i in range(_TILES):
        for j in range(_TILES):
            place = (i + j) / (2 * _TILES - 2) + shake[i, j]
            gap = 0
            if place > 0.49:
                tile = picture[i * side : (i + 1) * side, j * side : (j + 1) * side]
            elif place > 0.37:
                part = np.s_[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                tile = _spread(halves[part] + 11 * fine[part], side // 2)
            else:
                strength = 38 * (1 - _ease(0.05, 0.6, place))
                tile = _spread(means[i : i + 1, j : j + 1] + strength * noise[i, j], side)
                gap = round(s * (3 - 2 * place / 0.37))
            mask = _rounded(side, gap, 3 * gap if gap else 0)
            tiles.paste(_to_image(tile), (j * side, i * side), mask)

    icon = Image.new("RGB", (ICON_SIDE * s, ICON_SIDE * s), _NIGHT)
    icon.paste(tiles, (_MARGIN * s, _MARGIN * s), _rounded(tiles.width, 0, 52 * s))
    icon.putalpha(_rounded(icon.width, 0, 72 * s))
    return icon.resize((ICON_SIDE, ICON_SIDE), Image.Resampling.BOX)


def _rounded(side: int, gap: int, radius: int) -> Image.Image:
    """A mask of one rounded square, `gap` inside its border."""
    mask = Image.new("L", (side, side))
    box = (gap, gap, side - 1 - gap, side - 1 - gap)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius, fill=255)
    return mask


def _street(side: int) -> Image.Image:
    """The icon's picture: evening sky, a house, a tree, a road."""
    y = ((np.arange(side) + 0.5) / side)[:, None, None]
    top, low = np.array([58.0, 106, 176]), np.array([255.0, 208, 138])
    blend = _ease(0.0, 0.64, y)
    image = _to_image((top * (1 - blend) + low * blend) * np.ones((1, side, 1)))
    draw = ImageDraw.Draw(image)

    def shape(color: tuple[int, int, int], *points: tuple[float, float]) -> None:
        draw.polygon([(px * side, py * side) for px, py in points], fill=color)

    def disc(color: tuple[int, int, int], px: float, py: float, r: float) -> None:
        draw.ellipse([(px - r) * side, (py - r) * side, (px + r) * side, (py + r) * side], color)

    def block(color: tuple[int, int, int], x0: float, y0: float, x1: float, y1: float) -> None:
        shape(color, (x0, y0), (x1, y0), (x1, y1), (x0, y1))

    disc((255, 236, 186), 0.30, 0.50, 0.13)
    block((84, 128, 88), 0, 0.62, 1, 1)
    disc((64, 112, 74), 0.08, 0.50, 0.15)
    disc((64, 112, 74), 0.97, 0.52, 0.17)
    # House: chimney, gable end, roof edge, window, door.
    block((150, 66, 56), 0.73, 0.20, 0.80, 0.36)
    shape((222, 96, 66), (0.44, 0.42), (0.65, 0.22), (0.86, 0.42), (0.86, 0.75), (0.44, 0.75))
    shape((58, 48, 66), (0.38, 0.435), (0.65, 0.165), (0.92, 0.435), (0.85, 0.435), (0.65, 0.235),
          (0.45, 0.435))  # fmt: skip
    block((255, 226, 154), 0.515, 0.475, 0.625, 0.60)
    block((96, 44, 52), 0.70, 0.535, 0.79, 0.75)
    # Road towards the sun, with its middle line.
    shape((76, 74, 92), (0.285, 0.62), (0.335, 0.62), (0.61, 1), (-0.03, 1))
    for y0, y1 in ((0.66, 0.71), (0.76, 0.84), (0.91, 1.0)):
        x0, x1 = (0.31 - 0.02 * (v - 0.62) / 0.38 for v in (y0, y1))
        w0, w1 = (0.003 + 0.022 * (v - 0.62) / 0.38 for v in (y0, y1))
        shape((244, 232, 206), (x0 - w0, y0), (x0 + w0, y0), (x1 + w1, y1), (x1 - w1, y1))
    return image


# Arrays


def _ease(start: float, end: float, x: np.ndarray | float) -> np.ndarray:
    """0 before `start`, 1 after `end`, smooth between."""
    t = np.clip((np.asarray(x) - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def _pool(image: np.ndarray, side: int) -> np.ndarray:
    """Means of squares: float [H / side, W / side, C]."""
    height, width, channels = image.shape
    return image.reshape(height // side, side, width // side, side, channels).mean((1, 3))


def _spread(values: np.ndarray, side: int) -> np.ndarray:
    """Every value as a square of this side: [H * side, W * side, C], C = 1 for a plain map."""
    values = values.reshape(*values.shape[:2], -1)
    return values.repeat(side, 0).repeat(side, 1)


def _blur(image: np.ndarray, radius: int) -> np.ndarray:
    """Three box means one after another, edges repeated."""
    for _ in range(3):
        for axis in (0, 1):
            pad = [(0, 0)] * image.ndim
            pad[axis] = (radius + 1, radius)
            sums = np.cumsum(np.pad(image, pad, mode="edge"), axis)
            n, k = image.shape[axis], 2 * radius + 1
            image = (sums.take(range(k, k + n), axis) - sums.take(range(n), axis)) / k
    return image


def _to_image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
