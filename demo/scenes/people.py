"""People: walking along or across the street, standing, with bags and umbrellas."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .canvas import PERSON, Camera, Canvas, Color, Point, lit, mix
from .mood import Mood

_SKINS = ((244, 208, 180), (226, 180, 146), (198, 146, 110), (150, 102, 74), (104, 70, 52))
_HAIRS = ((34, 28, 26), (70, 48, 34), (120, 80, 46), (196, 160, 98), (150, 150, 150), (132, 58, 36))
_TOPS = (
    (186, 52, 48),
    (228, 150, 52),
    (236, 208, 96),
    (84, 128, 84),
    (52, 96, 148),
    (42, 58, 92),
    (112, 76, 130),
    (226, 222, 212),
    (60, 62, 68),
    (148, 110, 80),
    (214, 128, 142),
    (96, 158, 166),
)
_LEGS = ((44, 56, 86), (34, 36, 42), (92, 84, 74), (150, 136, 112), (66, 74, 66), (96, 110, 138))


def draw_person(
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    x: float,
    y: float,
    z: float,
    across: int,
    seed: int,
) -> None:
    """Paint one person whose feet are at (x, y, z).

    across: -1 or 1 for somebody walking left or right, 0 for somebody walking along the
    street or standing.
    """
    rng = np.random.default_rng(seed)
    tall = float(rng.uniform(1.58, 1.88))
    if rng.random() < 0.1:
        tall = float(rng.uniform(1.05, 1.35))
    build = float(rng.uniform(0.9, 1.12))
    skin = _SKINS[int(rng.integers(len(_SKINS)))]
    hair = _HAIRS[int(rng.integers(len(_HAIRS)))]
    top = mix(_TOPS[int(rng.integers(len(_TOPS)))], tuple(rng.uniform(0, 255, 3)), 0.08)
    legs = _LEGS[int(rng.integers(len(_LEGS)))]
    outfit = ("trousers", "trousers", "coat", "skirt", "shorts")[int(rng.integers(5))]
    if outfit == "shorts" and (mood.season == "autumn" or mood.weather in ("rain", "fog")):
        outfit = "coat"
    phase = float(rng.uniform(-1, 1))
    long_hair, bag = bool(rng.random() < 0.42), float(rng.random())
    back = bool(rng.random() < 0.5)
    umbrella = mood.weather == "rain" and rng.random() < 0.65
    light = mood.light(0.0, 0.2, -1)
    sun_left = mood.sun_dir[0] < 0
    k = tall / 1.75  # the figure below is drawn for 1.75 m
    span = cam.span(z)
    unit = span * k

    def at(a: float, b: float) -> Point:
        px, py = cam.point(x, y, z)
        return (px + a * unit, py - b * unit)

    def fill(points: list[tuple[float, float]], rgb: Color) -> None:
        canvas.fill([at(a, b) for a, b in points], lit(rgb, light), z, PERSON)

    def limb(points: list[tuple[float, float]], w0: float, w1: float, rgb: Color) -> None:
        steps = len(points) - 1
        for i in range(steps):
            a = w0 + (w1 - w0) * i / steps
            b = w0 + (w1 - w0) * (i + 1) / steps
            canvas.limb(
                at(*points[i]), at(*points[i + 1]), a * unit, b * unit, lit(rgb, light), z, PERSON
            )

    d = float(across)
    bare = outfit in ("skirt", "shorts")
    leg = skin if bare else legs
    shoe = mix(legs, (26, 24, 24), 0.75)
    # Legs: (hip, knee, ankle) for the far one and the near one.
    if across:
        spread = 0.20 + 0.10 * abs(phase)
        for sign, dim in ((-1, 0.78), (1, 1.0)):
            foot = sign * spread * d * (1 if phase > 0 else -1)
            knee = foot * 0.42 + 0.05 * d
            lift = 0.05 if foot * d < 0 else 0.0
            limb(
                [(0, 0.88), (knee, 0.47), (foot, 0.07 + lift)],
                0.16 * build,
                0.09,
                lit(leg, (dim,) * 3),
            )
            fill(
                [
                    (foot - 0.05 * d, lift),
                    (foot + 0.17 * d, lift),
                    (foot + 0.14 * d, 0.07 + lift),
                    (foot - 0.05 * d, 0.11 + lift),
                ],
                lit(shoe, (dim,) * 3),
            )
    else:
        lift = 0.07 * abs(phase)
        for sign in (-1, 1):
            up = lift if (sign > 0) == (phase > 0) else 0.0
            limb(
                [(sign * 0.085, 0.88), (sign * 0.095, 0.47), (sign * 0.095, 0.07 + up)],
                0.165 * build,
                0.095,
                lit(leg, (0.84 if up else 1.0,) * 3),
            )
            fill(
                [
                    (sign * 0.10 - 0.06, up),
                    (sign * 0.10 + 0.06, up),
                    (sign * 0.10 + 0.05, 0.1 + up),
                    (sign * 0.10 - 0.05, 0.1 + up),
                ],
                shoe,
            )
    wide = (0.15 if across else 0.215) * build
    if outfit == "shorts":
        fill(
            [(-wide * 0.8, 0.92), (wide * 0.8, 0.92), (wide * 0.95, 0.56), (-wide * 0.95, 0.56)],
            legs,
        )
    elif outfit == "skirt":
        fill(
            [(-wide * 0.75, 0.95), (wide * 0.75, 0.95), (wide * 1.25, 0.50), (-wide * 1.25, 0.50)],
            legs,
        )
    swing = 0.26 * phase * d
    shoulder = 0.0 if across else wide * 0.92
    arm = lit(top, (0.82,) * 3)
    sleeve = 0.105 * build
    if across:  # the far arm
        limb([(0, 1.36), (-swing * 0.6, 1.10), (-swing + 0.05 * d, 0.88)], sleeve, 0.07, arm)
    hem = 0.58 if outfit == "coat" else 0.84
    flare = 1.1 if outfit == "coat" else 0.88
    fill(
        [
            (-wide * 0.55, 1.47),
            (wide * 0.55, 1.47),
            (wide, 1.40),
            (wide * 0.9, 1.05),
            (wide * flare, hem),
            (-wide * flare, hem),
            (-wide * 0.9, 1.05),
            (-wide, 1.40),
        ],
        top,
    )
    # The side away from the sun.
    s = 1 if sun_left else -1
    dim = lit(top, (0.84,) * 3)
    fill(
        [
            (s * wide * 0.35, 1.45),
            (s * wide * 0.97, 1.39),
            (s * wide * 0.9, 1.05),
            (s * wide * flare * 0.98, hem),
            (s * wide * 0.45, hem),
        ],
        dim,
    )
    if outfit != "coat":
        fill(
            [
                (-wide * 0.9, hem + 0.05),
                (wide * 0.9, hem + 0.05),
                (wide * 0.9, hem),
                (-wide * 0.9, hem),
            ],
            mix(legs, (20, 20, 20), 0.4),
        )
    elif not back and not across:
        fill([(-0.012, 1.42), (0.012, 1.42), (0.012, hem), (-0.012, hem)], lit(top, (0.7,) * 3))
    if bag > 0.62:
        tone = _TOPS[int(bag * 97) % len(_TOPS)]
        if across:
            fill([(-d * 0.10, 1.42), (-d * 0.30, 1.36), (-d * 0.30, 1.0), (-d * 0.10, 0.96)], tone)
        elif back:
            fill([(-0.15, 1.42), (0.15, 1.42), (0.17, 1.02), (-0.17, 1.02)], tone)
            fill([(-0.10, 1.2), (0.10, 1.2), (0.10, 1.05), (-0.10, 1.05)], lit(tone, (0.8,) * 3))
        else:
            fill(
                [(wide + 0.01, 0.92), (wide + 0.20, 0.92), (wide + 0.21, 0.62), (wide, 0.62)], tone
            )
    hand: Point
    if across:
        limb(
            [(0, 1.38), (swing * 0.55, 1.10), (swing + 0.07 * d, 0.88)],
            sleeve,
            0.075,
            lit(top, (0.93,) * 3),
        )
        hand = (swing + 0.07 * d, 0.86)
    else:
        for sign in (-1, 1):
            limb(
                [
                    (sign * shoulder, 1.38),
                    (sign * (shoulder + 0.06), 1.10),
                    (sign * (shoulder + 0.05), 0.86),
                ],
                sleeve,
                0.075,
                arm if sign == s else lit(top, (0.94,) * 3),
            )
        hand = (shoulder + 0.05, 0.84)
    tone = lit(skin, light)
    canvas.disc(at(*hand), 0.045 * unit, 0.05 * unit, tone, z, PERSON)
    # Head: neck, face, hair.
    limb([(0, 1.44), (0.01 * d, 1.56)], 0.11, 0.10, lit(skin, (0.86,) * 3))
    head = (0.02 * d, 1.635)
    if long_hair:
        canvas.disc(
            at(head[0] - 0.03 * d, 1.60), 0.112 * unit, 0.155 * unit, lit(hair, light), z, PERSON
        )
    canvas.disc(at(*head), 0.088 * unit, 0.115 * unit, tone, z, PERSON)
    if back and not across:
        canvas.disc(at(0, 1.65), 0.092 * unit, 0.112 * unit, lit(hair, light), z, PERSON)
    else:
        shift = -0.03 * d
        canvas.disc(
            at(head[0] + shift, 1.695), 0.092 * unit, 0.068 * unit, lit(hair, light), z, PERSON
        )
        if across:
            canvas.disc(
                at(head[0] - 0.06 * d, 1.66), 0.05 * unit, 0.085 * unit, lit(hair, light), z, PERSON
            )
    if umbrella:
        _umbrella(canvas, at, unit, z, rng, light)


def _umbrella(
    canvas: Canvas,
    at: Callable[[float, float], Point],
    unit: float,
    z: float,
    rng: np.random.Generator,
    light: Color,
) -> None:
    tone = _TOPS[int(rng.integers(len(_TOPS)))]
    canvas.limb(at(0.16, 1.0), at(0.10, 2.05), 0.03 * unit, 0.03 * unit, (40, 40, 44), z, PERSON)
    ribs = 6
    for i in range(ribs):
        a0, a1 = math.pi * i / ribs, math.pi * (i + 1) / ribs
        points = [
            at(0.10, 2.14),
            at(0.10 - 0.56 * math.cos(a0), 1.80 + 0.32 * math.sin(a0)),
            at(0.10 - 0.56 * math.cos((a0 + a1) / 2), 1.78 + 0.30 * math.sin((a0 + a1) / 2)),
            at(0.10 - 0.56 * math.cos(a1), 1.80 + 0.32 * math.sin(a1)),
            at(0.10, 1.80),
        ]
        canvas.fill(points, lit(tone, light, 0.86 + 0.09 * ((i * 2) % 5) / 2), z, PERSON)
