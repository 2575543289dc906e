"""The published procedure, as the baseline: written from its description, sharing no code with it.

Three passes over the images. The categorical one encodes an image once for each class that it
holds and takes one random cell of that class; the spatial and the joint one encode it once more
each. All latents of a pass stay in memory, and an item is read again whenever it is used again.

Where the description leaves a choice, the cheaper one is taken: an image is used once a pass (the
published code draws as many, with replacement), which images hold a class is known beforehand,
"unlabelled" is no class, images are encoded in batches, and files are read ahead by the same
reader as ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from prior_tools.building.reading import GridItems, read_in_processes, stack_batch
from prior_tools.datasets.dataset import PairDataset


@dataclass(frozen=True)
class PublishedPrior:
    """Moments as the published files hold them, in raw VAE units.

    Attributes:
        class_mean, class_std: by class id, [C].
        spatial_mean, spatial_std: [C, h, w].
        joint_mean, joint_std, joint_count: by class id, [C, h, w] and [h, w].
    """

    class_mean: dict[int, Tensor]
    class_std: dict[int, Tensor]
    spatial_mean: Tensor
    spatial_std: Tensor
    joint_mean: dict[int, Tensor]
    joint_std: dict[int, Tensor]
    joint_count: dict[int, Tensor]


def classes_of(dataset: PairDataset) -> list[list[int]]:
    """The classes that each image holds at a corner pixel of an 8x8 block, without ignored ones."""
    items = GridItems(dataset, 8, "nearest")
    held = (items[i][1].unique().tolist() for i in range(len(dataset)))
    return [[k for k in ids if k >= 0 and k not in dataset.ignore_ids] for ids in held]


def encodes_by_definition(held: Sequence[Sequence[int]]) -> int:
    """How often the procedure encodes an image: once for each class it holds, then twice."""
    return sum(len(classes) + 2 for classes in held)


def build_as_published(
    dataset: PairDataset,
    encode: Callable[[Tensor], Tensor],
    held: Sequence[Sequence[int]],
    *,
    batch_size: int,
    workers: int,
    seed: int = 0,
) -> PublishedPrior:
    """The three passes.

    Args:
        dataset: pairs at one size.
        encode: images float32 [N, H, W, 3] in 0..1 to latents [N, C, h, w].
        held: see `classes_of`.
        batch_size: images at once.
        workers: processes that read.
        seed: of the random cells.
    """
    items = GridItems(dataset, 8, "nearest")

    def encoded(indices: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Latent [C, h, w] and labels [h, w] of each image, in order."""
        ahead = 2 * batch_size + workers
        with read_in_processes(items, indices, workers, ahead) as read:
            while batch := list(islice(read, batch_size)):
                images, labels, *_ = stack_batch(batch)
                yield from zip(encode(images), labels, strict=True)

    classes = sorted({k for ids in held for k in ids})
    images_of = {k: [i for i, ids in enumerate(held) if k in ids] for k in classes}
    generator = torch.Generator().manual_seed(seed)
    latents = encoded([i for k in classes for i in images_of[k]])
    class_mean, class_std = {}, {}
    for k in classes:
        in_memory = list(islice(latents, len(images_of[k])))
        cells = []
        for latent, labels in in_memory:
            at = (labels == k).flatten().nonzero().squeeze(1)
            chosen = at[torch.randint(len(at), (1,), generator=generator)]
            cells.append(latent.flatten(1)[:, chosen].squeeze(1))
        class_mean[k] = torch.stack(cells).mean(0)
        class_std[k] = torch.stack(cells).std(0, correction=0)

    everything = range(len(dataset))
    stacked = torch.stack([latent for latent, _ in encoded(everything)])
    spatial_mean, spatial_std = stacked.mean(0), stacked.std(0, correction=0)

    in_memory = list(encoded(everything))
    stacked = torch.stack([latent for latent, _ in in_memory])
    labels = torch.stack([labels for _, labels in in_memory])
    joint_mean, joint_std, joint_count = {}, {}, {}
    for k in classes:
        held_here = (labels == k).unsqueeze(1)
        count = held_here.sum(0)
        mean = (stacked * held_here).sum(0) / count.clamp(min=1)
        square = ((stacked - mean).square() * held_here).sum(0) / count.clamp(min=1)
        joint_mean[k], joint_std[k], joint_count[k] = mean, square.sqrt(), count[0]
    return PublishedPrior(
        class_mean, class_std, spatial_mean, spatial_std, joint_mean, joint_std, joint_count
    )
