"""Laws of the method that hold on every device: its tensors may come from one, and say the same.

Each check gives the largest difference between device and CPU, which may be at most its bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.sd_encoder import random_encoder
from demo.scenes import generate_scene
from prior_tools import (
    PRIOR_MODES,
    Prior,
    PriorAccumulator,
    coverage,
    draw_prior_sample,
    labels_on_grid,
    partial_schedule,
    resize_labels,
    sigma_of_noise,
    stable_diffusion_noise,
)
from prior_tools.moments import combine
from prior_tools.schedule import below_maximum

GRID = (12, 20)
CLASSES = 5


@dataclass(frozen=True)
class Law:
    """One law as it was found.

    Attributes:
        says: the law.
        difference: the largest between device and CPU; infinite where it could not be run.
        bound: the largest that is allowed.
        error: why it could not be run.
    """

    says: str
    difference: float
    bound: float
    error: str = ""

    @property
    def holds(self) -> bool:
        """Also false for NaN."""
        return self.difference <= self.bound


def check_laws(device: str) -> list[Law]:
    """All laws on this device. One that fails does not keep the others from being tried."""
    found = []
    for says, bound, differ in _LAWS:
        try:
            found.append(Law(says, differ(device), bound))
        except (RuntimeError, ValueError, TypeError) as error:
            found.append(Law(says, float("inf"), bound, str(error).partition("\n")[0]))
    return found


def _latents(count: int = 6) -> Tensor:
    return torch.randn(count, 4, *GRID, generator=torch.Generator().manual_seed(1))


def _labels(count: int = 6, scale: int = 1) -> Tensor:
    """Ids 0..CLASSES - 1, and -1."""
    size = (count, *(side * scale for side in GRID))
    return torch.randint(-1, CLASSES, size, generator=torch.Generator().manual_seed(2))


def _prior(latents: Tensor, labels: Tensor) -> Prior:
    state = PriorAccumulator(4, GRID)
    for part in range(0, len(latents), 2):
        state.update(latents[part : part + 2], labels[part : part + 2])
    return state.finalize()


def _farthest(here: Prior, there: Prior) -> float:
    names = ("joint_mean", "joint_std", "joint_count", "spatial_mean", "spatial_std")
    names += ("class_mean", "class_std", "class_image_count", "class_ids")
    return max(_apart(getattr(here, name), getattr(there, name)) for name in names)


def _apart(here: Tensor, there: Tensor) -> float:
    if here.shape != there.shape:
        return float("inf")
    return float((here.cpu().double() - there.cpu().double()).abs().max())


def _moments(device: str) -> float:
    ours = _prior(_latents(), _labels())
    return _farthest(ours, _prior(_latents().to(device), _labels().to(device)))


def _half_moments(device: str) -> float:
    latents = _latents().bfloat16()
    return _farthest(_prior(latents, _labels()), _prior(latents.to(device), _labels()))


def _merged(device: str) -> float:
    groups = [_latents().double().flatten(2), _latents(3).double().flatten(2)]

    def united(on: str) -> Tensor:
        parts: list[Tensor] = []
        for group in (g.to(on) for g in groups):
            count = torch.full_like(group[0], len(group))
            mean = group.mean(0)
            parts += [count, mean, (group - mean).square().sum(0)]
        return torch.stack(combine(*parts))

    return _apart(united("cpu"), united(device))


def _latents_of_pictures(device: str) -> float:
    sides = (8 * side for side in GRID)
    images = torch.rand(6, 3, *sides, generator=torch.Generator().manual_seed(3)) * 2 - 1
    encoder = random_encoder(32)
    # TF32 would round the factors of products to ten bits.
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        ours = _prior(encoder(images), _labels())
        theirs = _prior(encoder.to(device)(images.to(device)), _labels().to(device))
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    return _farthest(ours, theirs)


def _grids(device: str) -> float:
    labels = _labels(scale=3)
    found = [
        _apart(resize_labels(labels, grid, way), resize_labels(labels.to(device), grid, way))
        for way in ("majority", "nearest")
        for grid in (GRID, (7, 9), (50, 80))
    ]
    return max(found)


def _label_images(device: str) -> float:
    colors = torch.from_numpy(generate_scene(3, 96, 64).label_colors.copy())[None]
    floats = colors.float() / 255
    want = labels_on_grid(colors, "cityscapes")
    given = (colors, floats, floats.half())
    return max(_apart(want, labels_on_grid(one.to(device), "cityscapes")) for one in given)


def _draws(device: str) -> float:
    prior, found = _prior(_latents(), _labels()), []
    for mode in PRIOR_MODES:
        for grid in (GRID, (7, 9), (20, 30)):
            labels = resize_labels(_labels(2), grid)
            ours = draw_prior_sample(prior, labels, mode, seed=7)
            found.append(_apart(ours, draw_prior_sample(prior, labels.to(device), mode, seed=7)))
    return max(found)


def _covered(device: str) -> float:
    prior, labels = _prior(_latents(), _labels()), _labels(2) + 1
    return 0.0 if coverage(prior, labels) == coverage(prior, labels.to(device)) else float("inf")


def _generators(device: str) -> float:
    def states() -> list[Tensor]:
        of_device = [torch.cuda.get_rng_state(device)] if device.startswith("cuda") else []
        return [torch.get_rng_state(), *of_device]

    before = states()
    draw_prior_sample(_prior(_latents(), _labels()), _labels(2).to(device), seed=7)
    return max(_apart(a, b) for a, b in zip(before, states(), strict=True))


def _schedules(device: str) -> float:
    sigmas = torch.linspace(14.6, 0, 21)
    found = []
    for start in (14.6, 5.0917, 0.4):
        ours = partial_schedule(sigmas, start)
        theirs = partial_schedule(sigmas.to(device), start)
        if theirs.device.type != torch.device(device).type:
            raise RuntimeError(f"the schedule came back on {theirs.device}")
        found.append(_apart(ours, theirs))
    found.append(_apart(below_maximum(sigmas, 14.6), below_maximum(sigmas.to(device), 14.6)))
    return max(found)


def _noise_levels(device: str) -> float:
    def start(on: str) -> float:
        def gains(sigma: float) -> tuple[float, float]:
            at = torch.tensor(sigma, dtype=torch.float64, device=on)
            return float(1 - at), float(at)

        return sigma_of_noise(gains, stable_diffusion_noise(0.8), 1.0)

    return abs(start("cpu") - start(device))


# The law, the largest difference allowed, and what finds it.
_LAWS: tuple[tuple[str, float, Callable[[str], float]], ...] = (
    ("moments of float32 latents and of labels on the device", 0.0, _moments),
    ("moments of bfloat16 latents on the device", 0.0, _half_moments),
    ("united moments, computed on the device in float64", 1e-12, _merged),
    ("moments of latents that the device encoded in float32", 1e-3, _latents_of_pictures),
    ("labels to grids by majority and by nearest pixel", 0.0, _grids),
    ("label images in bytes, float32 and float16 to ids on the grid", 0.0, _label_images),
    ("draws in every mode on the prior's and other grids", 0.0, _draws),
    ("coverage", 0.0, _covered),
    ("draws leave the generators of CPU and device alone", 0.0, _generators),
    ("schedules cut at a start, which stay on the device", 0.0, _schedules),
    ("the sigma of a noise level, by gains from the device", 1e-12, _noise_levels),
)
