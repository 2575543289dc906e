"""Far towers, roofs and trees that close the street."""

from __future__ import annotations

import math

import numpy as np

from .canvas import BUILDING, VEGETATION, Camera, Canvas, lit, mix
from .ground import END, Street
from .mood import Mood
from .plants import LEAVES


def paint_skyline(
    canvas: Canvas, cam: Camera, mood: Mood, street: Street, rng: np.random.Generator
) -> None:
    """Far towers and a belt of roofs and trees, which close the street."""
    light = mood.light(0, 0.1, -1)
    towers = street.kind in ("centre", "avenue") or rng.random() < 0.4
    lo = cam.eye_x + (0 - cam.centre_x) / cam.focal * 420
    hi = cam.eye_x + (canvas.right - cam.centre_x) / cam.focal * 420
    if towers:
        x = lo
        while x < hi:
            w = float(rng.uniform(12, 34))
            peak = math.exp(-(((x - cam.eye_x) / 130) ** 2))
            tall = float(rng.uniform(10, 30)) + 70 * peak * float(rng.random()) ** 2
            tone = mix((120, 124, 134), (170, 160, 150), float(rng.random()))
            canvas.fill(cam.upright(x, x + w, 0, tall, 420), lit(tone, light), 330, BUILDING)
            if rng.random() < 0.3:
                top = cam.upright(x + w * 0.3, x + w * 0.6, tall, tall * 1.2, 420)
                canvas.fill(top, lit(tone, light), 330, BUILDING)
            step = 4.0
            share = 0.35 * mood.lit_share
            for i, k in enumerate(rng.random(int(w * tall / 22)).tolist()) if share else ():
                if k < share:
                    a, b = x + (i * step) % (w - 2) + 1, (i * step) // (w - 2) * 4 + 3
                    if b < tall - 3:
                        canvas.touch(cam.upright(a, a + 1.5, b, b + 2, 420), (250, 206, 140), 120)
            x += w + float(rng.uniform(-4, 16))
    hue = LEAVES[mood.season][0] if mood.season != "spring" else (96, 146, 70)
    x, stop = lo / 420 * (END + 8) - 10, hi / 420 * (END + 8) + 10
    while x < stop:
        if rng.random() < 0.45:
            w, tall = float(rng.uniform(8, 18)), float(rng.uniform(4, 11))
            tone = mix((196, 176, 150), (150, 110, 96), float(rng.random()))
            canvas.fill(cam.upright(x, x + w, 0, tall, END + 6), lit(tone, light), END, BUILDING)
            roof = [
                cam.point(x - 0.5, tall, END + 6),
                cam.point(x + w + 0.5, tall, END + 6),
                cam.point(x + w * 0.75, tall + 3, END + 6),
                cam.point(x + w * 0.25, tall + 3, END + 6),
            ]
            canvas.fill(roof, lit((120, 84, 74), light), END, BUILDING)
        else:
            w, tall = float(rng.uniform(7, 16)), float(rng.uniform(4, 9))
            for _ in range(6):
                dx, dy = rng.uniform(-0.4, 0.4, 2)
                r = tall * float(rng.uniform(0.3, 0.5))
                centre = cam.point(x + w / 2 + dx * w, tall * 0.55 + dy * tall * 0.5, END + 5)
                tone = lit(mix(hue, (40, 60, 40), 0.4 * float(rng.random())), light, 0.8)
                s = cam.span(END + 5)
                canvas.disc(centre, r * s * 1.2, r * s, tone, END, VEGETATION)
            base = cam.upright(x, x + w, 0, tall * 0.5, END + 5)
            canvas.fill(base, lit(mix(hue, (40, 60, 40), 0.3), light, 0.7), END, VEGETATION)
        x += w * float(rng.uniform(0.6, 0.95))
