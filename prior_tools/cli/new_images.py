"""Labelled images that a command encodes for a prior that is there, as its own were encoded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..building.encoding import EncodedBatch, encode_items
from ..building.options import BuildOptions
from ..building.ranks import Ranks
from ..datasets.dataset import PairDataset
from ..datasets.pairs import choose_subset
from ..errors import PriorError, counted, listing
from ..labels.findings import findings
from ..prior import Prior
from .build import HOW_TO_SKIP, add_encoding, add_images, layout_of, progress_bar
from .comfy_vae import ComfyVAE, find_comfyui, load_vae
from .device import choose_device, seen_by_torch
from .output import warn


def add_new_images(parser: argparse.ArgumentParser) -> None:
    """Add the options that `build` has, but for those that the prior itself tells."""
    parser.add_argument("file", type=Path, metavar="PRIOR", help="a prior")
    add_images(parser)
    add_encoding(parser)


@dataclass
class NewImages:
    """Images of a dataset, ready to be encoded.

    Attributes:
        dataset: at the prior's size, with its palette where the dataset has none of its own.
        vae: that of the prior.
        options: those that the prior was built with.
        left_out: why items could not be used, as they come.
    """

    dataset: PairDataset
    vae: ComfyVAE
    options: BuildOptions
    left_out: list[str] = field(default_factory=list)

    @staticmethod
    def of_options(args: argparse.Namespace, prior: Prior) -> NewImages:
        """What the options name; PriorError where it is not of the prior's classes or VAE."""
        metadata = prior.metadata
        if metadata.label_method is None:
            raise PriorError(
                f"{args.file} was built from images alone, without label maps: it is for mode "
                "spatial, and its grain is measured as it is built; expected a prior that was "
                "built with label maps"
            )
        if args.limit < 0:
            raise PriorError(f"--limit is {args.limit}; expected a number of images, or 0 for all")
        layout = layout_of(args)
        if args.palette is None and args.dataset == "pairs" and metadata.palette is not None:
            layout = layout.with_palette(metadata.palette)
        if args.ignore_ids is None:
            layout = replace(layout, ignore_ids=metadata.ignore_ids)
        _check_names(prior, layout.palette.names)
        height, width = prior.grid
        factor = metadata.downscale_factor
        size = metadata.source_size or (width * factor, height * factor)
        subset = choose_subset(len(layout.pairs), args.limit, args.seed)
        dataset = layout.dataset(size, metadata.resize_policy).subset(subset)
        skip = args.on_error == "skip"
        dataset, tally = dataset.surveyed(
            max(1, args.workers), skip_errors=skip, how_to_skip=HOW_TO_SKIP
        )
        for _, text in findings(tally, dataset.rules.palette, dataset.ignored, "--ignore-ids"):
            warn(text)
        device = choose_device(args.device, Ranks(), *seen_by_torch())
        vae = load_vae(args.vae, find_comfyui(args.comfyui), device, args.dtype)
        if metadata.vae is not None and not metadata.vae.fits(vae.fingerprint):
            raise PriorError(
                f"{args.vae} is not the VAE of the prior ({metadata.vae.against(vae.fingerprint)})"
            )
        options = BuildOptions(
            factor,
            metadata.label_method,
            args.batch_size,
            args.on_error,
            args.workers,
            processes=True,
            how_to_skip=HOW_TO_SKIP,
        )
        return NewImages(dataset, vae, options)

    def encoded(self, indices: Sequence[int], soft: bool = False) -> Iterator[EncodedBatch]:
        """These images in batches, with a progress bar; those left out are told at the end."""
        with progress_bar(len(indices), Ranks()) as show:
            yield from encode_items(
                self.dataset,
                self.vae.encode,
                self.options,
                indices,
                soft=soft,
                progress=show,
                skipped=lambda name, reason: self.left_out.append(f"{name}: {reason}"),
            )
        if self.left_out:
            warn(f"{counted(len(self.left_out), 'image')} left out: {listing(self.left_out, 5)}")


def _check_names(prior: Prior, names: Mapping[int, str]) -> None:
    """PriorError if the dataset's ids mean other classes than the prior's."""
    own = prior.metadata.class_names
    for class_id in sorted(own.keys() & names.keys()):
        if own[class_id] != names[class_id]:
            raise PriorError(
                f"class {class_id} is {own[class_id]!r} in the prior and {names[class_id]!r} in "
                "the dataset; give the palette of the prior by --palette, or --id-map"
            )
