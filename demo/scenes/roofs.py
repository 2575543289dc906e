"""Roofs: cornices, slopes with dormers and roof windows, chimneys and stair heads."""

from __future__ import annotations

import math

import numpy as np

from .canvas import BUILDING, Camera, Canvas, Face, lit, mix
from .mood import Mood
from .walls import LAMPLIGHT, Building


def draw_cornice(canvas: Canvas, street: Face, front: Face, b: Building) -> None:
    top = b.eaves
    deep = 0.35 if b.style in ("stone", "brick", "old") else 0.12
    tall = 0.45 if b.roof == "flat" else 0.22
    for face in (front, street):
        if face is front and b.roof == "pitched":
            continue
        z = face.z(face.length * 0.35)
        tone = lit(b.trim, face.light)
        # Backed by a strip to the wall, so that no sky shows between the two.
        back = [
            face.at(-deep, top, deep),
            face.at(face.length, top, deep),
            face.at(face.length, top - tall, 0),
            face.at(-deep, top - tall, 0),
        ]
        canvas.fill(back, tone, z, BUILDING)
        rim = [face.at(0, top - 0.08), face.at(face.length, top - 0.08), back[1], back[0]]
        canvas.fill(rim, tone, z, BUILDING)
        canvas.fill(face.quad(-deep, face.length, top - tall, top, deep), tone, z, BUILDING)
        canvas.fill(
            face.quad(-deep, face.length, top - tall - 0.14, top - tall, deep * 0.6),
            lit(tone, (0.72,) * 3),
            z,
            BUILDING,
        )


def roof_back(
    canvas: Canvas, cam: Camera, mood: Mood, b: Building, rng: np.random.Generator
) -> None:
    """Things on the roof that stand behind its front edge: stair heads, tanks, chimneys."""
    side, dark = b.side, mix(b.wall, (90, 88, 86), 0.5)
    facing, inner = mood.light(0, 0, -1), mood.light(-side, 0, 0)
    for _ in range(int(rng.integers(1, 4))):
        z = float(rng.uniform(b.z0 + 0.8, b.z1 - 1.5))
        if b.roof == "flat":
            x, w, deep = b.x + 1.5 + 3 * float(rng.random()), 2.6, 2.0
            y0, y1 = b.eaves - 0.5, b.eaves + float(rng.uniform(1.4, 2.6))
            tone = dark
        else:
            x, w, deep = b.x + b.depth * 0.42, 0.9, 0.7
            y0 = b.eaves
            y1 = b.eaves + b.rise + float(rng.uniform(0.7, 1.3))
            tone = mix((146, 84, 66), b.wall, 0.3)
        x0, x1 = side * x, side * (x + w)
        canvas.fill(cam.upright(x0, x1, y0, y1, z), lit(tone, facing), z, BUILDING)
        canvas.fill(cam.side(x0, y0, y1, z, z + deep), lit(tone, inner), z, BUILDING)
        if b.roof != "flat":
            cap = cam.upright(x0 - side * 0.08, x1 + side * 0.08, y1 - 0.12, y1 + 0.06, z - 0.05)
            canvas.fill(cap, lit(tone, facing, 0.75), z, BUILDING)


def roof_slope(
    canvas: Canvas, cam: Camera, mood: Mood, b: Building, rng: np.random.Generator
) -> None:
    if b.roof == "flat":
        return
    side, top = b.side, b.eaves
    run = b.depth / 2 if b.roof == "pitched" else 1.3
    tall = b.rise
    over = 0.35 if b.roof == "pitched" else 0.0
    slant = math.hypot(run, tall)
    light = mood.light(-side * tall / slant, run / slant, 0)
    x0, x1 = side * (b.x - over), side * (b.x + run)
    y0, y1 = top - over * tall / run, top + tall
    z0, z1 = b.z0 - over * 0.6, b.z1
    count = max(2, min(6, round((z1 - z0) / 3)))
    rows = 4
    for i in range(count):
        za, zb = z0 + (z1 - z0) * i / count, z0 + (z1 - z0) * (i + 1) / count
        for j in range(rows):
            xa, xb = x0 + (x1 - x0) * j / rows, x0 + (x1 - x0) * (j + 1) / rows
            ya, yb = y0 + (y1 - y0) * j / rows, y0 + (y1 - y0) * (j + 1) / rows
            quad = [
                cam.point(xa, ya, za),
                cam.point(xa, ya, zb),
                cam.point(xb, yb, zb),
                cam.point(xb, yb, za),
            ]
            k = 0.95 + 0.05 * ((i + j) % 2) + 0.03 * j
            canvas.fill(quad, lit(b.roof_rgb, light, k), (za + zb) / 2, BUILDING)
    if b.roof == "mansard":
        facing = mood.light(0, 0.1, -1)
        xe, ye = side * (b.x + b.depth), top + tall
        end = [
            cam.point(side * b.x, top, b.z0),
            cam.point(xe, top, b.z0),
            cam.point(xe, ye, b.z0),
            cam.point(x1, ye, b.z0),
        ]
        canvas.fill(end, lit(b.roof_rgb, facing), b.z0, BUILDING)
        dormers = max(1, round((b.z1 - b.z0) / 3.2))
        for i in reversed(range(dormers)):
            z = b.z0 + (b.z1 - b.z0) * (i + 0.5) / dormers
            xf = side * (b.x + 0.15)
            cheek = cam.upright(xf, side * (b.x + run), top + 0.3, top + 1.8, z - 0.6)
            canvas.fill(cheek, lit(b.roof_rgb, facing, 0.85), z, BUILDING)
            inner = mood.light(-side, 0, 0)
            face = cam.side(xf, top + 0.25, top + 1.95, z - 0.62, z + 0.62)
            canvas.fill(face, lit(b.trim, inner), z, BUILDING)
            bright = float(rng.random()) < mood.lit_share
            pane = cam.side(xf, top + 0.45, top + 1.65, z - 0.42, z + 0.42)
            tone = LAMPLIGHT[0] if bright else mix((30, 36, 46), mood.ambient_glass, 0.3)
            canvas.fill(pane, tone, z, BUILDING, 80 if bright else 0)
    elif canvas.cam.span(b.z0 + 3) > 6 * canvas.scale:
        # Roof windows.
        for _ in range(int(rng.integers(0, 3))):
            z = float(rng.uniform(b.z0 + 1.0, b.z1 - 2.0))
            t0, t1 = 0.3, 0.5
            quad = [
                cam.point(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t, zz)
                for t, zz in ((t0, z), (t0, z + 0.9), (t1, z + 0.9), (t1, z))
            ]
            canvas.touch(quad, mix((40, 46, 56), mood.ambient_glass, 0.5), z)
