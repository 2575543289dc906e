"""Parts of a house front: the measures of a building, its windows, flowers and balconies."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .canvas import BUILDING, Canvas, Color, Face, lit, mix
from .mood import Mood

LAMPLIGHT = ((255, 214, 138), (255, 196, 112), (255, 228, 176), (240, 226, 190), (176, 204, 236))


@dataclass(frozen=True)
class Building:
    """One building. Lengths in metres; `x` is the distance of its street wall from the middle."""

    side: int
    x: float
    z0: float
    z1: float
    depth: float
    ground: float
    storey: float
    storeys: int
    style: str
    wall: Color
    trim: Color
    accent: Color
    roof: str
    roof_rgb: Color
    rise: float
    shop: bool
    corner: bool
    seed: int

    @property
    def eaves(self) -> float:
        """Height of the street wall."""
        return self.ground + self.storeys * self.storey + (0.5 if self.roof == "flat" else 0.15)


@dataclass
class Look:
    """Window manners of one building."""

    share: float
    tall: float
    frame: Color
    shutters: Color | None
    arched: bool
    sills: bool
    lintel: bool
    bars: int
    glass: Color
    sky: Color
    lit_share: float
    boxes: bool


def draw_window(
    canvas: Canvas,
    face: Face,
    s0: float,
    s1: float,
    y0: float,
    y1: float,
    look: Look,
    dice: list[float],
) -> None:
    z = face.z((s0 + s1) / 2)
    quad = face.quad(s0, s1, y0, y1)
    if not canvas.seen(quad):
        return
    light = face.light
    size = canvas.cam.span(z) * (y1 - y0) / canvas.scale
    bright = dice[0] < look.lit_share
    if bright:
        lamp = LAMPLIGHT[int(dice[1] * len(LAMPLIGHT))]
        low = mix(lamp, (120, 66, 26), 0.25 + 0.3 * dice[2])
        high, glow = mix(lamp, (150, 90, 40), 0.3 * dice[3]), 46
    else:
        tone = 0.75 + 0.5 * dice[2]
        low, high, glow = lit(look.glass, (tone,) * 3), lit(look.sky, (tone,) * 3), 0
    if size < 3.5:
        tone = mix(mix(low, high, 0.5), lit(look.frame, light), 0.18)
        canvas.fill(quad, tone, z, BUILDING, glow)
        return
    frame = lit(look.frame, light)
    if look.shutters and size > 5:
        w = (s1 - s0) * 0.5
        for a, c in ((s0 - w - 0.05, s0 - 0.05), (s1 + 0.05, s1 + w + 0.05)):
            canvas.touch(face.quad(a, c, y0, y1), lit(look.shutters, light), z)
            for j in range(1, 5) if size > 14 else ():
                y = y0 + (y1 - y0) * j / 5
                line = face.quad(a + 0.06, c - 0.06, y, y + 0.04)
                canvas.touch(line, lit(look.shutters, light, 0.75), z)
    canvas.touch(face.quad(s0 - 0.1, s1 + 0.1, y0 - 0.08, y1 + 0.1), frame, z)
    if look.arched:
        points = [face.at(s0 - 0.1, y1)]
        for j in range(7):
            a = math.pi * j / 6
            half = (s1 - s0) / 2 + 0.1
            points.append(face.at((s0 + s1) / 2 - half * math.cos(a), y1 + 0.38 * math.sin(a)))
        canvas.touch(points, lit(look.frame, light, 0.96), z)
    if look.lintel:
        canvas.touch(face.quad(s0 - 0.2, s1 + 0.2, y1 + 0.08, y1 + 0.3), lit(look.frame, light), z)
    canvas.fill(quad, low, z, BUILDING, glow)
    ym = y0 + (y1 - y0) * (0.45 + 0.25 * dice[3])
    slope = (y1 - y0) * 0.16
    upper = [face.at(s0, ym), face.at(s1, ym + slope), face.at(s1, y1), face.at(s0, y1)]
    canvas.touch(upper, high, z)
    if size > 7:
        if dice[1] > 0.55 and not bright:  # curtains
            cloth = lit(mix((226, 220, 208), look.frame, 0.3), light, 0.72)
            w = (s1 - s0) * (0.14 + 0.14 * dice[2])
            canvas.touch(face.quad(s0, s0 + w, y0, y1), cloth, z)
            canvas.touch(face.quad(s1 - w, s1, y0, y1), lit(cloth, (0.94,) * 3), z)
        elif dice[1] < 0.18:  # a blind, part way down
            y = y1 - (y1 - y0) * (0.2 + 0.5 * dice[2])
            blind = mix(high, (240, 226, 196), 0.5) if bright else lit((206, 200, 188), light, 0.8)
            canvas.touch(face.quad(s0, s1, y, y1), blind, z)
        bar = max(0.05, 1.0 * canvas.scale / canvas.cam.span(z) * 0.7)
        middle = (s0 + s1) / 2
        if look.bars or s1 - s0 > 1.2:
            canvas.touch(face.quad(middle - bar / 2, middle + bar / 2, y0, y1), frame, z)
        if look.bars > 1:
            y = y0 + (y1 - y0) * 0.66
            canvas.touch(face.quad(s0, s1, y - bar / 2, y + bar / 2), frame, z)
        if not bright:
            reveal = lit(low, (0.55,) * 3)
            canvas.touch(face.quad(s0, s1, y1 - 0.1, y1), reveal, z)
    if look.sills:
        sill = [
            face.at(s0 - 0.16, y0 - 0.16),
            face.at(s1 + 0.16, y0 - 0.16),
            face.at(s1 + 0.16, y0, 0.16),
            face.at(s0 - 0.16, y0, 0.16),
        ]
        canvas.touch(sill, lit(look.frame, light, 1.06), z)
        shadow = face.quad(s0 - 0.1, s1 + 0.1, y0 - 0.28, y0 - 0.16)
        canvas.touch(shadow, lit(look.frame, light, 0.55), z)
    if look.boxes and size > 8 and dice[3] > 0.4:
        _flowers(canvas, face, s0, s1, y0, dice)


def _flowers(
    canvas: Canvas, face: Face, s0: float, s1: float, y0: float, dice: list[float]
) -> None:
    bloom = ((222, 66, 92), (244, 186, 70), (226, 120, 178), (250, 246, 240))[int(dice[2] * 4)]
    z = face.z(s0)
    r = 0.11 * canvas.cam.span(z)
    count = 7
    for j in range(count * 2):
        s = s0 + (s1 - s0) * ((j * 5) % (count * 2) + 0.5) / (count * 2)
        p = face.at(s, y0 + 0.04 + 0.10 * ((j * 7) % 5) / 4, 0.2)
        tone = (64, 112, 48) if j < count else bloom
        canvas.dot(p, r, r, lit(tone, face.light), z)


def draw_balcony(
    canvas: Canvas, face: Face, s: float, wide: float, floor: float, b: Building, mood: Mood
) -> None:
    s0, s1, z = s - wide * 0.75, s + wide * 0.75, face.z(s)
    deep = 1.0 if b.style == "flats" else 0.6
    if not canvas.seen(face.quad(s0, s1, floor, floor + 1, deep)):
        return
    light = face.light
    solid = b.style == "flats"
    tone = b.accent if solid else (46, 48, 52)
    # The end that shows is the one that faces the camera, at the near end of a street wall.
    near = s0
    under = [
        face.at(s0, floor),
        face.at(s1, floor),
        face.at(s1, floor, deep),
        face.at(s0, floor, deep),
    ]
    canvas.fill(under, lit(b.trim, light, 0.55), z, BUILDING)
    end = [
        face.at(near, floor),
        face.at(near, floor, deep),
        face.at(near, floor + 1.0, deep),
        face.at(near, floor + 1.0),
    ]
    front = face.quad(s0, s1, floor, floor + 1.0, deep)
    if solid:
        facing = mood.light(0, 0, -1) if face.dz else light
        canvas.fill(end, lit(tone, facing, 0.9), z, BUILDING)
        canvas.fill(front, lit(tone, light), z, BUILDING)
        canvas.touch(
            face.quad(s0, s1, floor + 0.92, floor + 1.0, deep), lit(b.trim, light, 1.05), z
        )
    else:
        size = canvas.cam.span(z) / canvas.scale
        count = 9 if size > 9 else 0
        for j in range(count + 1):
            a = s0 + (s1 - s0) * j / max(count, 1)
            canvas.scratch(
                [face.at(a, floor, deep), face.at(a, floor + 0.95, deep)],
                0.03 * canvas.cam.span(z),
                lit(tone, light),
                z,
            )
        canvas.touch(face.quad(s0, s1, floor + 0.9, floor + 1.0, deep), lit(tone, light), z)
    canvas.touch(face.quad(s0, s1, floor - 0.16, floor, deep), lit(b.trim, light, 0.92), z)
