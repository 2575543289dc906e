"""Cars."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import CAR, Camera, Canvas, Color, Point, lit, mix
from .mood import Mood


@dataclass(frozen=True)
class _Shape:
    """Side view of a car in metres, rear at 0: cabin base, roof, screen base, whole length."""

    length: float
    half: float
    sill: float
    belt: float
    roof: float
    c0: float
    c1: float
    c2: float
    c3: float
    tail: float  # height of the deck behind the cabin
    nose: float  # height of the bonnet's front edge


_SHAPES = {
    "sedan": _Shape(4.6, 0.90, 0.30, 0.95, 1.44, 0.55, 1.35, 2.65, 3.45, 0.98, 0.80),
    "hatch": _Shape(4.0, 0.88, 0.30, 0.95, 1.48, 0.10, 0.62, 2.35, 3.10, 0.95, 0.80),
    "wagon": _Shape(4.7, 0.91, 0.30, 0.95, 1.47, 0.10, 0.50, 2.75, 3.50, 0.95, 0.80),
    "suv": _Shape(4.5, 0.94, 0.40, 1.10, 1.70, 0.08, 0.50, 2.65, 3.35, 1.10, 0.98),
    "mini": _Shape(3.5, 0.81, 0.28, 0.92, 1.50, 0.06, 0.40, 2.15, 2.85, 0.92, 0.78),
    "van": _Shape(5.0, 0.98, 0.38, 1.20, 2.15, 0.04, 0.14, 3.55, 4.40, 1.20, 1.00),
}


_KINDS = tuple(_SHAPES)


_KIND_ODDS = (0.26, 0.24, 0.12, 0.2, 0.1, 0.08)


_PAINTS = (
    (232, 232, 230),
    (186, 190, 194),
    (96, 102, 108),
    (36, 38, 44),
    (26, 28, 32),
    (176, 36, 38),
    (44, 82, 148),
    (34, 52, 92),
    (214, 168, 52),
    (66, 110, 92),
    (222, 206, 178),
    (140, 66, 40),
    (112, 168, 196),
    (208, 96, 48),
)


def _flip(s: _Shape) -> _Shape:
    """The same car seen from its nose: the near end is the front."""
    n = s.length
    return _Shape(
        n, s.half, s.sill, s.belt, s.roof, n - s.c3, n - s.c2, n - s.c1, n - s.c0, s.nose, s.tail
    )


def draw_car(
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    x: float,
    z: float,
    oncoming: bool,
    moving: bool,
    seed: int,
) -> None:
    """Paint a car whose near end is at depth `z`; `oncoming` shows its front."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(_KINDS, p=_KIND_ODDS))
    paint: Color = _PAINTS[int(rng.integers(len(_PAINTS)))]
    if kind == "van":
        paint = ((236, 236, 234), (214, 178, 70), (62, 96, 150))[int(rng.integers(3))]
    paint = mix(paint, tuple(rng.uniform(60, 200, 3)), 0.08)
    shape = _SHAPES[kind]
    s = _flip(shape) if oncoming else shape
    away = 1.0 if x > cam.eye_x else -1.0  # the flank on the other side of it shows
    end_light, top_light = mood.light(0, 0.15, -1), mood.light(0, 1, 0)
    flank_light = mood.light(-away, 0.1, 0)
    glass = mix((22, 26, 32), mood.ambient_glass, 0.16)
    gleam = mix(glass, mood.ambient_glass, 0.5)
    p, h, n = cam.point, s.half, s.length
    fine = cam.span(z) / canvas.scale > 11  # pixels per metre in the finished picture

    def fill(points: list[Point], rgb: Color, depth: float = z) -> None:
        canvas.fill(points, rgb, depth, CAR)

    touch = canvas.touch
    # Tyres at both ends and the dark under the floor.
    for dx in (-1, 1):
        a, c = x + dx * (h - 0.04), x + dx * (h - 0.27)
        fill(cam.upright(min(a, c), max(a, c), 0.0, 0.5, z + 0.5), (20, 20, 22))
    fill(cam.upright(x - h * 0.86, x + h * 0.86, 0.14, s.sill + 0.1, z + 0.2), (24, 24, 27))

    # Flank: body below the waist line, wheels, then the cabin's side.
    xs = x - away * h
    body = lit(paint, flank_light, 0.92)
    if abs(x - cam.eye_x) > h * 0.4:
        outline = [
            (0.0, s.sill),
            (0.0, s.sill + 0.25),
            (0.0, s.tail),
            (s.c0, s.belt),
            (s.c3, s.belt),
            (n - 0.06, s.nose - 0.06),
            (n, s.sill + 0.25),
            (n - 0.1, s.sill),
        ]
        fill([p(xs, y, z + a) for a, y in outline], body)
        lower = [(0.06, s.sill), (0.02, s.sill + 0.2), (n - 0.02, s.sill + 0.2), (n - 0.1, s.sill)]
        touch([p(xs, y, z + a) for a, y in lower], lit(body, (0.72,) * 3), z)
        crease = [
            (0.05, s.belt - 0.22),
            (n - 0.1, s.belt - 0.26),
            (n - 0.1, s.belt - 0.20),
            (0.05, s.belt - 0.15),
        ]
        touch([p(xs, y, z + a) for a, y in crease], lit(body, (1.14,) * 3), z)
        r = 0.33 if kind != "suv" else 0.37
        for a in (n * 0.18, n * 0.80):
            arch = wheel(cam, xs, r, z + a, r + 0.06)
            fill(arch, (16, 16, 18), z + a)
            fill(wheel(cam, xs - away * 0.01, r, z + a, r), (28, 28, 31), z + a)
            rim = lit((168, 170, 174), flank_light, 0.9)
            touch(wheel(cam, xs - away * 0.02, r, z + a, r * 0.62), rim, z + a)
            touch(wheel(cam, xs - away * 0.02, r, z + a, r * 0.2), (60, 60, 64), z + a)
        if fine:
            for a in (s.c1 + 0.15, (s.c1 + s.c2) / 2 + 0.05, s.c2 + 0.2):
                canvas.scratch(
                    [p(xs, s.sill + 0.15, z + a), p(xs, s.belt, z + a)],
                    0.015 * cam.span(z),
                    lit(body, (0.6,) * 3),
                    z,
                )
    # Decks: boot and bonnet, seen from above. Towards the flank they reach its edge.
    lw, rw = (-1.0, 0.93) if away > 0 else (-0.93, 1.0)
    fill(
        [
            p(x + lw * h, s.belt, z + s.c0),
            p(x + rw * h, s.belt, z + s.c0),
            p(x + rw * h, s.nose - 0.06, z + n - 0.06),
            p(x + lw * h, s.nose - 0.06, z + n - 0.06),
        ],
        lit(paint, top_light, 0.98),
        z + n,
    )
    fill(
        [
            p(x + lw * h, s.tail - 0.04, z),
            p(x + rw * h, s.tail - 0.04, z),
            p(x + rw * h, s.belt, z + s.c0),
            p(x + lw * h, s.belt, z + s.c0),
        ],
        lit(paint, top_light, 1.02),
    )
    # The end that faces the camera, with rounded corners.
    end = lit(paint, end_light)
    edge = [
        (-0.86, s.sill),
        (0.86, s.sill),
        (0.97, s.sill + 0.16),
        (1.0, s.belt - 0.3),
        (0.97, s.tail - 0.08),
        (0.92, s.tail),
        (-0.92, s.tail),
        (-0.97, s.tail - 0.08),
        (-1.0, s.belt - 0.3),
        (-0.97, s.sill + 0.16),
    ]
    # Square to the flank that shows, so that no gap opens between the two.
    edge = [(-away if a * away < 0 else a, y) for a, y in edge]
    fill([p(x + a * h, y, z) for a, y in edge], end)
    touch(
        cam.upright(x - h * 0.96, x + h * 0.96, s.sill + 0.12, s.sill + 0.26, z),
        lit(end, (0.86,) * 3),
        z,
    )
    touch(cam.upright(x - h * 0.84, x + h * 0.84, s.sill, s.sill + 0.1, z), (34, 34, 38), z)
    touch(
        cam.upright(x - h * 0.9, x + h * 0.9, s.tail - 0.06, s.tail - 0.02, z),
        lit(end, (1.16,) * 3),
        z,
    )
    if fine and kind != "van":
        canvas.scratch(
            [p(x - h * 0.6, s.tail - 0.32, z), p(x + h * 0.6, s.tail - 0.32, z)],
            0.02 * cam.span(z),
            lit(end, (0.78,) * 3),
            z,
        )
    # Cabin: flank, end screen, roof.
    top = 0.80 if kind != "van" else 0.93
    xb, xt = x - away * h, x - away * h * top
    if abs(x - cam.eye_x) > h * 0.4:
        side = [
            (xb, s.belt, s.c0),
            (xt, s.roof - 0.03, s.c1),
            (xt, s.roof - 0.03, s.c2),
            (xb, s.belt, s.c3),
        ]
        fill([p(a, y, z + c) for a, y, c in side], body)

        def pane(f0: float, f1: float, g0: float, g1: float) -> list[Point]:
            """Side glass between fractions of the base (f) and of the roof (g) line."""
            lo, hi = 0.12, 0.86
            corners = ((f0, lo), (g0, hi), (g1, hi), (f1, lo))
            points = []
            for f, t in corners:
                base, roof = s.c0 + (s.c3 - s.c0) * f, s.c1 + (s.c2 - s.c1) * f
                points.append(
                    p(
                        xb + (xt - xb) * t,
                        s.belt + (s.roof - s.belt) * t,
                        z + base + (roof - base) * t,
                    )
                )
            return points

        split = ((0.10, 0.36), (0.40, 0.64), (0.68, 0.93))
        if kind == "van":
            split = ((0.06, 0.24),) if oncoming else ((0.74, 0.93),)
        for a, c in split:
            touch(pane(a, c, a, c), mix(glass, gleam, 0.35), z)
    # On the flank that shows, base and roof meet the cabin's side without a gap.
    lt, rt = x - h * top, x + h * top
    low_z = s.belt if s.c0 > 0.3 else s.tail
    screen = [
        p(x + lw * h, low_z, z + s.c0),
        p(x + rw * h, low_z, z + s.c0),
        p(rt, s.roof - 0.03, z + s.c1),
        p(lt, s.roof - 0.03, z + s.c1),
    ]
    fill(screen, lit(paint, end_light, 1.04))
    if not (kind == "van" and not oncoming):
        inset = [
            _at(screen, 0.06, 0.08),
            _at(screen, 0.94, 0.08),
            _at(screen, 0.93, 0.86),
            _at(screen, 0.07, 0.86),
        ]
        touch(inset, glass, z)
        touch(
            [
                _at(screen, 0.06, 0.45),
                _at(screen, 0.94, 0.62),
                _at(screen, 0.93, 0.86),
                _at(screen, 0.07, 0.86),
            ],
            gleam,
            z,
        )
        if fine:
            for a in (0.28, 0.68):  # head rests
                seat = [
                    _at(screen, a - 0.07, 0.1),
                    _at(screen, a + 0.07, 0.1),
                    _at(screen, a + 0.06, 0.5),
                    _at(screen, a - 0.06, 0.5),
                ]
                touch(seat, lit(glass, (0.6,) * 3), z)
    else:
        touch(cam.upright(x - h * 0.8, x - h * 0.08, s.belt + 0.1, s.roof - 0.3, z + 0.1), glass, z)
        touch(cam.upright(x + h * 0.08, x + h * 0.8, s.belt + 0.1, s.roof - 0.3, z + 0.1), glass, z)
        canvas.scratch(
            [p(x, s.sill + 0.2, z), p(x, s.roof - 0.1, z)],
            0.03 * cam.span(z),
            lit(end, (0.7,) * 3),
            z,
        )
    cap = [
        p(lt, s.roof - 0.03, z + s.c1),
        p(rt, s.roof - 0.03, z + s.c1),
        p(rt, s.roof - 0.03, z + s.c2),
        p(lt, s.roof - 0.03, z + s.c2),
    ]
    fill(cap, lit(paint, top_light, 1.06))
    for dx in (-1, 1):  # mirrors, beside the windscreen
        zm = z + (s.c0 + 0.35 if oncoming else s.c3 - 0.35)
        a = x + dx * h
        if oncoming or dx != away:
            fill(
                cam.upright(
                    min(a, a + dx * 0.2), max(a, a + dx * 0.2), s.belt + 0.02, s.belt + 0.17, zm
                ),
                lit(paint, end_light, 0.7),
            )
    _car_lights(canvas, cam, mood, x, z, s, oncoming, moving, float(rng.random()), end_light)


