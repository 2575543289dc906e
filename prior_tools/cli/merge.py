"""`merge`: several priors to the prior of all their images."""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

from ..errors import PriorError, counted
from ..merge import merge_priors, taken_on_trust
from ..prior import Prior
from ..prior_file import load_prior
from .output import add_output, check_output, classes_of, save, tell, warn


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `merge` to the command line."""
    parser = commands.add_parser(
        "merge",
        help="unite priors of parts of a dataset, or of several datasets",
        description="Write the prior of all images of several priors, in any order. Classes are "
        "united. Priors of different VAEs, grids, class names, palettes, ignored ids or ways of "
        "resizing are refused.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="PRIOR", help="two or more priors")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Merge and save."""
    check_output(args)
    _check_files(args.files)
    priors = [load_prior(path) for path in args.files]
    try:
        merged = merge_priors(priors)
    except PriorError as error:
        raise _between(args.files, priors) or error from error
    for text in taken_on_trust(priors, [path.name for path in args.files]):
        warn(text)
    for path, prior in zip(args.files, priors, strict=True):
        tell(f"read {path}: {counted(prior.num_images, 'image')}, {classes_of(prior)}")
    save(merged, args)
    return 0


def _check_files(paths: list[Path]) -> None:
    if len(paths) < 2:
        raise PriorError(f"{len(paths)} prior is given; expected at least two to merge")
    for first, second in combinations(paths, 2):
        if first.exists() and second.exists() and first.samefile(second):
            raise PriorError(
                f"{first} and {second} are the same file; its images would count twice"
            )


def _between(paths: list[Path], priors: list[Prior]) -> PriorError | None:
    """The contradiction with the names of the two files it is between.

    Merging says what contradicts, but takes priors and so cannot name files.
    """
    for (first, a), (second, b) in combinations(zip(paths, priors, strict=True), 2):
        try:
            merge_priors([a, b])
        except PriorError as error:
            return PriorError(f"{first} and {second}: {error}")
    return None
