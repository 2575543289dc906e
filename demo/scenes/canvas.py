"""Camera and paired drawing surfaces: every shape goes to the picture and the label map at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]
Color = tuple[float, float, float]

# Cityscapes trainIds that the scenes use.
ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE = 0, 1, 2, 3, 4, 5
TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY = 6, 7, 8, 9, 10
PERSON, CAR, BUS, BICYCLE = 11, 13, 15, 18

NEAR = 0.9  # metres; nothing is projected from closer than this
KERB = 0.13  # metres; height of the pavement above the road


def mix(a: Sequence[float], b: Sequence[float], t: float) -> Color:
    """The color a fraction `t` of the way from `a` to `b`."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def lit(rgb: Sequence[float], light: Sequence[float], k: float = 1.0) -> Color:
    """A surface color (0..255) under a light (three factors), times `k`."""
    return (rgb[0] * light[0] * k, rgb[1] * light[1] * k, rgb[2] * light[2] * k)


class Camera:
    """Pin-hole camera that looks straight down the street.

    World axes in metres: x to the right, y up, z ahead. Screen positions are in pixels
    of the (supersampled) canvas.
    """

    def __init__(
        self,
        focal: float,
        eye_x: float,
        eye_y: float,
        centre_x: float,
        horizon: float,
    ) -> None:
        self.focal = focal
        self.eye_x = eye_x
        self.eye_y = eye_y
        self.centre_x = centre_x
        self.horizon = horizon

    def point(self, x: float, y: float, z: float) -> Point:
        """Screen position of a world point."""
        s = self.focal / (z if z > NEAR else NEAR)
        return (self.centre_x + (x - self.eye_x) * s, self.horizon + (self.eye_y - y) * s)

    def span(self, z: float) -> float:
        """Pixels that one metre takes at depth `z`."""
        return self.focal / (z if z > NEAR else NEAR)

    def ground(
        self, x0: float, x1: float, z0: float, z1: float, y: float = 0.0, slant: float = 0.0
    ) -> list[Point]:
        """A level rectangle; `slant` shifts its far side along x."""
        return [
            self.point(x0, y, z0),
            self.point(x1, y, z0),
            self.point(x1 + slant, y, z1),
            self.point(x0 + slant, y, z1),
        ]

    def upright(self, x0: float, x1: float, y0: float, y1: float, z: float) -> list[Point]:
        """A rectangle that faces the camera."""
        return [
            self.point(x0, y0, z),
            self.point(x1, y0, z),
            self.point(x1, y1, z),
            self.point(x0, y1, z),
        ]

    def side(self, x: float, y0: float, y1: float, z0: float, z1: float) -> list[Point]:
        """An upright rectangle that runs along the street."""
        return [
            self.point(x, y0, z0),
            self.point(x, y0, z1),
            self.point(x, y1, z1),
            self.point(x, y1, z0),
        ]


class Face:
    """A flat wall from one ground point to another: metres along and up it to screen points."""

    def __init__(
        self, cam: Camera, start: Point, end: Point, out: Point, light: Sequence[float]
    ) -> None:
        self.cam = cam
        self.x0, self.z0 = start
        self.dx, self.dz = end[0] - start[0], end[1] - start[1]
        self.length = math.hypot(self.dx, self.dz)
        self.out = out  # unit vector (x, z) that points away from the wall
        self.light = light

    def at(self, s: float, y: float, out: float = 0.0) -> Point:
        """Screen point `s` metres along, `y` up and `out` metres before the wall."""
        t = s / self.length
        return self.cam.point(
            self.x0 + self.dx * t + self.out[0] * out, y, self.z0 + self.dz * t + self.out[1] * out
        )

    def z(self, s: float) -> float:
        """Depth of the wall `s` metres along it."""
        return self.z0 + self.dz * s / self.length

    def quad(self, s0: float, s1: float, y0: float, y1: float, out: float = 0.0) -> list[Point]:
        """A rectangle on (or `out` metres before) the wall."""
        at = self.at
        return [at(s0, y0, out), at(s1, y0, out), at(s1, y1, out), at(s0, y1, out)]


