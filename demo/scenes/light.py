"""From the painted surfaces to the finished picture: texture, shadow, lamps, wet, haze, grain."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from .canvas import BUILDING, ROAD, SIDEWALK, SKY, TERRAIN, VEGETATION, Camera, Canvas
from .ground import Street
from .mood import Mood, sample

# How strongly the ground noise shows, per label: (patches, speckle).
_GROUND_NOISE = {ROAD: (0.045, 0.035), SIDEWALK: (0.035, 0.028), TERRAIN: (0.10, 0.11)}
_SURFACE_NOISE = {BUILDING: 0.020, VEGETATION: 0.03}


def finish(
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    street: Street,
    table: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The picture (uint8 [H, W, 3]) and the labels (uint8 [H, W])."""
    scale, height, width = canvas.scale, canvas.height, canvas.width
    half = scale // 2
    labels = np.ascontiguousarray(np.asarray(canvas.aux)[half::scale, half::scale, 0])
    painted = np.asarray(canvas.color.reduce(scale))
    rgb = painted[..., :3].astype(np.float32)
    haze = painted[..., 3].astype(np.float32) / 255.0
    aux = np.asarray(canvas.aux.reduce(scale)).astype(np.float32) / 255.0
    glow, cover = aux[..., 1], aux[..., 2]

    # World position of every ground pixel; rows above the horizon get the farthest one.
    v = (np.arange(height, dtype=np.float32) + 0.5) * scale
    u = (np.arange(width, dtype=np.float32) + 0.5) * scale
    first = max(0, min(height - 1, int(np.ceil(cam.horizon / scale))))
    drop = np.maximum(v[first:] - cam.horizon, 0.4)
    gz = (cam.focal * cam.eye_y / drop)[:, None]
    gx = cam.eye_x + (u[None, :] - cam.centre_x) / cam.focal * gz

    low = slice(first, height)
    rgb[low] *= _ground_tone(labels[low], cover[low], gx, gz, street, table)[..., None]
    _surface_tone(rgb, labels, table)
    _shadows(rgb, canvas, mood, cover)
    if canvas.lamps:
        _lamps(rgb, canvas, cam, mood, labels)
    wet = mood.wet
    if wet:
        _mirror(rgb, labels, cover, wet, gz, gx, first, table)

    # Ground haze follows the row; everything else was painted with its own depth.
    row = np.zeros((height, 1), np.float32)
    row[low] = 1.0 - np.exp(-canvas.haze * np.minimum(gz, 400.0))
    haze = haze * (1 - cover) + row * cover
    air = np.array(mood.air, np.float32)
    rgb += haze[..., None] * (air - rgb)
    _bloom(rgb, glow, labels, mood)
    _grade(rgb, mood, rng, width, height)
    return np.clip(rgb + 0.5, 0, 255).astype(np.uint8), labels


def _ground_tone(
    labels: np.ndarray,
    cover: np.ndarray,
    gx: np.ndarray,
    gz: np.ndarray,
    street: Street,
    table: np.ndarray,
) -> np.ndarray:
    """Factor on the ground's color: patches of some metres, and a speckle near by."""
    z = np.broadcast_to(gz, gx.shape)
    patches = sample(table, gx * 5.0, z * 2.5)
    near = np.clip(14.0 / z, 0, 1.0)
    speckle = sample(table, gx * 47.0 + 31, z * 29.0 + 7)
    speckle = np.clip(speckle - 0.6 * patches, -2, 2)
    a, b = np.zeros(256, np.float32), np.zeros(256, np.float32)
    for label, (coarse, fine) in _GROUND_NOISE.items():
        a[label], b[label] = coarse, fine
    tone = a[labels] * np.clip(patches, -2.2, 2.2) + b[labels] * speckle * near
    if street.cobbles:
        # Setts in rows, every other row shifted by half a stone.
        along = z / 0.16
        rows = np.floor(along)
        across = gx / 0.22 + 0.5 * (rows % 2)
        joint = (np.abs(along - rows - 0.5) > 0.40) | (np.abs(across % 1.0 - 0.5) > 0.41)
        stone = np.sin(rows * 12.9898 + np.floor(across) * 78.233) * 43758.5
        stone = stone - np.floor(stone) - 0.5
        fade = np.clip(9.0 / z - 0.35, 0, 1)
        tone += (labels == ROAD) * fade * (0.16 * stone - 0.20 * joint)
    return 1.0 + tone * cover


