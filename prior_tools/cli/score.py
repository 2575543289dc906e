"""`score`: how well a prior predicts images that it has not seen."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from ..errors import PriorError, counted, printable
from ..evaluation.fit import Fit, FitSums
from ..evaluation.intervals import DRAWS
from ..held_out import KNOWS_NOTHING
from ..prior import Prior
from ..prior_file import load_prior
from .new_images import NewImages, add_new_images
from .output import say, tell
from .table import aligned


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `score` to the command line."""
    parser = commands.add_parser(
        "score",
        help="how well a prior predicts the latents of other images",
        description="Encode images that the prior has not seen, such as --split val, and tell for "
        "each mode the negative log-likelihood (NLL) of a latent value in nats, each channel in "
        f"units of the prior's overall deviation ({KNOWS_NOTHING:.3f} for one mean and deviation "
        "for all cells; less is better), and the share of the variance that its means explain, "
        "with 95% intervals over images. Size, resizing and ignored ids are the prior's.",
    )
    add_new_images(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")


def run(args: argparse.Namespace) -> int:
    """Encode, score and print."""
    prior = load_prior(args.file)
    images = NewImages.of_options(args, prior)
    sums = FitSums(prior)
    for batch in images.encoded(range(len(images.dataset)), soft=True):
        soft = [each for each in batch.read.soft if each is not None]
        names = [images.dataset.name(index) for index in batch.indices]
        sums.update(names, batch.latents, batch.read.labels, soft)
    if len(sums) == 0:
        raise PriorError(f"none of the images could be used; {images.left_out[0]}")
    fit = sums.figures()
    if args.json:
        print(json.dumps(_as_json(args, prior, fit, images), indent=2))
        return 0
    tell(f"{counted(fit.images, 'image')}; intervals: bootstrap over images, {DRAWS} draws")
    print("\n".join(aligned(mode_rows(fit), words=(0,))))
    print()
    best = fit.held_out.best
    say(
        f"classes, in mode {best}; ±: half of a 95% interval; best: the mode of the least NLL there"
    )
    print("\n".join(aligned(class_rows(prior, fit, best), words=(1, 6))))
    print()
    say(fit.verdict)
    say(fit.fits)
    return 0


def mode_rows(fit: Fit) -> list[list[str]]:
    """The cells of a table: a heading, then a row per mode."""
    cells = [["mode", "NLL", "95% interval", "explained", "95% interval", "deviations"]]
    for mode, found in fit.held_out.modes.items():
        nll, explained = found.nll_interval, found.explained_interval
        cells.append(
            [
                mode,
                f"{found.nll:.3f}",
                f"{nll[0]:.3f} to {nll[1]:.3f}" if nll else "-",
                f"{found.explained:.1%}",
                f"{explained[0]:.1%} to {explained[1]:.1%}" if explained else "-",
                f"{found.surprise:.2f}",
            ]
        )
    return cells


def class_rows(prior: Prior, fit: Fit, mode: str) -> list[list[str]]:
    """The cells of a table: a heading, then a row per class that occurs, of one mode's figures."""
    cells = [["id", "name", "images", "cells", "NLL", "explained", "best"]]
    for entry in fit.classes:
        nll, explained = entry.nll_interval[mode], entry.explained_interval[mode]
        cells.append(
            [
                str(entry.class_id) if entry.class_id >= 0 else "-",
                printable(_name(prior, entry.class_id)),
                str(entry.images),
                str(entry.cells),
                f"{entry.nll[mode]:.3f}" + (f" ± {_half(nll):.3f}" if nll else ""),
                f"{entry.explained[mode]:.1%}"
                + (f" ± {_half(explained):.1%}" if explained else ""),
                entry.best,
            ]
        )
    return cells


def _half(interval: tuple[float, float]) -> float:
    low, high = interval
    return (high - low) / 2


def _name(prior: Prior, class_id: int) -> str:
    return prior.class_name(class_id) if class_id >= 0 else "none that the prior knows"


def _as_json(args: argparse.Namespace, prior: Prior, fit: Fit, images: NewImages) -> dict[str, Any]:
    return {
        "file": str(args.file),
        "images": fit.images,
        "images_left_out": images.left_out,
        "knows_nothing": KNOWS_NOTHING,
        **{key: fit.held_out.to_json()[key] for key in ("modes",)},
        "best": fit.held_out.best,
        "verdict": fit.verdict,
        "fits": fit.fits,
        "classes": [
            {"name": _name(prior, entry.class_id), **asdict(entry)} for entry in fit.classes
        ],
    }
