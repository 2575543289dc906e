"""`import`: the published statistics files to a prior."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import counted
from ..labels.id_maps import get_id_map
from ..labels.ids import parse_ids
from ..latent_formats import LATENT_FORMATS, SCALES
from ..published.files import CATEGORICAL, SPATIAL, read_published
from ..published.prior import ImportReport, prior_from_published
from .output import add_output, check_output, named, save, say, tell, warn
from .palettes import add_palette, read_palette

_DERIVED = {
    SPATIAL: "spatial prior: derived from the joint file, pooled over the classes of each cell",
    CATEGORICAL: "categorical prior: derived from the joint file, where every pixel counts alike; "
    "the paper's lets every image count alike, which the joint file cannot tell",
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `import` to the command line."""
    parser = commands.add_parser(
        "import",
        help="turn the published statistics files (.npy) into a prior",
        description="Turn the published statistics files into a prior. Which file is which is told "
        "by its content; a spatial or categorical file that is missing is derived from the joint "
        "one. Nothing in a file is run.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="NPY",
        help="NAME_spatial_class_mean_std.npy and, if you have them, NAME_spatial_mean_std.npy and "
        "NAME_categorical_mean_std.npy",
    )
    add_output(parser)
    parser.add_argument(
        "--latent-format",
        choices=list(LATENT_FORMATS),
        default="sd15",
        help="of the VAE that encoded the images (default: sd15, which SD2 shares)",
    )
    known = ", ".join(f"{factor} for {name}" for name, factor in SCALES.items())
    parser.add_argument(
        "--scale", type=float, help=f"what the latents were multiplied by (default: {known})"
    )
    add_palette(parser, "names and colors of the classes")
    parser.add_argument(
        "--ignore-ids",
        metavar="IDS",
        help="class ids to leave out of the class statistics, such as 0,255, or none (default: "
        "the palette's, or 255 without a palette); numbered as in the prior",
    )
    parser.add_argument(
        "--map",
        metavar="OLD=NEW,...",
        help="class ids in the files and what they become, -1 to drop one: 0=1,182-255=-1. A range "
        "with a NEW of 0 or more is shifted: 0-149=1. Or a file of such entries, or one of the "
        "names that build --id-map lists",
    )
    parser.add_argument("--dataset-name", default="", metavar="NAME", help="kept in the prior")


def run(args: argparse.Namespace) -> int:
    """Import and report on what was found."""
    check_output(args)
    id_map = get_id_map(args.map, "--map") if args.map is not None else {}
    palette = read_palette(args.palette) if args.palette else None
    ignored = args.ignore_ids
    ignore_ids = None if ignored is None else parse_ids(ignored, "--ignore-ids")
    statistics = read_published(args.files)
    prior, report = prior_from_published(
        statistics,
        scale=args.scale,
        latent_format=args.latent_format,
        palette=palette,
        ignore_ids=ignore_ids,
        id_map=id_map,
        dataset_name=args.dataset_name,
    )
    for kind, name in statistics.files.items():
        tell(f"read {name} ({kind})")
    names = prior.metadata.class_names
    found = statistics.found_ids
    # Under the palette's numbering the files' own ids would get wrong names, so the names go to
    # what they became.
    say(
        f"the files hold {counted(len(found), 'class id')}: {named(found, {} if id_map else names)}"
    )
    if id_map:
        moved = [f"{old}->{new}" for old, new in report.kept.items() if old != new]
        say(f"mapped: {', '.join(moved) or 'none'}")
        say(f"the prior holds: {named(prior.class_ids.tolist(), names)}")
    if report.left_out:
        say(f"left out, as ignored or dropped: {named(report.left_out, {})}")
    _report(report, names)
    save(prior, args)
    return 0


def _report(report: ImportReport, names: dict[int, str]) -> None:
    for kind in report.derived:
        say(_DERIVED[kind])
    if report.repaired:
        say(
            "repaired a NaN deviation, which the published code writes for a class drawn once, "
            "with that of the joint file (0 where it lacks the class): "
            f"{named(report.repaired, names)}"
        )
    if report.without_entry:
        say(
            "missing in the categorical file and derived from the joint one: "
            f"{named(report.without_entry, names)}"
        )
    if report.without_cells:
        say(
            "in the categorical file only, so without a joint prior: "
            f"{named(report.without_cells, names)}"
        )
    if report.outside_palette:
        warn(
            f"the palette does not have {named(report.outside_palette, {})}. The files may number "
            "their classes in another way, or hold ids that smooth resizing of label maps "
            "invented; --map renumbers them or drops them"
        )
