"""Houses and blocks along the street: walls, rows of windows, glass fronts."""

from __future__ import annotations

import numpy as np

from .canvas import BUILDING, Camera, Canvas, Face, lit, mix
from .mood import Mood
from .roofs import draw_cornice, roof_back, roof_slope
from .shops import ground_floor
from .walls import LAMPLIGHT, Building, Look, draw_balcony, draw_window


def draw_building(canvas: Canvas, cam: Camera, mood: Mood, b: Building) -> None:
    """Paint one building, far parts first."""
    rng = np.random.default_rng(b.seed)
    side = b.side
    xs, xo = side * b.x, side * (b.x + b.depth)
    street = Face(cam, (xs, b.z0), (xs, b.z1), (-side, 0.0), mood.light(-side, 0.02, 0))
    front = Face(cam, (xs, b.z0), (xo, b.z0), (0.0, -1.0), mood.light(0, 0.02, -1))
    glass = mix((30, 36, 46), mood.ambient_glass, 0.10)
    look = Look(
        share=float(rng.uniform(0.38, 0.56)),
        tall=float(rng.uniform(0.55, 0.70)),
        frame=b.trim,
        shutters=b.accent if b.style == "old" and rng.random() < 0.5 else None,
        arched=b.style in ("brick", "stone") and rng.random() < 0.35,
        sills=b.style != "modern",
        lintel=b.style in ("brick", "stone") and rng.random() < 0.7,
        bars=int(rng.integers(0, 3)),
        glass=glass,
        sky=mix(glass, mood.ambient_glass, 0.55),
        lit_share=mood.lit_share * float(rng.uniform(0.5, 1.4)),
        boxes=b.style in ("old", "house") and rng.random() < 0.35,
    )
    roof_back(canvas, cam, mood, b, rng)
    _wall(canvas, front, b, gable=b.roof == "pitched")
    if b.corner:
        _storeys(canvas, front, b, look, rng, mood)
    else:
        _blind_side(canvas, front, b, look, rng, mood)
    roof_slope(canvas, cam, mood, b, rng)
    _wall(canvas, street, b, gable=False)
    _storeys(canvas, street, b, look, rng, mood)
    draw_cornice(canvas, street, front, b)


def _wall(canvas: Canvas, face: Face, b: Building, gable: bool) -> None:
    light, top = face.light, b.eaves
    if gable and face.dx:
        peak = face.at(face.length / 2, top + b.rise)
        points = [face.at(0, top - 0.05), face.at(face.length, top - 0.05), peak]
        canvas.fill(points, lit(b.wall, light, 0.98), face.z0, BUILDING)
    count = 1 if not face.dz else max(2, min(8, round(face.length / 2.2)))
    levels = ((0.0, 0.10, 0.86), (0.10, 0.32, 0.94), (0.32, 0.7, 1.0), (0.7, 1.0, 1.05))
    for i in range(count):
        s0, s1 = face.length * i / count, face.length * (i + 1) / count
        z = face.z((s0 + s1) / 2)
        quad = face.quad(s0, s1, 0, top)
        if not canvas.seen(quad):
            continue
        canvas.fill(quad, lit(b.wall, light), z, BUILDING)
        for y0, y1, k in levels:
            canvas.touch(face.quad(s0, s1, y0 * top, y1 * top), lit(b.wall, light, k), z)
    if b.style in ("brick", "stone", "house"):
        _courses(canvas, face, b)
    if b.style != "modern":
        base = mix(b.wall, (70, 68, 66), 0.55)
        canvas.touch(face.quad(0, face.length, 0, 0.55), lit(base, light, 0.9), face.z(0) + 1)


def _courses(canvas: Canvas, face: Face, b: Building) -> None:
    """Scattered bricks or blocks, where they are near enough to be seen."""
    rng = np.random.default_rng(b.seed + 1)
    tall, wide = (0.14, 0.42) if b.style == "brick" else (0.4, 0.9)
    if canvas.cam.span(face.z0 + 2) * tall < 1.5 * canvas.scale:
        return
    n = 100 if b.style == "brick" else 60
    rows = max(1, int(b.eaves / tall))
    where = rng.random((n, 2)).tolist()
    tones = rng.uniform(0.86, 1.12, n).tolist()
    for (s, y), k in zip(where, tones, strict=True):
        # Squared, because most of the wall's pixels belong to its near end.
        s0 = s * s * (face.length - wide)
        y0 = int(y * rows) * tall
        z = face.z(s0)
        if canvas.cam.span(z) * tall < 1.2 * canvas.scale:
            continue
        canvas.touch(face.quad(s0, s0 + wide, y0, y0 + tall), lit(b.wall, face.light, k), z)