def _surface_tone(rgb: np.ndarray, labels: np.ndarray, table: np.ndarray) -> None:
    """Faint stains on walls and leaves, in picture space."""
    height, width = labels.shape
    step = 4
    reach = 190.0 * step / width
    y, x = np.mgrid[0 : -(-height // step), 0 : -(-width // step)].astype(np.float32)
    coarse = np.clip(sample(table, x * reach * 1.4, y * reach * 0.7 + 90), -2, 2)
    noise = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    amount = np.zeros(256, np.float32)
    for label, a in _SURFACE_NOISE.items():
        amount[label] = a
    rgb *= (1.0 + amount[labels] * noise)[..., None]


def _soft(image: Image.Image, scale: int, radius: float) -> np.ndarray:
    small = image.reduce(scale).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(small).astype(np.float32) / 255.0


def _shadows(rgb: np.ndarray, canvas: Canvas, mood: Mood, cover: np.ndarray) -> None:
    """Take the sun from shaded ground and dim what lies right under objects."""
    unit = canvas.width / 512.0
    sun = np.array(mood.sun, np.float32) * mood.sun_dir[1]
    ambient = np.array(mood.ambient, np.float32)
    left = ambient / (ambient + sun)
    soft = 0.9 if mood.weather in ("clear", "cloudy") else 2.5
    shade = _soft(canvas.shadow, canvas.scale, soft * unit) * cover
    rgb *= 1.0 + shade[..., None] * (left - 1.0)
    press = _soft(canvas.contact, canvas.scale, 1.3 * unit) * cover
    rgb *= (1.0 - press)[..., None]


def _lamps(
    rgb: np.ndarray,
    canvas: Canvas,
    cam: Camera,
    mood: Mood,
    labels: np.ndarray,
) -> None:
    """Light pools on the ground and a halo around each lamp, at a quarter of the size."""
    step = 4
    height, width = labels.shape
    gain = np.zeros((-(-height // step), -(-width // step), 3), np.float32)
    v = (np.arange(gain.shape[0], dtype=np.float32) * step + step / 2)[:, None] * canvas.scale
    u = (np.arange(gain.shape[1], dtype=np.float32) * step + step / 2)[None, :] * canvas.scale
    drop = np.maximum(v - cam.horizon, 0.4)
    z = cam.focal * cam.eye_y / drop
    x = cam.eye_x + (u - cam.centre_x) / cam.focal * z
    below = np.clip((v - cam.horizon) / (6.0 * canvas.scale), 0, 1)
    k = 2.4 if mood.hour == "night" else 0.9
    for lx, ly, lz, reach, power, tone in canvas.lamps:
        pool = np.exp(-((x - lx) ** 2 + (z - lz) ** 2) / (2 * (0.55 * reach) ** 2)) * below
        hu, hv = cam.point(lx, ly, lz)
        size = reach * cam.span(lz) * 0.34
        halo = np.exp(-np.hypot(u - hu, v - hv) / size) * 0.5
        gain += ((pool + halo) * power * k)[..., None] * (np.array(tone, np.float32) / 255.0)
    planes = [
        np.asarray(Image.fromarray(gain[..., c]).resize((width, height), Image.Resampling.BILINEAR))
        for c in range(3)
    ]
    # The air itself takes little of the light: over the sky the bloom does the rest.
    catch = np.where(labels == SKY, 0.12, 1.0).astype(np.float32)[..., None]
    rgb *= 1.0 + np.minimum(np.stack(planes, -1), 4.0) * catch


def _mirror(
    rgb: np.ndarray,
    labels: np.ndarray,
    cover: np.ndarray,
    wet: float,
    gz: np.ndarray,
    gx: np.ndarray,
    first: int,
    table: np.ndarray,
) -> None:
    """Wet ground: each column mirrors what stands on it, about the foot of that object."""
    height, width = labels.shape
    level = (labels == ROAD) | (labels == SIDEWALK) | (labels == TERRAIN)
    rows = np.arange(height)[:, None]
    foot = np.maximum.accumulate(np.where(level, -1, rows), axis=0)
    source = np.clip(2 * foot - rows + 1, 0, height - 1)
    image = np.take_along_axis(rgb, source[..., None], axis=0)
    # Rough water smears the mirrored picture downwards.
    smear = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    tall = max(1, height // 5)
    smear = smear.resize((width, tall), Image.Resampling.BOX)
    smear = smear.resize((width, height), Image.Resampling.BICUBIC)
    image = 0.35 * image + 0.65 * np.asarray(smear).astype(np.float32)
    low = slice(first, height)
    z = np.broadcast_to(gz, gx.shape)
    puddle = np.clip(sample(table, gx * 3.0 + 60, z * 1.6 + 20) * 0.8 + 0.35, 0.10, 1.0)
    grazing = np.clip(0.28 + z / 50.0, 0, 0.75)
    road = (labels[low] == ROAD) * 1.0 + (labels[low] == SIDEWALK) * 0.55
    amount = (wet * 0.62 * puddle * grazing * cover[low] * road)[..., None]
    dark = rgb[low] * (1.0 - 0.22 * wet * cover[low] * (road > 0))[..., None]
    rgb[low] = dark + amount * (image[low] - dark)


def _bloom(rgb: np.ndarray, glow: np.ndarray, labels: np.ndarray, mood: Mood) -> None:
    """Let bright lamps and windows spill a little light around them."""
    if not glow.any():
        return
    height, width = labels.shape
    source = rgb * (glow * (labels != SKY))[..., None]
    small = Image.fromarray(np.clip(source, 0, 255).astype(np.uint8)).reduce(2)
    unit = width / 512.0
    wide = small.filter(ImageFilter.GaussianBlur(5.0 * unit))
    close = small.filter(ImageFilter.GaussianBlur(1.3 * unit))
    size = (width, height)
    k = 1.0 if mood.dark else 0.45
    for image, gain in ((wide, 1.6), (close, 0.55)):
        spread = np.asarray(image.resize(size, Image.Resampling.BILINEAR)).astype(np.float32)
        rgb += spread * (gain * k)


def _grade(rgb: np.ndarray, mood: Mood, rng: np.random.Generator, width: int, height: int) -> None:
    """Contrast, a light vignette, rain streaks, and grain."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    rgb *= (1.0 - 0.10 * (x * x + y * y) ** 1.5)[..., None]
    if mood.weather == "rain":
        small = rng.random((max(2, height // 12), width)).astype(np.float32)
        streak = Image.fromarray(np.where(small > 0.955, 1.0, 0.0).astype(np.float32))
        streak = streak.resize((width, height), Image.Resampling.BILINEAR)
        veil = np.asarray(streak)
        slant = (np.arange(height) * 0.12).astype(int)
        index = (np.arange(width)[None, :] + slant[:, None]) % width
        rgb += (np.take_along_axis(veil, index, axis=1) * (9.0 if mood.dark else 15.0))[..., None]
    # Exposure: half way from what the light gives to what suits the hour.
    wanted = {"dawn": 122.0, "noon": 136.0, "golden": 126.0, "dusk": 100.0, "night": 66.0}
    gain = (wanted[mood.hour] / max(1.0, float(rgb[::4, ::4].mean()))) ** 0.5
    rgb *= min(1.25, max(0.92, gain))
    # A little more color than the plain light model leaves.
    rgb += 0.10 * (rgb - rgb.mean(axis=-1, keepdims=True))
    # A soft shoulder keeps bright walls from burning out.
    knee = 205.0
    over = np.maximum(rgb - knee, 0)
    rgb -= over
    rgb += over / (1.0 + over / 60.0)
    grain = rng.standard_normal((height, width), dtype=np.float32)
    # One field serves twice: shifted copies give the channels a little grain of their own.
    for c, shift in enumerate((3, 17, 41)):
        rgb[..., c] += 2.0 * grain + 0.9 * np.roll(grain, shift, axis=1)
