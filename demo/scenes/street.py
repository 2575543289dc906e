"""What stands along the street: fences, walls, lamps, signals and signs."""

from __future__ import annotations

import math

import numpy as np

from .canvas import (
    FENCE,
    POLE,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    WALL,
    Camera,
    Canvas,
    Color,
    Point,
    lit,
    mix,
)
from .mood import Mood


def draw_fence(
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    side: int,
    x: float,
    y: float,
    z0: float,
    z1: float,
    tall: float,
    paint: Color,
) -> None:
    """Paint a board fence along the street, boards with pointed tops."""
    xs = side * x
    light = mood.light(-side, 0.1, 0)
    wide = 0.17
    z = z1
    while z > z0 + wide:
        # Far boards merge: draw them as whole panels.
        step = 1 if cam.span(z) * wide > canvas.scale else 4
        a = max(z0, z - wide * step)
        k = 0.94 + 0.06 * math.sin(z * 17.0)
        points = [
            cam.point(xs, y, a),
            cam.point(xs, y, z),
            cam.point(xs, y + tall, z),
            cam.point(xs, y + tall + 0.1, (a + z) / 2),
            cam.point(xs, y + tall, a),
        ]
        canvas.fill(points, lit(paint, light, k), z, FENCE)
        if step == 1:
            gap = cam.side(xs, y + 0.05, y + tall, z - 0.035, z)
            canvas.touch(gap, lit(paint, light, 0.58), z)
        z = a
    for h in (0.25, 0.75):
        rail = cam.side(xs, y + tall * h, y + tall * h + 0.06, z0, z1)
        canvas.touch(rail, lit(paint, light, 0.82), (z0 + z1) / 2)
    post = cam.upright(xs - 0.07, xs + 0.07, y, y + tall + 0.12, z0)
    canvas.fill(post, lit(paint, mood.light(0, 0.1, -1)), z0, FENCE)


def draw_wall(
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    side: int,
    x: float,
    y: float,
    z0: float,
    z1: float,
    tall: float,
    paint: Color,
    seed: int,
) -> None:
    """Paint a low stone wall with a coping along the street."""
    rng = np.random.default_rng(seed)
    xs, xo = side * x, side * (x + 0.32)
    face, end = mood.light(-side, 0.1, 0), mood.light(0, 0.1, -1)
    top = [
        cam.point(xs, y + tall, z0),
        cam.point(xs, y + tall, z1),
        cam.point(xo, y + tall, z1),
        cam.point(xo, y + tall, z0),
    ]
    canvas.fill(top, lit(mix(paint, (255, 255, 255), 0.15), mood.light(0, 1, 0)), z0, WALL)
    parts = 4
    for i in range(parts):
        za, zb = z0 + (z1 - z0) * i / parts, z0 + (z1 - z0) * (i + 1) / parts
        canvas.fill(cam.side(xs, y, y + tall, za, zb), lit(paint, face), (za + zb) / 2, WALL)
    for a, b, k in rng.random((60, 3)).tolist():
        z = z0 + (z1 - z0 - 0.5) * a * a
        if cam.span(z) * 0.2 > 1.3 * canvas.scale:
            h = int(b * tall / 0.2) * 0.2
            stone = cam.side(xs, y + h, min(y + tall, y + h + 0.19), z, z + 0.42)
            canvas.touch(stone, lit(paint, face, 0.82 + 0.34 * k), z)
    canvas.fill(cam.upright(xs, xo, y, y + tall, z0), lit(paint, end), z0, WALL)
    cap = mix(paint, (240, 236, 226), 0.4)
    canvas.fill(cam.side(xs, y + tall - 0.02, y + tall + 0.1, z0, z1), lit(cap, face), z0, WALL)
    canvas.fill(
        cam.upright(xs - side * 0.04, xo, y + tall - 0.02, y + tall + 0.1, z0),
        lit(cap, end),
        z0,
        WALL,
    )


