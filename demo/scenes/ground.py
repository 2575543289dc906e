"""The ground of a street: carriageway, markings, pavements, kerbs, verges."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .canvas import KERB, ROAD, SIDEWALK, TERRAIN, Camera, Canvas, Color, lit, mix
from .mood import Mood

END = 140.0  # metres; depth at which the skyline closes the street
START = 0.8
NEAREST = 0.5

Mark = Callable[..., None]  # paints a level polygon in a color, perhaps brighter or darker


@dataclass(frozen=True)
class Street:
    """Measures (metres) and materials of a street. x is counted from the middle line."""

    kind: str
    road: float  # half width of the carriageway
    verge: float  # grass strip beyond the kerb
    walk: float  # pavement
    front: tuple[float, float]  # gardens before the houses, left and right
    cross: tuple[float, float] | None  # side street, depths of its near and far kerb
    zebra: float | None  # depth of the crossing's near edge
    asphalt: Color
    paving: Color
    grass: Color
    marking: Color
    cobbles: bool
    lanes: int
    bike_lane: bool
    parking: tuple[bool, bool]  # cars stand at the left, the right kerb
    lawn: int  # side (-1 left, 1 right) where a park takes the place of houses, or 0

    @property
    def edge(self) -> float:
        """Distance of the pavement's outer edge."""
        return self.road + self.verge + self.walk

    def wall(self, side: int) -> float:
        """Distance of the house fronts on this side (-1 left, 1 right)."""
        return self.edge + self.front[0 if side < 0 else 1]


def paint_ground(
    canvas: Canvas, cam: Camera, mood: Mood, street: Street, rng: np.random.Generator
) -> None:
    """Paint everything level. Haze, texture and shadows are added later, per row."""
    light = mood.light(0, 1, 0)
    far = 600.0

    def lay(points: list, rgb: Color, label: int) -> None:
        canvas.fill(points, lit(rgb, light), 0, label, 0, 255)

    def mark(points: list, rgb: Color, k: float = 1.0) -> None:
        canvas.touch(points, lit(rgb, light, k), 0)

    lay(cam.ground(-far, far, NEAREST, END * 4), street.grass, TERRAIN)
    town = street.kind != "houses"
    for side in (-1, 1):
        r, edge = side * street.road, side * street.edge
        outer = side * (street.wall(side) + 0.3) if town and street.kind != "park" else edge
        spans = [(START, END)]
        if street.cross:
            spans = [(street.cross[1], END), (START, street.cross[0])]
        for z0, z1 in spans:
            walk_in = r + side * street.verge
            y = KERB
            lay(cam.ground(walk_in, outer, z0, z1, y), street.paving, SIDEWALK)
            _slabs(canvas, cam, street, light, walk_in, outer, z0, z1)
            if street.verge:
                lay(
                    cam.ground(r, walk_in, z0, z1, y),
                    mix(street.grass, (92, 128, 62), 0.3),
                    TERRAIN,
                )
            # Kerb: its upright face in shade, its top in pale stone.
            stone = mix(street.paving, (206, 204, 198), 0.6)
            lay(cam.ground(r, r + side * 0.22, z0, z1, y), stone, SIDEWALK)
            face = lit(stone, mood.light(-side, 0.2, 0), 0.74)
            canvas.fill(cam.side(r, 0, y, z0, z1), face, 0, SIDEWALK, 0, 255)
    road = cam.ground(-street.road, street.road, START, END)
    lay(road, street.asphalt, ROAD)
    if street.cross:
        # Pavements of the side street, then its carriageway.
        wide = street.walk * 0.8
        for z0, z1 in (
            (street.cross[0] - wide, street.cross[0]),
            (street.cross[1], street.cross[1] + wide),
        ):
            for side in (-1, 1):
                points = cam.ground(side * street.edge, side * far, z0, z1, KERB)
                lay(points, street.paving, SIDEWALK)
        stone = mix(street.paving, (206, 204, 198), 0.6)
        z1 = street.cross[1]
        for side in (-1, 1):
            face = cam.upright(side * street.road, side * far, 0, KERB, z1)
            lay(face, mix(stone, (0, 0, 0), 0.28), SIDEWALK)
            top = cam.ground(side * street.road, side * far, z1, z1 + 0.22, KERB)
            lay(top, stone, SIDEWALK)
        lay(cam.ground(-far, far, *street.cross), street.asphalt, ROAD)
        _corners(canvas, cam, street, light)
    _wear(mark, cam, street, rng)
    _markings(mark, cam, street, rng)
    # The gutter: a dark line that seats the kerb.
    for side in (-1, 1):
        a, b = side * street.road, side * (street.road - 0.28)
        for z0, z1 in (
            ((START, street.cross[0]), (street.cross[1], END)) if street.cross else ((START, END),)
        ):
            mark(cam.ground(a, b, z0, z1), mix(street.asphalt, (60, 58, 56), 0.35))