def _car_lights(
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    x: float,
    z: float,
    s: _Shape,
    oncoming: bool,
    moving: bool,
    dice: float,
    light: Color,
) -> None:
    h, on = s.half, mood.dark or mood.weather in ("rain", "fog")
    y = s.tail - 0.26
    for dx in (-1, 1):
        a, c = x + dx * h * 0.94, x + dx * h * (0.58 if oncoming else 0.64)
        quad = cam.upright(min(a, c), max(a, c), y, y + 0.17, z)
        if oncoming:
            shine = moving and on
            tone = (255, 250, 226) if shine else lit((214, 220, 226), light)
            canvas.fill(quad, tone, z, CAR, 235 if shine else 0)
            if shine and mood.dark:
                canvas.lamp(x + dx * h * 0.8, y, z - 0.2, 2.4, 0.9, (255, 244, 214))
        else:
            shine = moving and (on or dice < 0.4)
            tone = (255, 44, 30) if shine else lit((156, 24, 24), light)
            canvas.fill(quad, tone, z, CAR, (190 if on else 60) if shine else 0)
            if shine and on:
                canvas.lamp(x + dx * h * 0.8, y, z - 0.3, 1.4, 0.5, (255, 70, 40))
    plate = cam.upright(x - 0.26, x + 0.26, s.sill + 0.28, s.sill + 0.40, z)
    canvas.touch(plate, lit((236, 234, 222), light), z)
    if oncoming:
        grille = cam.upright(x - h * 0.5, x + h * 0.5, y - 0.02, y + 0.15, z)
        canvas.touch(grille, (30, 31, 35), z)


def _at(quad: list[Point], u: float, v: float) -> Point:
    """Point in a quadrilateral given as lower left, lower right, upper right, upper left."""
    lx = quad[0][0] + (quad[1][0] - quad[0][0]) * u
    ly = quad[0][1] + (quad[1][1] - quad[0][1]) * u
    hx = quad[3][0] + (quad[2][0] - quad[3][0]) * u
    hy = quad[3][1] + (quad[2][1] - quad[3][1]) * u
    return (lx + (hx - lx) * v, ly + (hy - ly) * v)


def wheel(cam: Camera, x: float, y: float, z: float, r: float, steps: int = 14) -> list[Point]:
    """A disc in a plane along the street."""
    turn = 2 * math.pi / steps
    return [
        cam.point(x, y + r * math.sin(i * turn), z + r * math.cos(i * turn)) for i in range(steps)
    ]


def car_footprint(oncoming: bool, seed: int) -> tuple[float, float, float]:
    """Half width, length and height (metres) of the car that `draw_car` paints."""
    rng = np.random.default_rng(seed)
    s = _SHAPES[str(rng.choice(_KINDS, p=_KIND_ODDS))]
    return (s.half, s.length, s.roof)
