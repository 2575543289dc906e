"""A small segmentation net that judges whether pictures follow their label maps."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.training.images import as_floats
from demo.training.loop import Plan, train
from prior_tools.atomic import write_bytes
from prior_tools.utility.net import SmallNet

STEPS, BATCH, RATE = 2600, 8, 2e-3
EYES_STEPS = 1500
IGNORED = 255


def segmenter(classes: int) -> SmallNet:
    """The net that `utility` trains, with a block more in the middle."""
    return SmallNet(classes, middle=3)


def train_segmenter(
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    folder: Path,
    name: str = "segmenter",
    steps: int = STEPS,
    bfloat16: bool = False,
) -> SmallNet:
    """Train on images uint8 [N, H, W, 3] and labels uint8 [N, H, W]; 255 is left out."""
    torch.manual_seed(0)
    net = segmenter(classes).to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> Tensor:
        picked = torch.randint(len(images), (BATCH,), generator=generator).tolist()
        given, wanted = as_floats(images[picked]), torch.from_numpy(labels[picked]).long()
        if torch.rand((), generator=generator) < 0.5:
            given, wanted = given.flip(-1), wanted.flip(-1)
        scores = net(_worn(given, generator))
        return F.cross_entropy(scores.float(), wanted, ignore_index=IGNORED)

    train(net, Plan(name, steps, RATE, loss, bfloat16=bfloat16), folder)
    return net


def save_segmenter(net: nn.Module, path: Path) -> None:
    """Write it as TorchScript, which `evaluate` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    net = net.to(memory_format=torch.contiguous_format)
    # Traced: scripted, a reversed list of modules gives the last of them three times.
    traced = torch.jit.trace(net, torch.rand(1, 3, 64, 128))
    other = torch.rand(2, 3, 96, 64)
    if not torch.allclose(traced(other), net(other), atol=1e-4):
        raise RuntimeError("the traced net differs from the trained one at another size")
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    write_bytes(path, _without_debugging(buffer.getvalue()))


def _without_debugging(archive: bytes) -> bytes:
    """The same TorchScript without what only traces of errors need, its code compressed."""
    smaller = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as given,
        zipfile.ZipFile(smaller, "w") as kept,
    ):
        for entry in given.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                way = zipfile.ZIP_DEFLATED if "/code/" in entry.filename else zipfile.ZIP_STORED
                new = zipfile.ZipInfo(entry.filename, entry.date_time)
                kept.writestr(new, given.read(entry), way)
    return smaller.getvalue()


def _worn(images: Tensor, generator: torch.Generator) -> Tensor:
    """Some blurred, all with a little noise and another brightness, as generated ones may be."""
    if torch.rand((), generator=generator) < 0.5:
        small = F.avg_pool2d(images, 2)
        images = F.interpolate(small, scale_factor=2.0, mode="bilinear")
    gain = 0.85 + 0.3 * torch.rand((len(images), 3, 1, 1), generator=generator)
    return images * gain + 0.02 * torch.randn(images.shape, generator=generator)
