"""Buses and parked bicycles."""

from __future__ import annotations

import math

import numpy as np

from .canvas import BICYCLE, BUS, Camera, Canvas, Point, lit, mix
from .mood import Mood
from .vehicles import wheel


def draw_bus(
    canvas: Canvas, cam: Camera, mood: Mood, x: float, z: float, oncoming: bool, seed: int
) -> None:
    """Paint a city bus, 11 m long, whose near end is at depth `z`."""
    rng = np.random.default_rng(seed)
    paint = (
        (196, 44, 40),
        (236, 196, 64),
        (52, 116, 176),
        (72, 140, 84),
        (236, 236, 232),
        (226, 120, 44),
    )[int(rng.integers(6))]
    skirt = mix(paint, (40, 40, 46), 0.55)
    h, tall, n = 1.25, 3.1, 11.0
    away = 1.0 if x > cam.eye_x else -1.0
    end_light, flank_light = mood.light(0, 0.1, -1), mood.light(-away, 0.1, 0)
    glass = mix((22, 26, 32), mood.ambient_glass, 0.2)
    gleam = mix(glass, mood.ambient_glass, 0.45)
    inside = mood.dark or mood.weather in ("rain", "fog")
    p = cam.point
    for dx in (-1, 1):
        a, c = x + dx * (h - 0.05), x + dx * (h - 0.4)
        canvas.fill(cam.upright(min(a, c), max(a, c), 0, 0.6, z + 0.8), (18, 18, 20), z, BUS)
    canvas.fill(cam.upright(x - h * 0.9, x + h * 0.9, 0.16, 0.5, z + 0.3), (24, 24, 27), z, BUS)
    xs = x - away * h
    if abs(x - cam.eye_x) > h * 0.5:
        side = cam.side(xs, 0.32, tall, z, z + n)
        canvas.fill(side, lit(paint, flank_light, 0.94), z, BUS)
        canvas.touch(cam.side(xs, 0.32, 0.85, z, z + n), lit(skirt, flank_light), z)
        for a in (2.6, 8.4):
            canvas.fill(wheel(cam, xs, 0.5, z + a, 0.58), (16, 16, 18), z, BUS)
            canvas.fill(wheel(cam, xs, 0.48, z + a, 0.48), (30, 30, 33), z, BUS)
            canvas.touch(wheel(cam, xs, 0.48, z + a, 0.28), lit((160, 162, 166), flank_light), z)
        for i in reversed(range(7)):
            a = 0.35 + i * 1.5
            tone = mix(glass, gleam, 0.3 + 0.4 * ((i * 0.37) % 1.0))
            if inside:
                tone = mix((255, 226, 168), tone, 0.25)
            low = 0.55 if i in (2, 5) else 1.35
            canvas.fill(
                cam.side(xs, low, 2.55, z + a, z + a + 1.32), tone, z + a, BUS, 50 if inside else 0
            )
    if cam.eye_y > tall:
        roof = cam.ground(x - h, x + h, z, z + n, tall)
        canvas.fill(roof, lit(mix(paint, (230, 230, 230), 0.5), mood.light(0, 1, 0)), z, BUS)
    end = [(-1, 0.32), (1, 0.32), (1, tall - 0.2), (0.93, tall), (-0.93, tall), (-1, tall - 0.2)]
    canvas.fill([p(x + a * h, y, z) for a, y in end], lit(paint, end_light), z, BUS)
    canvas.touch(cam.upright(x - h, x + h, 0.32, 0.85, z), lit(skirt, end_light), z)
    low = 1.15 if oncoming else 1.55
    canvas.touch(cam.upright(x - h * 0.92, x + h * 0.92, low, 2.5, z), glass, z)
    canvas.touch(
        [
            p(x - h * 0.92, 1.75, z),
            p(x + h * 0.92, 2.15, z),
            p(x + h * 0.92, 2.5, z),
            p(x - h * 0.92, 2.5, z),
        ],
        gleam,
        z,
    )
    if oncoming:
        canvas.scratch([p(x, low, z), p(x, 2.5, z)], 0.04 * cam.span(z), lit(paint, end_light), z)
    board = cam.upright(x - h * 0.72, x + h * 0.72, 2.6, 2.92, z)
    canvas.touch(board, (22, 22, 24), z)
    for i in range(6):  # strokes of the destination display
        if i != 2:
            a = x - h * 0.6 + i * h * 0.2
            canvas.fill(cam.upright(a, a + h * 0.14, 2.68, 2.84, z), (255, 176, 46), z, BUS, 90)
    for dx in (-1, 1):
        a, c = x + dx * h * 0.92, x + dx * h * 0.66
        quad = cam.upright(
            min(a, c), max(a, c), 0.95 if not oncoming else 0.7, 1.25 if not oncoming else 0.92, z
        )
        tone = (255, 248, 220) if oncoming else (230, 40, 30)
        canvas.fill(
            quad, tone if inside else lit(tone, end_light, 0.8), z, BUS, 200 if inside else 0
        )
    canvas.touch(cam.upright(x - 0.3, x + 0.3, 0.5, 0.66, z), lit((236, 234, 222), end_light), z)


def draw_bicycle(
    canvas: Canvas, cam: Camera, mood: Mood, x: float, y: float, z: float, angle: float, seed: int
) -> None:
    """Paint a parked bicycle; `angle` (radians) turns it from across to along the street."""
    rng = np.random.default_rng(seed)
    paint = (
        (176, 40, 40),
        (40, 90, 140),
        (40, 40, 44),
        (60, 130, 90),
        (220, 180, 60),
        (230, 230, 226),
    )[int(rng.integers(6))]
    light = mood.light(0, 0.3, -1)
    ca, sa = math.cos(angle), math.sin(angle)
    span = cam.span(z)

    def at(a: float, b: float) -> Point:
        return cam.point(x + a * ca, y + b, z + a * sa)

    r, tyre = 0.34, max(1.0, 0.045 * span)
    for hub in (0.0, 1.05):
        ring = [
            at(hub + r * math.cos(t * math.pi / 9), r + r * math.sin(t * math.pi / 9))
            for t in range(19)
        ]
        canvas.stroke(ring, tyre, (26, 26, 28), z, BICYCLE)
        if span > 30 * canvas.scale:
            for t in range(5):
                c, s = math.cos(t * math.pi / 5) * r, math.sin(t * math.pi / 5) * r
                canvas.stroke(
                    [at(hub - c, r - s), at(hub + c, r + s)], 1, (120, 122, 126), z, BICYCLE
                )
    pipe = max(1.0, 0.055 * span)
    tone = lit(paint, light, 0.95)
    seat, crank, head = (0.34, 0.78), (0.45, 0.30), (0.86, 0.80)
    for a, b in (
        ((0.0, r), seat),
        ((0.0, r), crank),
        (crank, seat),
        (crank, head),
        (seat, head),
        (head, (1.05, r)),
    ):
        canvas.stroke([at(*a), at(*b)], pipe, tone, z, BICYCLE)
    dark = (30, 30, 33)
    canvas.stroke([at(0.34, 0.78), at(0.30, 0.92)], pipe, dark, z, BICYCLE)
    canvas.stroke([at(0.18, 0.94), at(0.44, 0.94)], pipe * 1.7, dark, z, BICYCLE)
    canvas.stroke([at(0.86, 0.80), at(0.83, 1.02), at(0.98, 1.04)], pipe, dark, z, BICYCLE)
