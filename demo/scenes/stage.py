"""The stage of a scene: what is to be painted, how far away, and with which shadows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .canvas import Camera, Canvas, Color, mix
from .ground import Street
from .mood import Mood
from .plants import LEAVES, TREE_KINDS, draw_tree, leaf_ramp, make_crown

_PALETTE_ODDS = {
    "centre": ("modern", "modern", "brick", "stone"),
    "old": ("nordic", "southern", "nordic"),
    "houses": ("nordic", "brick", "southern"),
    "avenue": ("stone", "brick", "southern", "stone"),
    "park": ("stone", "brick", "nordic", "southern"),
}


class Stage:
    """Collects things to paint with their depth, then paints them from far to near."""

    def __init__(
        self,
        canvas: Canvas,
        cam: Camera,
        mood: Mood,
        street: Street,
        rng: np.random.Generator,
    ) -> None:
        self.canvas, self.cam, self.mood, self.street, self.rng = canvas, cam, mood, street, rng
        self.back: list[tuple[float, Callable[[], None]]] = []
        self.fore: list[tuple[float, Callable[[], None]]] = []
        self.palette = str(rng.choice(_PALETTE_ODDS[street.kind]))
        self.iron: Color = ((52, 56, 58), (40, 62, 54), (96, 98, 102), (60, 48, 42))[
            int(rng.integers(4))
        ]
        hues = LEAVES[mood.season]
        # Street trees mostly share a kind; one or two others stand among them.
        picks = [int(i) for i in rng.permutation(len(hues))[:3]]
        self.ramps = [leaf_ramp(mood, hues[i]) for i in picks]
        evergreen = leaf_ramp(mood, (52, 92, 60))
        self.hedge = mix((62, 104, 50), (84, 116, 56), float(rng.random()))
        flat = math.hypot(mood.sun_dir[0], mood.sun_dir[1]) or 1.0
        sun = (mood.sun_dir[0] / flat, max(0.35, mood.sun_dir[1] / flat))
        main = str(rng.choice(("round", "wide", "tall")))
        self.kinds = [main, main, str(rng.choice(TREE_KINDS)), "bush"]
        self.sprites = [make_crown(rng, kind, *sun) for kind in self.kinds]
        self.ramp_of = [evergreen if kind == "cone" else None for kind in self.kinds]

    def seed(self) -> int:
        """A fresh seed for one object, so that its detail does not shift the others."""
        return int(self.rng.integers(2**31))

    def paint(self) -> None:
        """Paint everything collected, the houses first: nothing in the street is behind them."""
        for group in (self.back, self.fore):
            for _, draw in sorted(group, key=lambda item: -item[0]):
                draw()

    def cast(self, x: float, z: float, wide: float, tall: float, strength: int = 255) -> None:
        """Shadow of a slim upright thing."""
        sx, sz = self.mood.shadow_shift()
        p, half = self.cam.point, wide / 2
        ex, ez = x + sx * tall, max(1.0, z + sz * tall)
        self.canvas.shade(
            [p(x - half, 0, z), p(x + half, 0, z), p(ex + half, 0, ez), p(ex - half, 0, ez)],
            strength,
        )

    def cast_box(self, x0: float, x1: float, z0: float, z1: float, tall: float) -> None:
        """Shadow of a box that stands on the ground."""
        sx, sz = (c * tall for c in self.mood.shadow_shift())
        ground = self.cam.ground
        steps = 4
        for i in range(steps + 1):
            dx, dz = sx * i / steps, sz * i / steps
            self.canvas.shade(ground(x0 + dx, x1 + dx, max(1, z0 + dz), max(1.2, z1 + dz)))

    def tree(
        self,
        x: float,
        y: float,
        z: float,
        tall: float,
        back: bool = False,
        which: int | None = None,
    ) -> None:
        """A tree and its dappled shadow."""
        rng, canvas, cam, mood = self.rng, self.canvas, self.cam, self.mood
        pick = int(rng.integers(0, 3)) if which is None else which
        kind, sprite = self.kinds[pick], self.sprites[pick]
        ramp = self.ramp_of[pick]
        if ramp is None:
            ramp = (
                self.ramps[int(rng.integers(len(self.ramps)))] if which is None else self.ramps[0]
            )
        share = {"round": 0.66, "wide": 0.86, "tall": 0.42, "cone": 0.48, "bush": 1.4}[kind]
        wide = tall * share * float(rng.uniform(0.9, 1.12))
        if abs(x) < self.street.edge:
            # A street tree may shade its lane but must not close the view.
            wide = min(wide, 1.05 * self.street.road)
        bark = mix((104, 82, 64), (120, 112, 104), float(rng.random()))
        group = self.back if back else self.fore
        group.append(
            (z, lambda: draw_tree(canvas, cam, mood, sprite, kind, ramp, x, y, z, tall, wide, bark))
        )
        sx, sz = mood.shadow_shift()
        if kind != "bush":
            self.cast(x, z, 0.3, tall * 0.4)
        for dx, dz, r in rng.uniform(-0.5, 0.5, (9, 3)).tolist():
            top = tall * (0.66 + 0.5 * dz)
            gx, gz = x + sx * top + dx * wide * 0.8, z + sz * top + dz * wide * 0.8
            if gz > 2.0:
                size = wide * (0.22 + 0.16 * (r + 0.5))
                span = cam.span(gz)
                flat = max(1.0, abs(cam.point(0, 0, gz)[1] - cam.point(0, 0, gz + size)[1]))
                canvas.shade_disc(cam.point(gx, 0, gz), size * span, flat, 225)
        span = cam.span(z)
        canvas.press_disc(cam.point(x, 0, z), 0.55 * span, 0.16 * span, 110)

    def at_crossing(self, z: float, room: float) -> bool:
        """Whether depth `z` lies in the side street or within `room` metres of it."""
        cross = self.street.cross
        return bool(cross and cross[0] - room < z < cross[1] + room)
