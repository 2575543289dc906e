"""Hour, weather and season of a scene, and the sky that goes with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import Camera, Color, mix

# Per hour: sky at the zenith, half way and at the horizon, sunlight, ambient light,
# share of the sun's height, chance of a lit window.
_HOURS = {
    "dawn": (
        (104, 138, 190),
        (206, 186, 196),
        (255, 214, 172),
        (0.72, 0.52, 0.36),
        (0.60, 0.61, 0.72),
        (0.28, 0.42),
        0.12,
    ),
    "noon": (
        (52, 112, 196),
        (112, 168, 224),
        (200, 224, 240),
        (0.66, 0.63, 0.55),
        (0.52, 0.56, 0.64),
        (0.75, 1.4),
        0.0,
    ),
    "golden": (
        (92, 136, 190),
        (206, 192, 172),
        (255, 208, 132),
        (0.92, 0.62, 0.30),
        (0.52, 0.50, 0.55),
        (0.30, 0.5),
        0.06,
    ),
    "dusk": (
        (42, 54, 108),
        (126, 94, 140),
        (246, 150, 100),
        (0.10, 0.06, 0.05),
        (0.46, 0.42, 0.54),
        (0.25, 0.3),
        0.38,
    ),
    "night": (
        (10, 16, 42),
        (24, 34, 70),
        (74, 70, 96),
        (0.06, 0.07, 0.09),
        (0.31, 0.33, 0.45),
        (0.6, 0.9),
        0.46,
    ),
}
_HOUR_ODDS = (0.13, 0.37, 0.22, 0.14, 0.14)
_WEATHERS = ("clear", "cloudy", "overcast", "fog", "rain")
_WEATHER_ODDS = (0.37, 0.32, 0.12, 0.08, 0.11)


@dataclass(frozen=True)
class Mood:
    """Light and air of a scene. Colors 0..255, lights as factors on surface colors."""

    hour: str
    weather: str
    season: str
    sky: tuple[Color, Color, Color]
    sun: Color
    ambient: Color
    sun_dir: tuple[float, float, float]
    cover: float
    air: Color
    haze: float
    lit_share: float
    wet: float
    dark: bool

    def light(self, nx: float, ny: float, nz: float) -> Color:
        """Light on a surface with this normal (x, y, z)."""
        x, y, z = self.sun_dir
        direct = max(0.0, nx * x + ny * y + nz * z)
        open_sky = 0.90 + 0.12 * ny
        a, s = self.ambient, self.sun
        return (
            a[0] * open_sky + s[0] * direct,
            a[1] * open_sky + s[1] * direct,
            a[2] * open_sky + s[2] * direct,
        )

    @property
    def ambient_glass(self) -> Color:
        """What a window pane mirrors: the sky half way up."""
        return mix(self.sky[1], self.sky[0], 0.35)

    def shadow_shift(self) -> tuple[float, float]:
        """How far (x, z) the shadow of a point falls per metre of its height."""
        x, y, z = self.sun_dir
        y = max(y, 0.22)
        return (-x / y, -z / y)


def make_mood(rng: np.random.Generator) -> Mood:
    """Draw hour, weather and season."""
    hour = str(rng.choice(list(_HOURS), p=_HOUR_ODDS))
    weather = str(rng.choice(_WEATHERS, p=_WEATHER_ODDS))
    season = str(rng.choice(("spring", "summer", "summer", "autumn")))
    zenith, middle, low, sun, ambient, heights, lit_share = _HOURS[hour]
    height = float(rng.uniform(*heights))
    side = float(rng.choice((-1.0, 1.0)))
    azimuth = side * float(rng.uniform(0.35, 1.25))  # from straight ahead
    ahead = float(rng.random()) < (0.7 if hour in ("dawn", "golden", "dusk") else 0.35)
    turn = azimuth if ahead else math.pi - azimuth
    flat = math.cos(height)
    sun_dir = (flat * math.sin(turn), math.sin(height), flat * math.cos(turn))

    warm = float(rng.uniform(-10, 10))
    sky = [mix(c, (c[0] + warm, c[1], c[2] - warm), 1.0) for c in (zenith, middle, low)]
    level = sum(middle) / 3.0
    cover, haze, wet = float(rng.uniform(0.0, 0.22)), float(rng.uniform(0.0010, 0.0022)), 0.0
    sun_k, ambient_k = 1.0, 1.0
    if weather == "cloudy":
        cover, sun_k, ambient_k = float(rng.uniform(0.42, 0.68)), 0.85, 1.03
    elif weather in ("overcast", "rain"):
        grey = (level * 1.02 + 4, level * 1.06 + 5, level * 1.12 + 8)
        dim = 0.86 if weather == "rain" else 1.02
        sky = [
            mix(c, (grey[0] * g * dim, grey[1] * g * dim, grey[2] * g * dim), 0.86)
            for c, g in zip(sky, (0.86, 1.0, 1.14), strict=True)
        ]
        cover, sun_k, ambient_k = 0.95, 0.12, 1.42
        haze = float(rng.uniform(0.0022, 0.0040))
        if weather == "rain":
            ambient_k, haze, wet = 1.22, float(rng.uniform(0.0035, 0.0065)), 1.0
            lit_share = max(lit_share, 0.20)
    elif weather == "fog":
        veil = mix(middle, (level, level, level), 0.6)
        veil = mix(veil, low, 0.25)
        sky = [mix(c, veil, t) for c, t in zip(sky, (0.72, 0.88, 0.96), strict=True)]
        cover, sun_k, ambient_k = 0.0, 0.22, 1.28
        haze = float(rng.uniform(0.013, 0.026))
        lit_share = max(lit_share, 0.10)
    if hour in ("dusk", "night"):
        wet = max(wet, 0.35 * float(rng.random() < 0.3))
    air = mix(sky[2], sky[1], 0.45)
    if weather == "fog":
        air = mix(sky[2], sky[1], 0.3)
    return Mood(
        hour=hour,
        weather=weather,
        season=season,
        sky=(sky[0], sky[1], sky[2]),
        sun=(sun[0] * sun_k, sun[1] * sun_k, sun[2] * sun_k),
        ambient=(ambient[0] * ambient_k, ambient[1] * ambient_k, ambient[2] * ambient_k),
        sun_dir=sun_dir,
        cover=cover,
        air=air,
        haze=haze,
        lit_share=lit_share,
        wet=wet,
        dark=hour in ("dusk", "night"),
    )


def noise_table(rng: np.random.Generator, slope: float = 1.6) -> np.ndarray:
    """Cloudy noise that repeats without a seam: float32 [256, 256], mean 0, deviation 1."""
    size = 256
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    fy = np.fft.fftfreq(size)[:, None]
    fx = np.fft.rfftfreq(size)[None, :]
    power = np.hypot(fy, fx)
    power[0, 0] = 1.0
    white *= power**-slope
    white[0, 0] = 0.0
    field = np.fft.irfft2(white, s=(size, size))
    return (field / field.std()).astype(np.float32)


def sample(table: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear look-up in a repeating square table (side a power of two); x and y in cells."""
    size = table.shape[0]
    wrap = size - 1  # the side is a power of two
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    ix, iy = x0.astype(np.int32), y0.astype(np.int32)
    jx, jy = (ix + 1) & wrap, ((iy + 1) & wrap) * size
    ix, iy = ix & wrap, (iy & wrap) * size
    flat = table.ravel()
    top, low = flat.take(iy + ix), flat.take(jy + ix)
    top += (flat.take(iy + jx) - top) * fx
    low += (flat.take(jy + jx) - low) * fx
    return top + (low - top) * fy