def _storeys(
    canvas: Canvas, face: Face, b: Building, look: Look, rng: np.random.Generator, mood: Mood
) -> None:
    if b.style == "modern":
        _curtain(canvas, face, b, look, rng)
    else:
        pitch = {"old": 2.5, "brick": 2.9, "stone": 2.7, "flats": 3.4, "house": 3.3}[b.style]
        bays = max(1, round(face.length / pitch))
        bay = face.length / bays
        dice = rng.random((b.storeys, bays, 4)).tolist()
        wide = bay * (look.share + (0.12 if b.style == "flats" else 0.0))
        balconies = b.style == "flats" or (b.style in ("stone", "old") and rng.random() < 0.3)
        odd = int(rng.integers(0, 2))
        for row in range(b.storeys):
            floor = b.ground + row * b.storey
            y0 = floor + b.storey * (0.92 - look.tall)
            y1 = floor + b.storey * 0.90
            if b.style in ("stone", "flats") or (b.style == "old" and row == 0):
                band = face.quad(0, face.length, floor - 0.10, floor + 0.10, 0.06)
                canvas.touch(band, lit(b.trim, face.light, 0.95), face.z(face.length * 0.3))
            for i in range(bays):
                s = (i + 0.5) * bay
                has_balcony = balconies and (i + odd) % 2 == 0 and row > 0
                low = floor + 0.15 if has_balcony else y0
                draw_window(canvas, face, s - wide / 2, s + wide / 2, low, y1, look, dice[row][i])
                if has_balcony:
                    draw_balcony(canvas, face, s, wide, floor, b, mood)
    ground_floor(canvas, face, b, look, rng, mood)


def _curtain(canvas: Canvas, face: Face, b: Building, look: Look, rng: np.random.Generator) -> None:
    """Bands of glass with mullions: an office front."""
    cols = max(2, round(face.length / 1.9))
    step = face.length / cols
    dice = rng.random((b.storeys, cols, 2)).tolist()
    band = float(rng.uniform(0.08, 0.34))
    for row in range(b.storeys):
        y0 = b.ground + row * b.storey + b.storey * band
        y1 = b.ground + (row + 1) * b.storey - 0.12
        up = (row + 1) / (b.storeys + 1)
        for i in range(cols):
            s0, s1 = i * step + 0.07, (i + 1) * step - 0.07
            quad = face.quad(s0, s1, y0, y1)
            if not canvas.seen(quad):
                continue
            z = face.z(s0)
            a, c = dice[row][i]
            glow = 0
            if a < look.lit_share:
                tone = mix(LAMPLIGHT[3], LAMPLIGHT[2], c)
                glow = 30
            else:
                tone = mix(look.glass, look.sky, min(1.0, 0.35 + 0.75 * up + 0.25 * (c - 0.5)))
                tone = mix(tone, lit(b.accent, face.light), 0.14)
            canvas.fill(quad, tone, z, BUILDING, glow)
            if canvas.cam.span(z) * step > 9 * canvas.scale and not glow:
                streak = [
                    face.at(s0, y0 + (y1 - y0) * (0.25 + 0.5 * c)),
                    face.at(s1, y0 + (y1 - y0) * (0.55 + 0.4 * c)),
                    face.at(s1, y1),
                    face.at(s0, y1),
                ]
                canvas.touch(streak, mix(tone, look.sky, 0.35), z)


def _blind_side(
    canvas: Canvas, face: Face, b: Building, look: Look, rng: np.random.Generator, mood: Mood
) -> None:
    """The wall towards a neighbor: a few windows high up, perhaps none."""
    if rng.random() < 0.35 and b.style != "house":
        return
    dice = rng.random((b.storeys + 1, 3, 4)).tolist()
    for row in range(b.storeys):
        y = b.ground + row * b.storey
        for i in range(3):
            if dice[row][i][3] < 0.55:
                s = face.length * (0.2 + 0.3 * i)
                draw_window(canvas, face, s - 0.5, s + 0.5, y + 0.9, y + 2.3, look, dice[row][i])
