"""What taking in latents costs, against encoding them."""

from __future__ import annotations

import statistics

import torch

from bench import clock, vaes
from bench.figure import Figure
from bench.options import Options
from bench.pictures import find_pictures
from prior_tools import PriorAccumulator

TITLE = "accumulation against encoding"
BOUNDS = {vaes.SD: 0.1, vaes.SMALL: 2.0}
BATCH = 8


def measure(options: Options) -> list[Figure]:
    """Per 512x512 image, on real label maps; latents are random, their values cost the same."""
    side = 256 if options.quick else 512
    pictures = find_pictures(options)
    labels = pictures.label_maps(BATCH, (side, side))
    classes = statistics.mean(len(one.unique()) for one in labels)
    latents = torch.randn(BATCH, 4, *labels.shape[1:], generator=torch.Generator().manual_seed(0))

    state = PriorAccumulator(4, labels.shape[1:])
    rounds = 20 if options.quick else 60
    updates = clock.in_turns({"update": lambda: state.update(latents, labels)}, rounds)["update"]
    update = clock.median(updates) / BATCH

    figures = []
    for vae, bound in BOUNDS.items():
        repeats = 1 if options.quick else 3
        encode = vaes.load(vae).encode
        image = torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(1))
        encodes = clock.in_turns({"encode": lambda e=encode, i=image: e(i)}, repeats)["encode"]
        figures.append(
            Figure(
                vae,
                100 * update / clock.median(encodes),
                "%",
                bound,
                "at most",
                f"{side}x{side}, {classes:.1f} classes an image ({pictures.source}); median of "
                f"{rounds} batches of {BATCH} against median of {repeats} encodes",
                {
                    "update_ms_per_image": round(1e3 * update, 3),
                    "update_cpu_ms_per_image": round(1e3 * clock.median(updates, "cpu") / BATCH, 3),
                    "encode_s_per_image": round(clock.median(encodes), 3),
                    "encode_cpu_s_per_image": round(clock.median(encodes, "cpu"), 3),
                },
            )
        )
    return figures