def paint_sky(
    mood: Mood, cam: Camera, width: int, height: int, rng: np.random.Generator, table: np.ndarray
) -> np.ndarray:
    """The sky as uint8 [height, width, 3]; `cam` in pixels of this picture."""
    rows = min(height, math.ceil(cam.horizon) + 2)
    v = np.arange(rows, dtype=np.float32) + 0.5
    u = np.arange(width, dtype=np.float32) + 0.5
    up = np.clip((cam.horizon - v) / cam.focal, 0.0, None)  # tangent of the elevation
    t = np.clip(up / 0.55, 0, 1)
    stops = np.array([mood.sky[2], mood.sky[1], mood.sky[0]], np.float32)
    column = np.stack([np.interp(t, (0.0, 0.42, 1.0), stops[:, c]) for c in range(3)], axis=-1)
    sky = np.repeat(column[:, None, :].astype(np.float32), width, axis=1)
    across = (u[None, :] - cam.centre_x) / cam.focal

    if mood.hour == "night" and mood.weather in ("clear", "cloudy"):
        _stars(sky, rng, mood)
    sun_x, sun_y, sun_z = mood.sun_dir
    if sun_z > 0.05:
        # Distance from the sun (or moon) on the picture plane, in focal lengths.
        far = np.hypot(across - sun_x / sun_z, up[:, None] - sun_y / sun_z)
        clear = 1.0 - 0.85 * float(mood.weather in ("overcast", "rain", "fog"))
        if mood.hour == "night":
            disc = np.clip((0.030 - far) * 160, 0, 1) * clear
            halo = np.exp(-far / 0.10) * 0.20 * clear
            sky += disc[..., None] * (np.array((236, 236, 220), np.float32) - sky)
            sky += halo[..., None] * np.array((120, 130, 160), np.float32)
        else:
            warm = np.array(mix((255, 250, 232), mood.sky[2], 0.25), np.float32)
            halo = np.clip(np.exp(-far / 0.22) * 0.62 * clear, 0, 1)
            disc = np.clip((0.035 - far) * 120, 0, 1) * clear * float(mood.hour != "dusk")
            sky += np.maximum(halo, disc)[..., None] * (warm - sky)
    if mood.cover > 0.02:
        _clouds(sky, mood, up, across, rng, table)
    full = np.empty((height, width, 3), np.float32)
    full[:rows] = sky
    full[rows:] = mood.sky[2]
    full += rng.uniform(-0.8, 0.8, (height, width, 1))  # hides banding in smooth gradients
    return np.clip(full, 0, 255).astype(np.uint8)


