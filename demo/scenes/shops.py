"""Ground floors: front doors and shops with boards, goods and awnings."""

from __future__ import annotations

import numpy as np

from .canvas import BUILDING, Canvas, Face, lit, mix
from .mood import Mood
from .walls import LAMPLIGHT, Building, Look, draw_window


def ground_floor(
    canvas: Canvas, face: Face, b: Building, look: Look, rng: np.random.Generator, mood: Mood
) -> None:
    units = max(1, round(face.length / (5.0 if b.shop else 3.4)))
    wide = face.length / units
    for i in range(units):
        dice = rng.random(8).tolist()
        s0, s1 = i * wide, (i + 1) * wide
        if not canvas.seen(face.quad(s0, s1, 0, b.ground, 1.0)):
            continue
        if b.shop:
            _shop(canvas, face, b, look, s0 + 0.25, s1 - 0.25, dice, mood)
        elif i == units // 2:
            s = (s0 + s1) / 2
            door = mix(b.accent, (40, 36, 34), 0.3)
            z = face.z(s)
            canvas.touch(face.quad(s - 0.78, s + 0.78, 0, 2.62), lit(b.trim, face.light), z)
            canvas.touch(face.quad(s - 0.6, s + 0.6, 0, 2.45), lit(door, face.light, 0.8), z)
            for y0, y1 in ((0.2, 1.0), (1.15, 1.95)):
                for a in (-0.5, 0.06):
                    panel = face.quad(s + a, s + a + 0.44, y0, y1)
                    canvas.touch(panel, lit(door, face.light, 0.95), z)
            fan = look.glass if dice[0] > mood.lit_share else LAMPLIGHT[0]
            canvas.touch(face.quad(s - 0.55, s + 0.55, 2.08, 2.4), fan, z)
            canvas.touch(
                face.quad(s - 0.9, s + 0.9, 0, 0.16, 0.3), lit((168, 164, 158), face.light), z
            )
        else:
            s = (s0 + s1) / 2
            half = wide * look.share * 0.55
            draw_window(canvas, face, s - half, s + half, 1.05, b.ground - 0.7, look, dice)


def _shop(
    canvas: Canvas,
    face: Face,
    b: Building,
    look: Look,
    s0: float,
    s1: float,
    dice: list[float],
    mood: Mood,
) -> None:
    light, z = face.light, face.z((s0 + s1) / 2)
    hues = (
        (38, 70, 84),
        (140, 44, 42),
        (44, 84, 58),
        (40, 42, 48),
        (196, 142, 52),
        (86, 52, 92),
        (224, 218, 204),
        (30, 92, 128),
    )
    paint = hues[int(dice[0] * len(hues))]
    top = min(b.ground - 0.25, 3.5)
    canvas.touch(face.quad(s0, s1, 0, top), lit(paint, light, 0.92), z)
    open_now = dice[1] < (0.85 if mood.hour == "dusk" else 0.55 if mood.dark else 0.25)
    warm = mix(LAMPLIGHT[int(dice[2] * 3)], (255, 244, 226), 0.3)
    panes = 3
    door = int(dice[3] * panes)
    step = (s1 - s0) / panes
    for j in range(panes):
        a, c = s0 + j * step + 0.12, s0 + (j + 1) * step - 0.12
        low = 0.12 if j == door else 0.6
        quad = face.quad(a, c, low, top - 0.75)
        if open_now:
            canvas.fill(quad, mix(warm, (90, 60, 40), 0.28), z, BUILDING, 40)
            canvas.touch(face.quad(a, c, 1.7, top - 0.75), warm, z)
        else:
            canvas.touch(quad, look.glass, z)
            shine = [
                face.at(a, 1.2),
                face.at(c, 1.9),
                face.at(c, top - 0.75),
                face.at(a, top - 0.75),
            ]
            canvas.touch(shine, mix(look.glass, look.sky, 0.6), z)
        if j != door:  # goods on show
            for g in range(3):
                s = a + (c - a) * (0.2 + 0.28 * g)
                tall = 0.35 + 0.5 * ((dice[4] * 7 + g * 0.37 + j * 0.61) % 1.0)
                goods = hues[int((dice[5] * 8 + g * 3 + j) % len(hues))]
                tone = lit(mix(goods, (255, 230, 190), 0.2), (1.1,) * 3 if open_now else light, 0.8)
                canvas.touch(face.quad(s - 0.13, s + 0.13, 0.65, 0.65 + tall), tone, z)
        else:
            canvas.touch(face.quad(c - 0.2, c - 0.1, 0.9, 1.3), lit((200, 190, 160), light), z)
    if open_now and mood.dark:
        x, zz = face.x0 + face.out[0] * 1.4, face.z((s0 + s1) / 2) + face.out[1] * 1.4
        canvas.lamp(x, 1.2, zz, 2.2, 0.9, warm)
    # Board with a row of strokes for its lettering.
    board = face.quad(s0 - 0.1, s1 + 0.1, top - 0.65, top, 0.12)
    canvas.touch(board, lit(mix(paint, (255, 255, 255), 0.08), light, 1.05), z)
    ink = (248, 240, 220) if sum(paint) < 420 else (60, 50, 44)
    if canvas.cam.span(z) > 8 * canvas.scale:
        s, end = s0 + (s1 - s0) * 0.2, s1 - (s1 - s0) * 0.2
        n = 0
        while s < end:
            w = 0.10 + 0.16 * ((dice[6] * 9 + n * 0.381) % 1.0)
            if n % 5 != 4:
                canvas.touch(face.quad(s, s + w, top - 0.46, top - 0.18, 0.12), lit(ink, light), z)
            s += w + 0.09
            n += 1
    if dice[7] < 0.45:
        cloth = hues[int(dice[6] * len(hues))]
        stripes = 8
        for j in range(stripes):
            a, c = s0 + (s1 - s0) * j / stripes, s0 + (s1 - s0) * (j + 1) / stripes
            tone = cloth if j % 2 else (240, 234, 222)
            slope = [
                face.at(a, top - 0.7),
                face.at(c, top - 0.7),
                face.at(c, top - 1.15, 1.1),
                face.at(a, top - 1.15, 1.1),
            ]
            over = mood.light(face.out[0] * 0.4, 0.9, face.out[1] * 0.4)
            canvas.fill(slope, lit(tone, over, 0.92), z, BUILDING)
            flap = face.quad(a, c, top - 1.38, top - 1.13, 1.1)
            canvas.fill(flap, lit(tone, light, 0.88), z, BUILDING)