def draw_lamp(
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    side: int,
    x: float,
    z: float,
    kind: str,
    tall: float,
    paint: Color,
    y: float,
) -> None:
    """Paint a street lamp: "arm" reaches over the road, "lantern" stands on its post."""
    span, light = cam.span(z), mood.light(-0.3, 0.1, -0.8)
    tone = lit(paint, light)
    foot, top = cam.point(x, y, z), cam.point(x, y + tall, z)
    on = mood.dark or (mood.weather == "fog" and mood.hour == "dawn")
    warm = (255, 216, 150) if kind == "lantern" else (255, 226, 176)
    glow = 255 if on else 0
    canvas.limb(
        foot, cam.point(x, y + 0.7, z), 0.22 * span, 0.18 * span, lit(tone, (0.9,) * 3), z, POLE
    )
    canvas.limb(foot, top, 0.13 * span, 0.09 * span, tone, z, POLE)
    if kind == "arm":
        reach = -side * 1.7
        bend = [
            cam.point(x, y + tall - 0.02, z),
            cam.point(x + reach * 0.35, y + tall + 0.38, z),
            cam.point(x + reach, y + tall + 0.5, z),
        ]
        canvas.limb(bend[0], bend[1], 0.09 * span, 0.08 * span, tone, z, POLE)
        canvas.limb(bend[1], bend[2], 0.08 * span, 0.07 * span, tone, z, POLE)
        hx, hy = x + reach * 1.12, y + tall + 0.46
        head = [
            cam.point(hx - 0.38, hy, z),
            cam.point(hx + 0.38, hy, z),
            cam.point(hx + 0.26, hy + 0.15, z),
            cam.point(hx - 0.26, hy + 0.15, z),
        ]
        canvas.fill(head, tone, z, POLE)
        lens = [
            cam.point(hx - 0.3, hy - 0.05, z),
            cam.point(hx + 0.3, hy - 0.05, z),
            cam.point(hx + 0.34, hy + 0.03, z),
            cam.point(hx - 0.34, hy + 0.03, z),
        ]
        canvas.fill(lens, warm if on else lit((226, 226, 216), light), z, POLE, glow)
    else:
        hx, hy = x, y + tall + 0.3
        body = [
            cam.point(x - 0.14, y + tall, z),
            cam.point(x + 0.14, y + tall, z),
            cam.point(x + 0.24, y + tall + 0.5, z),
            cam.point(x - 0.24, y + tall + 0.5, z),
        ]
        canvas.fill(body, warm if on else lit((222, 222, 206), light), z, POLE, glow)
        roof = [
            cam.point(x - 0.3, y + tall + 0.48, z),
            cam.point(x + 0.3, y + tall + 0.48, z),
            cam.point(x + 0.06, y + tall + 0.72, z),
            cam.point(x - 0.06, y + tall + 0.72, z),
        ]
        canvas.fill(roof, tone, z, POLE)
        canvas.fill(
            cam.upright(x - 0.17, x + 0.17, y + tall - 0.08, y + tall + 0.02, z), tone, z, POLE
        )
    if on:
        canvas.lamp(hx, hy, z, 5.2 if kind == "arm" else 3.8, 1.5, (255, 196, 122))


def draw_signal(
    canvas: Canvas, cam: Camera, mood: Mood, x: float, z: float, state: str, reach: float, y: float
) -> None:
    """Paint a traffic light; with `reach` a second head hangs over the road."""
    span, light = cam.span(z), mood.light(0, 0.1, -1)
    tone = lit((74, 78, 80), light)
    tall = 3.1 if not reach else 5.3
    canvas.limb(
        cam.point(x, y, z), cam.point(x, y + tall, z), 0.15 * span, 0.13 * span, tone, z, POLE
    )
    heads = [(x, y + 2.35)]
    if reach:
        canvas.limb(
            cam.point(x, y + tall - 0.1, z),
            cam.point(x + reach, y + tall, z),
            0.12 * span,
            0.09 * span,
            tone,
            z,
            POLE,
        )
        heads.append((x + reach, y + tall - 0.55))
    for hx, hy in heads:
        box = cam.upright(hx - 0.2, hx + 0.2, hy - 0.1, hy + 1.0, z)
        canvas.fill(box, lit((30, 32, 34), light), z, TRAFFIC_LIGHT)
        for i, (name, rgb) in enumerate(
            (("green", (60, 255, 150)), ("amber", (255, 190, 40)), ("red", (255, 52, 40)))
        ):
            centre = cam.point(hx, hy + 0.1 + 0.35 * i, z)
            on = name == state
            dim = lit(rgb, (0.24,) * 3)
            canvas.glow_disc(
                centre,
                max(1.0, 0.13 * span),
                rgb if on else dim,
                z,
                TRAFFIC_LIGHT,
                220 if on else 0,
            )