def _corners(canvas: Canvas, cam: Camera, street: Street, light: Color) -> None:
    """Round the four pavement corners of the side street."""
    near, far = street.cross
    radius = min(2.4, street.walk)
    for side in (-1, 1):
        for z, way in ((near, -1), (far, 1)):
            cx, cz = side * (street.road + radius), z + way * radius
            corner = [cam.point(side * street.road, 0, z)]
            for i in range(9):
                a = math.pi / 2 * i / 8
                corner.append(
                    cam.point(cx - side * radius * math.cos(a), 0, cz - way * radius * math.sin(a))
                )
            canvas.fill(corner, lit(street.asphalt, light), 0, ROAD, 0, 255)


def _slabs(
    canvas: Canvas,
    cam: Camera,
    street: Street,
    light: Color,
    x0: float,
    x1: float,
    z0: float,
    z1: float,
) -> None:
    """Joints between paving slabs, fading where they would merge."""
    side = 1 if x1 > x0 else -1
    step = 0.9
    line = mix(street.paving, (60, 58, 58), 0.42)
    z = max(z0, 1.6)
    while z < min(z1, 46):
        fade = min(1.0, z / 46)
        tone = lit(mix(line, street.paving, fade), light)
        thick = max(0.025, 0.3 / cam.span(z))
        canvas.touch(cam.ground(x0, x1, z, z + thick, KERB), tone, 0)
        z += step if z < 20 else step * 2
    x = x0 + side * step
    while abs(x) < abs(x1):
        tone = lit(mix(line, street.paving, 0.35), light)
        canvas.touch(cam.ground(x - 0.012, x + 0.012, max(z0, 1.2), min(z1, 40), KERB), tone, 0)
        x += side * step


def _wear(mark: Mark, cam: Camera, street: Street, rng: np.random.Generator) -> None:
    """Wheel tracks, repairs, joints and manhole covers."""
    asphalt = street.asphalt
    lane = 2 * street.road / street.lanes if street.lanes else street.road
    if not street.cobbles:
        for i in range(street.lanes):
            middle = -street.road + (i + 0.5) * lane
            for dx in (-0.75, 0.75):
                points = cam.ground(middle + dx - 0.25, middle + dx + 0.25, START, END)
                mark(points, asphalt, 0.965)
        for _ in range(int(rng.integers(1, 5))):
            x, z = float(rng.uniform(-street.road, street.road - 1.6)), float(rng.uniform(4, 30))
            w, d = float(rng.uniform(0.8, 2.2)), float(rng.uniform(1.5, 6))
            k = float(rng.choice((0.86, 0.9, 1.07)))
            mark(cam.ground(x, min(street.road - 0.3, x + w), z, z + d), asphalt, k)
        for _ in range(int(rng.integers(0, 3))):
            z = float(rng.uniform(5, 26))
            x, points = -street.road + 0.4, []
            while x < street.road - 0.3:
                points.append((x, z + float(rng.normal(0, 0.14))))
                x += 0.5
            upper = [cam.point(a, 0, b) for a, b in points]
            lower = [cam.point(a, 0, b + 0.05) for a, b in reversed(points)]
            mark(upper + lower, asphalt, 0.72)
    for side in (-1, 1):  # drains in the gutter
        z = float(rng.uniform(4, 9))
        while z < 40:
            a, b = side * (street.road - 0.02), side * (street.road - 0.5)
            mark(cam.ground(a, b, z, z + 0.5), (66, 64, 62))
            for i in range(4):
                mark(cam.ground(a, b, z + 0.04 + i * 0.12, z + 0.08 + i * 0.12), (110, 108, 104))
            z += 13.0
    for _ in range(int(rng.integers(1, 3))):
        x, z = float(rng.uniform(-0.6, 0.6)) * street.road, float(rng.uniform(4.5, 20))
        for r, k in ((0.36, 0.62), (0.30, 0.82), (0.2, 0.7)):
            ring = [
                cam.point(x + r * math.cos(a * 0.45), 0, z + r * math.sin(a * 0.45))
                for a in range(14)
            ]
            mark(ring, asphalt, k)