def _stars(sky: np.ndarray, rng: np.random.Generator, mood: Mood) -> None:
    rows, width = sky.shape[:2]
    count = 90 if mood.weather == "clear" else 40
    x, y, power = rng.random(count), rng.random(count) ** 1.3, rng.random(count) ** 3
    iy = np.minimum((y * rows * 0.85).astype(int), rows - 1)
    ix = np.minimum((x * width).astype(int), width - 1)
    sky[iy, ix] += (30 + 150 * power)[:, None] * np.array((0.9, 0.95, 1.0))


def _clouds(
    sky: np.ndarray,
    mood: Mood,
    up: np.ndarray,
    across: np.ndarray,
    rng: np.random.Generator,
    table: np.ndarray,
) -> None:
    # A flat cloud layer seen from below: cells shrink towards the horizon.
    lift = (up + 0.13)[:, None]
    ox, oy = rng.uniform(0, 256, 2)
    size = float(rng.uniform(15, 26))
    x = (across / lift * size + ox).astype(np.float32)
    y = np.broadcast_to(1.0 / lift * size * 0.9 + oy, x.shape).astype(np.float32)
    density = sample(table, x, y)
    toward = math.copysign(2.2, mood.sun_dir[0])
    shade = density - sample(table, x + toward, y - 1.6)
    edge = 1.25 - 2.5 * mood.cover
    soft = 0.55 if mood.weather != "overcast" else 1.6
    cover = np.clip((density - edge) / soft, 0, 1)
    cover = cover * cover * (3 - 2 * cover)
    low, middle, zenith = (np.array(c, np.float32) for c in (mood.sky[2], mood.sky[1], mood.sky[0]))
    if mood.weather in ("overcast", "rain"):
        sky *= (1.0 + 0.05 * np.clip(density, -2, 2) + 0.05 * np.clip(shade, -2, 2))[..., None]
        return
    bright = {
        "noon": np.array((255, 255, 255), np.float32),
        "dawn": np.array((255, 226, 206), np.float32),
        "golden": np.array((255, 226, 182), np.float32),
        "dusk": np.array((232, 138, 118), np.float32),
        "night": np.array((46, 50, 70), np.float32),
    }[mood.hour]
    base = 0.5 * middle + 0.5 * (0.5 * zenith + 0.5 * np.mean(middle))
    core = np.clip(0.62 + 0.55 * shade - 0.16 * (density - edge), 0, 1)[..., None]
    tone = base + (bright - base) * core
    far = np.exp(-up / 0.05)[:, None, None]  # thin towards the horizon, where air hides them
    tone = tone + (low - tone) * np.clip(far * 0.9, 0, 1)
    sky += (cover * 0.92)[..., None] * (tone - sky)