def draw_sign(
    canvas: Canvas, cam: Camera, mood: Mood, x: float, z: float, kind: str, y: float, tall: float
) -> None:
    """Paint a traffic sign on its post: "stop", "yield", "limit", "blue", "park", "warn"."""
    span, light = cam.span(z), mood.light(0, 0.1, -1)
    canvas.limb(
        cam.point(x, y, z),
        cam.point(x, y + tall, z),
        0.07 * span,
        0.07 * span,
        lit((150, 152, 156), light),
        z,
        POLE,
    )
    cx, cy, r = x, y + tall, 0.36

    def ring(k: float, sides: int, turn: float) -> list[Point]:
        return [
            cam.point(
                cx + r * k * math.cos(turn + 2 * math.pi * i / sides),
                cy + r * k * math.sin(turn + 2 * math.pi * i / sides),
                z,
            )
            for i in range(sides)
        ]

    white, red, blue = (lit(c, light) for c in ((240, 240, 236), (204, 32, 36), (34, 88, 176)))
    if kind == "stop":
        canvas.fill(ring(1.08, 8, math.pi / 8), white, z, TRAFFIC_SIGN)
        canvas.fill(ring(0.98, 8, math.pi / 8), red, z, TRAFFIC_SIGN)
        for a in (-0.19, -0.06, 0.07):
            canvas.touch(cam.upright(cx + a, cx + a + 0.09, cy - 0.08, cy + 0.08, z), white, z)
    elif kind in ("yield", "warn"):
        turn = -math.pi / 2 if kind == "yield" else math.pi / 2
        canvas.fill(ring(1.2, 3, turn), red, z, TRAFFIC_SIGN)
        canvas.fill(ring(0.72, 3, turn), white, z, TRAFFIC_SIGN)
        if kind == "warn":
            canvas.touch(
                cam.upright(cx - 0.03, cx + 0.03, cy - 0.08, cy + 0.14, z), (30, 30, 30), z
            )
    elif kind == "limit":
        canvas.fill(ring(1.0, 18, 0), red, z, TRAFFIC_SIGN)
        canvas.fill(ring(0.74, 18, 0), white, z, TRAFFIC_SIGN)
        for a in (-0.16, 0.03):
            canvas.touch(
                cam.upright(cx + a, cx + a + 0.12, cy - 0.13, cy + 0.13, z), (30, 30, 30), z
            )
    elif kind == "blue":
        canvas.fill(ring(1.0, 18, 0), white, z, TRAFFIC_SIGN)
        canvas.fill(ring(0.92, 18, 0), blue, z, TRAFFIC_SIGN)
        arrow = [
            (-0.06, -0.2),
            (0.06, -0.2),
            (0.06, 0.04),
            (0.16, 0.04),
            (0, 0.22),
            (-0.16, 0.04),
            (-0.06, 0.04),
        ]
        canvas.touch([cam.point(cx + a, cy + b, z) for a, b in arrow], white, z)
    else:
        canvas.fill(
            cam.upright(cx - 0.34, cx + 0.34, cy - 0.36, cy + 0.36, z), white, z, TRAFFIC_SIGN
        )
        canvas.fill(
            cam.upright(cx - 0.31, cx + 0.31, cy - 0.33, cy + 0.33, z), blue, z, TRAFFIC_SIGN
        )
        for a, b, c, d in (
            (-0.12, -0.04, -0.22, 0.22),
            (-0.04, 0.12, 0.14, 0.22),
            (0.06, 0.14, 0.02, 0.2),
            (-0.04, 0.12, -0.02, 0.06),
        ):
            x0, x1 = (cx - b, cx - a) if canvas.mirrored else (cx + a, cx + b)
            canvas.touch(cam.upright(x0, x1, cy + c, cy + d, z), white, z)