def _markings(mark: Mark, cam: Camera, street: Street, rng: np.random.Generator) -> None:
    paint, asphalt = street.marking, street.asphalt
    road = street.road
    clear: list[tuple[float, float]] = []  # depths without lane lines
    if street.cross:
        clear.append((street.cross[0] - 1.0, street.cross[1] + 1.0))
    if street.zebra is not None:
        clear.append((street.zebra - 1.6, street.zebra + 4.0))

    def free(z0: float, z1: float) -> bool:
        return all(z1 < a or z0 > b for a, b in clear)

    def worn() -> Color:
        return mix(paint, asphalt, float(rng.uniform(0.05, 0.32)))

    if street.bike_lane:
        tint = ((164, 84, 72), (86, 132, 104))[int(rng.integers(2))]
        for z0 in range(2, 120, 4):
            if free(z0, z0 + 4):
                tone = mix(mix(tint, asphalt, 0.35), asphalt, 0.12 * float(rng.random()))
                mark(cam.ground(road - 1.7, road - 0.3, z0, z0 + 4), tone)
                mark(cam.ground(road - 1.84, road - 1.7, z0, z0 + 4), worn())
    style = "dash" if street.cobbles else str(rng.choice(("dash", "dash", "double", "solid")))
    lane = 2 * road / street.lanes
    if not street.cobbles:
        lines = [-road + i * lane for i in range(1, street.lanes)]
        for x in lines:
            middle = abs(x) < 0.1
            if middle and style != "dash":
                for z0 in range(2, 120, 3):
                    if free(z0, z0 + 3):
                        for dx in (-0.14, 0.14) if style == "double" else (0.0,):
                            points = cam.ground(x + dx - 0.06, x + dx + 0.06, z0, z0 + 3)
                            mark(points, worn())
            else:
                for z0 in range(3, 110, 7):
                    if free(z0, z0 + 3):
                        mark(cam.ground(x - 0.08, x + 0.08, z0, z0 + 3), worn())
    if street.zebra is not None:
        z0, z1 = street.zebra, street.zebra + 3.0
        x = -road + 0.5
        while x < road - 0.5:
            mark(cam.ground(x, min(x + 0.5, road - 0.3), z0, z1), worn())
            x += 1.0
        mark(cam.ground(0.15, road - 0.35, z0 - 1.3, z0 - 0.95), worn())
    if rng.random() < 0.4 and not street.cobbles:
        # An arrow in the lane ahead.
        x = (road - 2.1 * street.parking[1]) / 2 if street.lanes == 2 else lane * 1.5
        z = float(rng.uniform(5.5, 9.5))
        if free(z, z + 3.4):
            shaft = [(-0.09, 0), (0.09, 0), (0.09, 1.9), (0.32, 1.9), (0, 3.2), (-0.32, 1.9)]
            shaft.append((-0.09, 1.9))
            mark([cam.point(x + a, 0, z + b) for a, b in shaft], worn())
    for side, parked in zip((-1, 1), street.parking, strict=True):
        if parked and not street.cobbles:
            for z0 in range(2, 100, 6):
                if free(z0 - 2, z0 + 2):
                    a, b = side * (road - 2.15), side * road
                    mark(cam.ground(a, b, z0, z0 + 0.12), worn())
                    mark(cam.ground(a - 0.05, a + 0.05, z0, z0 + 1.4), worn())
