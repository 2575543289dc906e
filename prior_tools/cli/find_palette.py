"""`palette`: the colors or ids of a folder of label files, as a palette file to be named."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from ..atomic import remove_leftovers_of, write_bytes, write_new_bytes
from ..datasets.found_values import FoundValues, fitting, found_values
from ..datasets.pairs import choose_subset, files_by_name
from ..errors import PriorError, counted
from ..labels.palette_files import palette_text
from ..labels.palette_formats import Row
from .output import check_output, say, warn
from .table import aligned

# Values beyond which a folder is of smooth edges or of lossy files rather than of classes.
_MOST = 256
_SHOWN = 40

# What marks pixels that are not labelled, in files of a byte a pixel.
_USUALLY_IGNORED = 255


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `palette` to the command line."""
    parser = commands.add_parser(
        "palette",
        help="list the colors or ids of label files as a palette file",
        description="List the colors or ids that the label files of a folder hold, the most "
        "frequent first, and write them as a palette file, in which the classes are then to be "
        "named. It is what --palette takes, and nodes where it lies in models/scp_palettes.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of label files")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="palette file to write, .json"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="read a random N files")
    parser.add_argument("--seed", type=int, default=0, help="of these")
    parser.add_argument(
        "--most",
        type=int,
        metavar="N",
        help=f"keep the N most frequent; without it more than {_MOST} are refused",
    )


def run(args: argparse.Namespace) -> int:
    """Count, show and write."""
    check_output(args)
    for name in ("limit", "most"):
        given = getattr(args, name)
        if given is not None and given < (name == "most"):
            raise PriorError(f"--{name} is {given}; expected a number of {_COUNTED[name]}")
    files = [path for _, path in sorted(files_by_name(args.folder, "label").items())]
    files = [files[i] for i in choose_subset(len(files), args.limit, args.seed)]
    found = found_values(tqdm(files, unit="file", delay=1))
    rows, pixels = _rows(found, args.most)
    text = palette_text(args.folder.resolve().name, rows)
    remove_leftovers_of(args.out)
    (write_bytes if args.overwrite else write_new_bytes)(args.out, text.encode())
    _show(found, len(files), rows, pixels)
    print(f"wrote {args.out}: {counted(len(rows), 'class', 'classes')}; name them there")
    return 0


_COUNTED = {"limit": "files, or 0 for all", "most": "classes"}


def _rows(found: FoundValues, most: int | None) -> tuple[list[Row], list[int]]:
    """A class for each value, the most frequent first, and the pixels of each.

    Raises PriorError for more values than classes are likely.
    """
    frequent = found.frequent()
    if most is None and len(frequent) > _MOST:
        total = sum(count for _, count in frequent)
        shown = ", ".join(f"{value} {count / total:.1%}" for value, count in frequent[:5])
        cause = (
            "they may be numbers of instances, or depths"
            if found.are_ids
            else "their edges may be smooth, or they are lossy, as JPEG is"
        )
        raise PriorError(
            f"the label files hold {len(frequent)} different {'ids' if found.are_ids else 'colors'}"
            f"; {cause}. Expected at most {_MOST}. The most frequent are {shown}; --most N keeps "
            "the N most frequent"
        )
    frequent = frequent[:most]
    rows = []
    for number, (value, _) in enumerate(frequent):
        if isinstance(value, tuple):
            rows.append(Row("", number, f"class {number}", value))
        else:
            # Of two values, 255 is the foreground.
            ignored = value == _USUALLY_IGNORED and len(frequent) > 2
            rows.append(Row("", value, f"class {value}", None, ignored))
    return rows, [count for _, count in frequent]


def _show(found: FoundValues, files: int, rows: list[Row], pixels: list[int]) -> None:
    total = sum(count for _, count in found.frequent())
    say(
        f"{counted(files, 'label file holds', 'label files hold')} "
        f"{'ids' if found.are_ids else 'colors'}"
    )
    table = [("id", "color", "share")]
    for row, count in list(zip(rows, pixels, strict=True))[:_SHOWN]:
        color = "" if row.color is None else "#{:02x}{:02x}{:02x}".format(*row.color)
        table.append((str(row.class_id), color, f"{count / total:.2%}"))
    columns = (0, 2) if found.are_ids else (0, 1, 2)
    print("\n".join(aligned([[line[i] for i in columns] for line in table], words=())))
    if len(rows) > _SHOWN:
        print(f"and {len(rows) - _SHOWN} less frequent ones")
    left_out = 1 - sum(pixels) / total
    if left_out:
        warn(f"{left_out:.2%} of the pixels are of values that are not in the file")
    if found.lossy:
        warn(f"{found.lossy} is of a lossy format, which mixes colors; write label maps as PNG")
    if any(row.ignored for row in rows):
        say("255 is ignored, as it usually is; write false there if it is a class")
    if not found.are_ids and (likely := fitting(found)):
        names = ", ".join(f"{name} {share:.1%}" for name, share in likely)
        say(f"built-in palettes that have these colors, and their share of the pixels: {names}")