class Canvas:
    """Color and label surfaces that take the same polygons, `scale` times oversampled.

    `color` holds red, green, blue and haze (0..255, how much of the color the air takes).
    `aux` holds the label id, the glow that feeds the bloom, and the ground cover (255 on
    level ground, where shadows, wet and ground texture apply).
    """

    def __init__(
        self, sky: np.ndarray, scale: int, cam: Camera, haze: float, mirrored: bool = False
    ) -> None:
        height, width = sky.shape[:2]
        size = (width * scale, height * scale)
        self.mirrored = mirrored  # the finished picture is flipped, so letters are drawn reversed
        self.width, self.height, self.scale, self.cam, self.haze = width, height, scale, cam, haze
        bands = Image.fromarray(sky).resize(size, Image.Resampling.BILINEAR).split()
        # CMYK is only a container for four plain bands: with RGBA Pillow would premultiply.
        self.color = Image.merge("CMYK", (*bands, Image.new("L", size)))
        self.aux = Image.new("RGB", size, (SKY, 0, 0))
        self.shadow = Image.new("L", size)
        self.contact = Image.new("L", size)
        self.lamps: list[tuple[float, float, float, float, float, Color]] = []
        self._color = ImageDraw.Draw(self.color)
        self._aux = ImageDraw.Draw(self.aux)
        self._shadow = ImageDraw.Draw(self.shadow)
        self._contact = ImageDraw.Draw(self.contact)
        self.right = size[0]

    def ink(self, rgb: Sequence[float], z: float) -> tuple[int, int, int, int]:
        """The four band values for a color at depth `z`."""
        r, g, b = rgb
        return (
            int(0 if r < 0 else 255 if r > 255 else r),
            int(0 if g < 0 else 255 if g > 255 else g),
            int(0 if b < 0 else 255 if b > 255 else b),
            int(255 * (1 - math.exp(-self.haze * z))) if z > 0 else 0,
        )

    def seen(self, points: Sequence[Point]) -> bool:
        """Whether the points may touch the canvas from left to right."""
        right = self.right
        return any(p[0] > 0 for p in points) and any(p[0] < right for p in points)

    def fill(
        self,
        points: Sequence[Point],
        rgb: Sequence[float],
        z: float,
        label: int,
        glow: int = 0,
        ground: int = 0,
    ) -> None:
        """Paint a polygon on both surfaces."""
        self._color.polygon(points, fill=self.ink(rgb, z))
        self._aux.polygon(points, fill=(label, glow, ground))

    def touch(self, points: Sequence[Point], rgb: Sequence[float], z: float) -> None:
        """Paint detail that lies within one label already drawn there."""
        self._color.polygon(points, fill=self.ink(rgb, z))

    def disc(
        self, centre: Point, rx: float, ry: float, rgb: Sequence[float], z: float, label: int
    ) -> None:
        """Paint an upright ellipse (radii in pixels) on both surfaces."""
        box = _box(centre, rx, ry)
        self._color.ellipse(box, fill=self.ink(rgb, z))
        self._aux.ellipse(box, fill=(label, 0, 0))

    def glow_disc(
        self,
        centre: Point,
        radius: float,
        rgb: Sequence[float],
        z: float,
        label: int,
        glow: int,
    ) -> None:
        """A lamp: a disc whose light spreads in the bloom."""
        box = _box(centre, radius, radius)
        self._color.ellipse(box, fill=self.ink(rgb, z))
        self._aux.ellipse(box, fill=(label, glow, 0))

    def dot(self, centre: Point, rx: float, ry: float, rgb: Sequence[float], z: float) -> None:
        """An ellipse of detail within a label already drawn there."""
        self._color.ellipse(_box(centre, rx, ry), fill=self.ink(rgb, z))

    def stroke(
        self, points: Sequence[Point], width: float, rgb: Sequence[float], z: float, label: int
    ) -> None:
        """A line `width` pixels wide on both surfaces."""
        w = max(1, round(width))
        self._color.line(points, fill=self.ink(rgb, z), width=w)
        self._aux.line(points, fill=(label, 0, 0), width=w)

    def scratch(
        self, points: Sequence[Point], width: float, rgb: Sequence[float], z: float
    ) -> None:
        """A line of detail within a label already drawn there."""
        self._color.line(points, fill=self.ink(rgb, z), width=max(1, round(width)))

    def limb(
        self,
        a: Point,
        b: Point,
        wide_a: float,
        wide_b: float,
        rgb: Sequence[float],
        z: float,
        label: int,
    ) -> None:
        """A straight tapering bar with rounded joints, for arms, legs, trunks and boughs."""
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length / 2, dx / length / 2
        points = [
            (a[0] + nx * wide_a, a[1] + ny * wide_a),
            (b[0] + nx * wide_b, b[1] + ny * wide_b),
            (b[0] - nx * wide_b, b[1] - ny * wide_b),
            (a[0] - nx * wide_a, a[1] - ny * wide_a),
        ]
        self.fill(points, rgb, z, label)
        if wide_b > 3:
            self.disc(b, wide_b / 2, wide_b / 2, rgb, z, label)

    def shade(self, points: Sequence[Point], strength: int = 255) -> None:
        """Mark ground that the sun does not reach."""
        self._shadow.polygon(points, fill=strength)

    def shade_disc(self, centre: Point, rx: float, ry: float, strength: int) -> None:
        """Mark an elliptical patch of ground that the sun does not reach."""
        self._shadow.ellipse(_box(centre, rx, ry), fill=strength)

    def press(self, points: Sequence[Point], strength: int) -> None:
        """Darken ground right under an object."""
        self._contact.polygon(points, fill=strength)

    def press_disc(self, centre: Point, rx: float, ry: float, strength: int) -> None:
        """Darken an elliptical patch right under an object."""
        self._contact.ellipse(_box(centre, rx, ry), fill=strength)

    def lamp(self, x: float, y: float, z: float, reach: float, power: float, rgb: Color) -> None:
        """Register a light that brightens the ground within `reach` metres and a halo."""
        self.lamps.append((x, y, z, reach, power, rgb))

    def stamp(
        self,
        tone: Image.Image,
        mask: Image.Image,
        centre: Point,
        size: tuple[float, float],
        ramp: np.ndarray,
        z: float,
        label: int,
    ) -> None:
        """Paste a sprite: `tone` (L) looks up colors in `ramp` ([256, 3]); `mask` cuts it out.

        centre, size: in canvas pixels.
        """
        w, h = max(2, round(size[0])), max(2, round(size[1]))
        left, top = round(centre[0] - w / 2), round(centre[1] - h / 2)
        if left >= self.color.width or top >= self.color.height or left + w <= 0 or top + h <= 0:
            return
        # Only the part on the canvas is resized: near trees can be far larger than that.
        x0, y0 = max(0, -left), max(0, -top)
        x1, y1 = min(w, self.color.width - left), min(h, self.color.height - top)
        kx, ky = tone.width / w, tone.height / h
        box = (x0 * kx, y0 * ky, x1 * kx, y1 * ky)
        left, top, w, h = left + x0, top + y0, x1 - x0, y1 - y0
        small = tone.resize((w, h), Image.Resampling.BILINEAR, box)
        # A hard edge, so that colors and labels are cut along the same pixels.
        cut = mask.resize((w, h), Image.Resampling.BILINEAR, box).point(_HARD)
        air = self.ink((0, 0, 0), z)[3]
        bands = [small.point([int(v) for v in ramp[:, c]]) for c in range(3)]
        patch = Image.merge("CMYK", (*bands, Image.new("L", (w, h), air)))
        self.color.paste(patch, (left, top), cut)
        self.aux.paste((label, 0, 0), (left, top, left + w, top + h), cut)


_HARD = [0] * 110 + [255] * 146


def _box(centre: Point, rx: float, ry: float) -> list[float]:
    return [centre[0] - rx, centre[1] - ry, centre[0] + rx, centre[1] + ry]
