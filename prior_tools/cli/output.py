"""The file that a command writes, and how a command speaks."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from ..errors import PriorError, counted, printable
from ..prior import Prior
from ..prior_file import save_prior

_WIDTH = 100
# A space inside a name, where a line must not end.
_UNBROKEN = "\N{NO-BREAK SPACE}"


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add --out and --overwrite."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="prior to write")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")


def check_output(args: argparse.Namespace) -> None:
    """Raise PriorError before any work is done if --out is taken or cannot be written."""
    if args.out.is_dir():
        raise PriorError(f"--out {args.out} is a folder; expected the name of a file")
    if args.out.exists() and not args.overwrite:
        raise PriorError(
            f"{args.out} exists already; choose another --out, or add --overwrite to replace it"
        )
    # Folders that are missing will be made.
    folder = next(parent for parent in args.out.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise PriorError(f"--out {args.out} lies in {folder}, which is a file; expected a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PriorError(f"--out {args.out} cannot be written: the folder {folder} is read-only")


def save(prior: Prior, args: argparse.Namespace) -> None:
    """Write the prior to --out and say so."""
    save_prior(prior, args.out, overwrite=args.overwrite)
    height, width = prior.grid
    tell(
        f"wrote {args.out}: {counted(prior.num_images, 'image')}, {classes_of(prior)}, "
        f"{width}x{height} cells, {counted(prior.latent_channels, 'channel')}, "
        f"{args.out.stat().st_size / 1e6:.1f} MB"
    )


def classes_of(prior: Prior) -> str:
    """How many classes it has, in words."""
    if not prior.labelled:
        return "no label maps"
    return counted(len(prior.class_ids), "class", "classes")


def shared_path(path: Path) -> Path:
    """A file or folder as a report names it that others read.

    As it was given, but of an absolute path the name alone: the folders above are nobody's concern.
    """
    if path.is_absolute() or ".." in path.parts or not path.name:
        return Path(path.resolve().name)
    return path


def named(class_ids: Iterable[int], names: dict[int, str]) -> str:
    """Ascending ids with their names where they have one, such as "0 road, 19, 182-254"."""
    parts: list[str] = []
    first = last = None
    for class_id in class_ids:
        if class_id in names:
            first = last = None
            parts.append(_UNBROKEN.join([str(class_id), *printable(names[class_id]).split()]))
        elif last is not None and class_id == last + 1:
            last = class_id
            parts[-1] = f"{first}-{last}"
        else:
            first = last = class_id
            parts.append(str(class_id))
    return ", ".join(parts)


def tell(text: str) -> None:
    """Print a line."""
    print(printable(text))


def say(text: str) -> None:
    """Print a paragraph, wrapped, its later lines indented."""
    shown = _UNBROKEN.join(map(printable, text.split(_UNBROKEN)))
    lines = textwrap.fill(shown, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    print(lines.replace(_UNBROKEN, " "))


def warn(text: str) -> None:
    """Print a warning, on one line, to stderr."""
    print(f"warning: {printable(text)}", file=sys.stderr)
