"""Small priors in files, and what a command says of them, for tests of the command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prior_tools import PALETTES, Prior, PriorAccumulator, save_prior
from prior_tools.cli import main
from prior_tools.vae_fingerprint import fingerprint_weights

GRID = (3, 5)
# Of a prior, without its grain.
TENSORS = (
    "class_ids",
    "joint_mean",
    "joint_std",
    "joint_count",
    "spatial_mean",
    "spatial_std",
    "class_mean",
    "class_std",
    "class_image_count",
)
VAE, OTHER_VAE = (fingerprint_weights({"w": torch.full((9,), float(i))}) for i in (1, 2))
FULL = {
    "latent_format": "sd15",
    "vae": VAE,
    "source_size": (40, 24),
    "dataset_name": "streets",
    "class_names": dict(PALETTES["camvid"].names),
    "palette": PALETTES["camvid"],
}


def batch(seed: int = 0, images: int = 30, classes: int = 6) -> tuple[Tensor, Tensor]:
    """Latents [N, 4, h, w] and labels [N, h, w] of some images."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(images, 4, *GRID, generator=generator) * 5
    return latents, torch.randint(-1, classes, (images, *GRID), generator=generator)


def collected(latents: Tensor, labels: Tensor, **metadata: Any) -> Prior:
    """Their prior."""
    ignored = metadata.pop("ignore_ids", ())
    state = PriorAccumulator(latents.shape[1], latents.shape[2:], ignored)
    state.update(latents, labels)
    return state.finalize(**metadata)


def make(path: Path, seed: int = 0, images: int = 6, **metadata: Any) -> Path:
    """A prior of a `batch` in a file."""
    return save_prior(collected(*batch(seed, images), **metadata), path)


def fails(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one line that a command with wrong input ends in."""
    assert main([str(a) for a in argv]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    assert printed.err.startswith(f"{argv[0]}: error: ")
    return printed.err


def succeeds(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """What a command prints that ends well."""
    assert main([str(a) for a in argv]) == 0
    return capsys.readouterr().out


def published(folder: Path, std: float = 0.5) -> list[Path]:
    """A joint and a categorical file in the published layout, classes 0 to 3, three images."""
    shape = (256, 4, *GRID)
    mean, count = np.zeros(shape, np.float32), np.zeros((256, 1, *GRID), np.float32)
    mean[:3], count[:3] = 0.5, 1
    entry = {"mean": np.full(4, 0.25, np.float32), "std": np.full(4, std, np.float32)}
    contents = {
        "x_spatial_class_mean_std.npy": {"mean": mean, "std": mean.copy(), "count": count},
        "x_categorical_mean_std.npy": dict.fromkeys(range(4), entry),
    }
    for name, content in contents.items():
        np.save(folder / name, np.array(content, dtype=object))
    return [folder / name for name in contents]
