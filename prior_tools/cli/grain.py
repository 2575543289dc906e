"""`grain`: the grain of a prior that has none, measured on images of its dataset."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ..building.kept import KeptLatents, for_grain
from ..errors import PriorError
from ..grain_estimate import measure_grain
from ..prior_file import load_prior
from .new_images import NewImages, add_new_images
from .output import check_output, save


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `grain` to the command line."""
    parser = commands.add_parser(
        "grain",
        help="add grain to a prior that has none",
        description="Encode up to 256 images of the dataset that a prior is of, and write the "
        "prior with their grain: how the residuals of latents hang together. Size, resizing and "
        "ignored ids are the prior's. Priors that `build` writes have their grain.",
    )
    add_new_images(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="prior to write; default: PRIOR itself"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")


def run(args: argparse.Namespace) -> int:
    """Encode, measure and save."""
    if args.out is None:
        args.out, args.overwrite = args.file, True
    check_output(args)
    prior = load_prior(args.file)
    images = NewImages.of_options(args, prior)
    kept = KeptLatents(images.dataset, for_grain(images.dataset))
    kept.begin(prior.latent_channels, prior.grid)
    for batch in images.encoded(sorted(kept.images)):
        for item in zip(
            batch.indices, batch.latents, batch.read.labels, batch.read.soft, strict=True
        ):
            kept.put(*item)
    found = kept.read()
    if found is None:
        raise PriorError(f"none of the images could be used; {images.left_out[0]}")
    grain = measure_grain(found.latents, found.labels, prior)
    if grain is None:
        raise PriorError(
            "the prior has no cell with a deviation, so there are no residuals to measure; build "
            "it of more images"
        )
    save(replace(prior, grain=grain), args)
    return 0
