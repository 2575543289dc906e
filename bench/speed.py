"""Whole builds: ours against the published procedure, with the same VAE and images."""

from __future__ import annotations

from bench import clock, vaes
from bench.figure import Figure
from bench.options import Options
from bench.ours import WORKERS, build
from bench.pictures import Pictures, find_pictures
from bench.published import build_as_published, classes_of, encodes_by_definition

TITLE = "whole build against the published procedure"
BOUND = 8.0
BATCH = 4


def measure(options: Options) -> list[Figure]:
    """With the small VAE on more and larger images, with the SD VAE on fewer."""
    pictures = find_pictures(options)
    if options.quick:
        return [
            _against(pictures, vaes.SMALL, 8, (96, 64), 1),
            _against(pictures, vaes.SD, 4, (64, 64), 1),
        ]
    return [
        _against(pictures, vaes.SMALL, 20, (160, 120), 2),
        _against(pictures, vaes.SD, 8, (128, 96), 1),
    ]


def _against(
    pictures: Pictures, vae: str, count: int, size: tuple[int, int], repeats: int
) -> Figure:
    dataset = pictures.dataset(count, size)
    encode = vaes.load(vae).encode
    held = classes_of(dataset)
    # The first batch that a process encodes takes longer: memory is handed out.
    build(dataset.subset(range(min(BATCH, count))), encode, BATCH)
    taken = clock.in_turns(
        {
            "ours": lambda: build(dataset, encode, BATCH),
            "published": lambda: build_as_published(
                dataset, encode, held, batch_size=BATCH, workers=WORKERS
            ),
        },
        repeats,
        warm_up=False,
    )
    return Figure(
        vae,
        clock.ratio(taken["published"], taken["ours"]),
        "x",
        BOUND,
        "at least",
        f"{count} images ({pictures.source}) at {size[0]}x{size[1]}, batches of {BATCH}, "
        f"median of {repeats}",
        {
            **clock.details(taken),
            "cpu_ratio": round(clock.ratio(taken["published"], taken["ours"], "cpu"), 2),
            "encodes_published": encodes_by_definition(held),
            "encodes_ours": len(dataset),
        },
    )
