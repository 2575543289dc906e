"""Latents of images for a prior that is there already, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .batches import read_batches
from .build import BuildCancelled, encoded_batch
from .options import BuildOptions
from .reading import LabelledDataset, Stacked


@dataclass(frozen=True)
class EncodedBatch:
    """Some images with their latents.

    Attributes:
        indices: in the dataset.
        latents: float32 [N, C, h, w] in raw VAE units, on the CPU.
        read: what was read of them; with soft labels, if these were asked for.
    """

    indices: list[int]
    latents: Tensor
    read: Stacked


def encode_items(
    dataset: LabelledDataset,
    encode: Callable[[Tensor], Tensor],
    options: BuildOptions,
    indices: Sequence[int],
    *,
    soft: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    cancelled: Callable[[], bool] = lambda: False,
    skipped: Callable[[str, str], None] = lambda _name, _reason: None,
) -> Iterator[EncodedBatch]:
    """Encode these items, each once.

    Arguments and errors are those of `build_prior`; `soft` asks for soft labels as well.
    """
    size, done = options.batch_size, 0
    batches = [indices[start : start + size] for start in range(0, len(indices), size)]

    def look() -> None:
        if cancelled():
            raise BuildCancelled(f"cancelled after {done} of {len(indices)} images")

    progress(done, len(indices))
    with read_batches(dataset, options, batches, look, indices if soft else ()) as reading:
        for batch in reading:
            if batch.stacked:
                with torch.no_grad():
                    latents = encoded_batch(encode, batch.stacked, options.downscale_factor)
                latents = latents.detach().to("cpu", torch.float32)
                yield EncodedBatch(batch.indices, latents, batch.stacked)
            for name, reason in batch.left_out:
                skipped(name, reason)
            done += batch.count
            progress(done, len(indices))
