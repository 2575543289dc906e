"""A whole build against its parts run alone: reading the files, and encoding them from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from torch import Tensor

from bench import clock, vaes
from bench.figure import Figure
from bench.options import Options
from bench.ours import WORKERS, CountingEncoder, build
from bench.pictures import find_pictures
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
    """Times of a whole build and of its parts, in turns."""
    batches = list(_batches(dataset))

    def encoding() -> None:
        for images in batches:
            encode(images)

    def reading() -> None:
        for _ in _batches(dataset):
            pass

    # One batch, so that the first round is like the others.
    encode(batches[0])
    return clock.in_turns(
        {
            "whole": lambda: build(dataset, encode, BATCH),
            "reading": reading,
            "encoding": encoding,
        },
        repeats,
        warm_up=False,
    )


def _batches(dataset: PairDataset) -> Iterator[Tensor]:
    """Images float32 [N, H, W, 3], read as a build reads them."""
    indices = range(len(dataset))
    items = GridItems(dataset, 8, "majority")
    with read_in_processes(items, indices, WORKERS, 3 * BATCH) as read:
        while batch := list(islice(read, BATCH)):
            yield stack_batch(batch)[0]


def _figure(
    name: str, taken: Taken, parts: Sequence[str], bound: float | None, samples: str
) -> Figure:
    sums = [
        clock.Spent(sum(one.wall for one in round_), sum(one.cpu for one in round_))
        for round_ in zip(*(taken[part] for part in parts), strict=True)
    ]
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
