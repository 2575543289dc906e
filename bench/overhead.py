"""A whole build against its parts run alone: reading the files, and encoding them from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from bench import clock, vaes
from bench.figure import Figure
from bench.options import Options
from bench.ours import WORKERS, CountingEncoder, build
from bench.pictures import find_pictures
from prior_tools import Prior, measure_grain
from prior_tools.building.reading import GridItems, read_in_processes, stack_batch
from prior_tools.datasets.dataset import PairDataset

TITLE = "whole build against its parts run alone"
OF_ENCODING, OF_SUM = 1.03, 1.10
BATCH = 4

Taken = dict[str, list[clock.Spent]]


def measure(options: Options) -> list[Figure]:
    """Against encoding with the SD VAE; against both parts with the small VAE and with none.

    The small VAE still takes longer than the files on a CPU. 8x8 means in its place show the build
    where reading takes nearly all of the time.
    """
    pictures = find_pictures(options)
    quick = options.quick
    plans = (
        (vaes.SD, (4, 128, 3) if quick else (8, 256, 5), ("encoding",), OF_ENCODING),
        (vaes.SMALL, (8, 128, 3) if quick else (48, 128, 5), ("reading", "encoding"), OF_SUM),
        (None, (24, 256, 3) if quick else (120, 256, 5), ("reading", "encoding"), None),
    )
    figures = []
    for vae, (count, side, repeats), parts, bound in plans:
        dataset = pictures.dataset(count, (side, side))
        encode = vaes.load(vae).encode if vae else CountingEncoder()
        figures.append(
            _figure(
                f"of {' and '.join(parts)}, {vae or '8x8 means for a VAE'}",
                _take(dataset, encode, repeats),
                parts,
                bound,
                f"{len(dataset)} images ({pictures.source}) at {side}x{side}, batches of {BATCH}, "
                f"{WORKERS} reading, median of {repeats}",
            )
        )
    return figures


def _take(dataset: PairDataset, encode: Callable[[Tensor], Tensor], repeats: int) -> Taken:
    """Times of a whole build and of its parts, in turns.

    Also of what else a build does: how long it is in the encoder while others read, and how long it
    looks through label files and measures grain.
    """
    batches = list(_batches(dataset))
    inside: list[clock.Spent] = []

    def encoding() -> None:
        for images, _ in batches:
            encode(images)

    def reading() -> None:
        for _ in _batches(dataset):
            pass

    def whole() -> Prior:
        calls: list[clock.Spent] = []

        def timed(images: Tensor) -> Tensor:
            before = clock.now()
            latents = encode(images)
            calls.append(clock.since(before))
            return latents

        prior = build(dataset, timed, BATCH)
        inside.append(clock.total(calls))
        return prior

    # One build, so that the first round is like the others.
    prior = whole()
    inside.clear()
    latents = torch.cat([encode(images) for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    taken = clock.in_turns(
        {
            "whole": whole,
            "reading": reading,
            "encoding": encoding,
            "survey": lambda: dataset.surveyed(WORKERS),
            "grain": lambda: measure_grain(latents, labels, prior),
        },
        repeats,
        warm_up=False,
    )
    return {**taken, "encoding_in_whole": inside}


def _batches(dataset: PairDataset) -> Iterator[tuple[Tensor, Tensor]]:
    """Images float32 [N, H, W, 3] and labels [N, h, w], read as a build reads them."""
    indices = range(len(dataset))
    items = GridItems(dataset, 8, "majority")
    with read_in_processes(items, indices, WORKERS, 3 * BATCH) as read:
        while batch := list(islice(read, BATCH)):
            yield stack_batch(batch)[:2]


def _figure(
    name: str, taken: Taken, parts: Sequence[str], bound: float | None, samples: str
) -> Figure:
    sums = [clock.total(round_) for round_ in zip(*(taken[part] for part in parts), strict=True)]
    by_cpu = round(clock.ratio(taken["whole"], sums, "cpu"), 4)
    of_least = min(one.wall for one in taken["whole"]) / min(one.wall for one in sums)
    return Figure(
        name,
        clock.ratio(taken["whole"], sums),
        "x",
        bound,
        "at most",
        samples,
        {**clock.details(taken), "cpu_ratio": by_cpu, "ratio_of_least": round(of_least, 4)},
    )
