"""Trees, shrubs and hedges."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .canvas import VEGETATION, Camera, Canvas, Color, lit, mix
from .mood import Mood

Sprite = tuple[Image.Image, Image.Image]


LEAVES = {
    "spring": ((112, 158, 62), (136, 172, 74), (96, 146, 70), (226, 164, 182), (238, 214, 220)),
    "summer": ((72, 122, 54), (88, 134, 58), (62, 108, 58), (104, 138, 60), (80, 120, 72)),
    "autumn": ((204, 132, 44), (190, 86, 40), (222, 172, 60), (140, 124, 52), (168, 66, 44)),
}
TREE_KINDS = ("round", "round", "wide", "tall", "cone")


def make_crown(rng: np.random.Generator, kind: str, sun_x: float, sun_y: float) -> Sprite:
    """A leafy crown: tone (L) and mask (L), both 200 x 200.

    sun_x, sun_y: unit direction of the light on the picture plane (x right, y up).
    """
    size = 200
    leaves = 850
    if kind == "cone":
        # Boughs from the bottom up, each ring narrower.
        t = np.sort(rng.random(leaves))
        reach = (1 - t) * 0.46 * (0.55 + 0.45 * ((t * 7) % 1.0 < 0.55))
        x = 0.5 + rng.uniform(-1, 1, leaves) * (reach + 0.015)
        y = 0.97 - t * 0.92 + rng.uniform(-0.03, 0.03, leaves)
        tone = 0.5 + 0.9 * (x - 0.5) * sun_x - 0.30 * ((t * 7) % 1.0 - 0.5)
        radius = rng.uniform(2.4, 5.2, leaves)
    else:
        blobs = {"round": 12, "wide": 14, "tall": 10, "bush": 9}[kind]
        wide = {"round": 0.30, "wide": 0.36, "tall": 0.27, "bush": 0.34}[kind]
        a = rng.uniform(0, 2 * math.pi, blobs)
        r = np.sqrt(rng.random(blobs)) * wide
        bx, by = 0.5 + r * np.cos(a), 0.5 + r * np.sin(a) * 0.98
        br = rng.uniform(0.11, 0.185, blobs)
        order = np.argsort(-by * 0.7 + rng.uniform(-0.3, 0.3, blobs))  # low and far ones first
        which = np.repeat(order, math.ceil(leaves / blobs))[:leaves]
        a = rng.uniform(0, 2 * math.pi, leaves)
        r = rng.random(leaves) ** 0.55
        ox, oy = r * np.cos(a), r * np.sin(a)
        x, y = bx[which] + ox * br[which], by[which] + oy * br[which]
        local = ox * sun_x - oy * sun_y
        whole = ((x - 0.5) * sun_x - (y - 0.5) * sun_y) / 0.42
        tone = 0.47 + 0.20 * local + 0.22 * whole + 0.06 * -oy
        radius = rng.uniform(2.0, 4.8, leaves)
    tone = np.clip(tone + rng.normal(0, 0.075, leaves), 0.03, 1.0)
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    squash = rng.uniform(0.6, 1.0, leaves)
    for px, py, pr, ps, pt in zip(
        (x * size).tolist(),
        (y * size).tolist(),
        radius.tolist(),
        squash.tolist(),
        tone.tolist(),
        strict=True,
    ):
        box = [px - pr, py - pr * ps, px + pr, py + pr * ps]
        draw.ellipse(box, fill=10 + int(pt * 245))
    mask = image.point([0] + [255] * 255)
    # Close pinholes between leaves with deep shade; only real gaps stay open.
    dense = mask.filter(ImageFilter.BoxBlur(4)).point([0] * 150 + [255] * 106)
    closed = ImageChops.lighter(mask, dense)
    image = Image.composite(image, Image.new("L", (size, size), 48), mask)
    mask = closed
    # Outside the mask a middle tone, so that resizing does not darken the rim.
    filled = Image.composite(image, Image.new("L", (size, size), 110), mask)
    box = mask.getbbox()
    return filled.crop(box), mask.crop(box)


def leaf_ramp(mood: Mood, hue: Color) -> np.ndarray:
    """Colors from deep shade to full sun for leaves of color `hue`: float [256, 3]."""
    shade = lit(mix(hue, (20, 40, 40), 0.35), mood.ambient, 0.42)
    middle = lit(hue, mood.light(0, 0.4, -0.3), 0.85)
    warm = mix(hue, (250, 236, 130), 0.30)
    bright = tuple(
        c * (a * 1.05 + s * 0.85) for c, a, s in zip(warm, mood.ambient, mood.sun, strict=True)
    )
    t = np.linspace(0, 1, 256)
    stops = np.array([shade, middle, bright])
    ramp = np.stack([np.interp(t, (0.0, 0.5, 1.0), stops[:, c]) for c in range(3)], -1)
    return np.clip(ramp, 0, 255)


def draw_tree(
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    sprite: Sprite,
    kind: str,
    ramp: np.ndarray,
    x: float,
    y: float,
    z: float,
    tall: float,
    wide: float,
    bark: Color,
) -> None:
    """Paint a tree `tall` metres high with a crown `wide` metres across."""
    span = cam.span(z)
    light = mood.light(-0.5 if mood.sun_dir[0] < 0 else 0.5, 0.2, -0.8)
    clear = {"cone": 0.10, "tall": 0.16, "bush": 0.0}.get(kind, 0.34)  # bare part of the trunk
    foot, fork = cam.point(x, y, z), cam.point(x, y + tall * (clear + 0.12), z)
    girth = max(0.16, 0.045 * tall) * span
    tone = lit(bark, light)
    if kind != "bush":
        canvas.limb(foot, fork, girth * 1.25, girth * 0.8, tone, z, VEGETATION)
        for lean, up, w in ((-0.20, 0.30, 0.45), (0.22, 0.34, 0.42), (0.04, 0.42, 0.5)):
            tip = cam.point(x + lean * wide, y + tall * (clear + up), z)
            canvas.limb(fork, tip, girth * w * 1.4, girth * 0.2, tone, z, VEGETATION)
        dark = mood.sun_dir[0] < 0
        edge = girth * 0.6 * (1 if dark else -1)
        canvas.touch(
            [
                (foot[0], foot[1]),
                (foot[0] + edge, foot[1]),
                (fork[0] + edge * 0.66, fork[1]),
                (fork[0], fork[1]),
            ],
            lit(bark, light, 0.72),
            z,
        )
    crown = tall * (1 - clear)
    centre = cam.point(x, y + tall * clear + crown / 2, z)
    canvas.stamp(*sprite, centre, (wide * span, crown * span), ramp, z, VEGETATION)


def draw_hedge(
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    side: int,
    x: float,
    y: float,
    z0: float,
    z1: float,
    tall: float,
    hue: Color,
    seed: int,
) -> None:
    """Paint a trimmed hedge along the street; `x` is its street side's distance."""
    rng = np.random.default_rng(seed)
    deep = 0.7
    xs, xo = side * x, side * (x + deep)
    faces = (
        (
            [
                cam.point(xs, y + tall, z0),
                cam.point(xs, y + tall, z1),
                cam.point(xo, y + tall, z1),
                cam.point(xo, y + tall, z0),
            ],
            mood.light(0, 1, 0),
        ),
        (cam.side(xs, y, y + tall, z0, z1), mood.light(-side, 0.2, 0)),
        (cam.upright(xs, xo, y, y + tall, z0), mood.light(0, 0.2, -1)),
    )
    for quad, light in faces:
        canvas.fill(quad, lit(hue, light, 0.72), (z0 + z1) / 2, VEGETATION)
    if not canvas.seen(faces[1][0]):
        return
    count = 170
    where = rng.random((count, 3)).tolist()
    for a, b, k in where:
        # More leaves near the camera, where they are seen.
        z = z0 + (z1 - z0) * a * a
        r = 0.085 * cam.span(z)
        if r < 1.2:
            continue
        which = int(k * 997) % 5
        if which == 4:
            p, light = cam.point(xs + side * deep * b, y + tall, z), faces[0][1]
        elif which == 3:
            p, light = cam.point(xs + side * deep * b, y + tall * (0.1 + 0.9 * a), z0), faces[2][1]
            r = 0.085 * cam.span(z0)
        else:
            p, light = cam.point(xs, y + tall * (0.1 + 0.9 * b), z), faces[1][1]
        tone = lit(mix(hue, (236, 236, 130), 0.14 * k), light, 0.58 + 0.5 * k)
        rim = b > 0.9 or which == 4
        if rim:
            canvas.disc(p, r, r * 0.8, tone, z, VEGETATION)
        else:
            canvas.dot(p, r, r * 0.8, tone, z)
