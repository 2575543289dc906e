"""`inspect`: what a prior holds, as a table, as JSON and as a picture."""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..atomic import remove_leftovers_of, write_bytes
from ..errors import PriorError, printable
from ..held_out import HeldOut
from ..picture import describe_prior
from ..prior import Prior
from ..prior_file import load_prior
from .table import aligned


@dataclass(frozen=True)
class ClassSummary:
    """What is told of a class.

    Attributes:
        id, name: of the class.
        color: "#rrggbb" in label images, or None.
        pixels: latent cells of the class in all images.
        images: that hold it.
        coverage: fraction of the grid's cells where it was ever seen.
        mean, deviation: image-weighted, per latent channel, in raw VAE units.
    """

    id: int
    name: str
    color: str | None
    pixels: int
    images: int
    coverage: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `inspect` to the command line."""
    parser = commands.add_parser(
        "inspect",
        help="show what a prior holds",
        description="Show what a prior was made from and, per class: pixels (latent cells in all "
        "images), images, coverage (the part of the grid where the class was ever seen), and the "
        "mean and deviation of each latent channel in raw VAE units, images weighing alike.",
    )
    parser.add_argument("file", type=Path, metavar="PRIOR", help="a prior")
    parser.add_argument("--png", type=Path, metavar="FILE", help="also write a picture of it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run(args: argparse.Namespace) -> int:
    """Draw if asked to, and print."""
    prior = load_prior(args.file)
    # First, since a reader such as `head` may end the printing.
    if args.png:
        _draw(prior, args.file, args.png)
    facts = describe(prior)
    classes = summarize(prior)
    if args.json:
        entries = [asdict(entry) for entry in classes]
        print(json.dumps({"file": str(args.file), **facts, "classes": entries}, indent=2))
    else:
        print("\n".join(_facts_text(args.file, facts, prior.metadata.held_out)))
        if prior.labelled:
            print()
            print("\n".join(aligned(rows(classes, prior.latent_channels), words=(1, 2))))
    return 0


def describe(prior: Prior) -> dict[str, Any]:
    """What was counted and what is known of how, as plain data.

    Of images alone label_method, labelled_fraction and occupied_fraction are None.
    """
    metadata = prior.metadata
    height, width = prior.grid
    labelled = int(prior.joint_count.sum()) / (prior.num_images * height * width)
    occupied = float((prior.joint_count > 0).double().mean()) if len(prior.class_ids) else 0.0
    return {
        "dataset_name": metadata.dataset_name,
        "num_images": prior.num_images,
        "num_classes": len(prior.class_ids),
        "grid": [height, width],
        "latent_channels": prior.latent_channels,
        "downscale_factor": metadata.downscale_factor,
        "source_size": list(metadata.source_size) if metadata.source_size else None,
        "latent_format": metadata.latent_format,
        "vae": str(metadata.vae) if metadata.vae else None,
        "palette": metadata.palette.name if metadata.palette else None,
        "ignore_ids": list(metadata.ignore_ids),
        "resize_policy": metadata.resize_policy,
        "label_method": metadata.label_method,
        "grain": _grain(prior),
        "held_out": metadata.held_out.to_json() if metadata.held_out else None,
        "labelled_fraction": labelled if prior.labelled else None,
        "occupied_fraction": occupied if prior.labelled else None,
        "spatial_mean": prior.spatial_mean.double().mean((1, 2)).tolist(),
        "spatial_deviation": prior.spatial_std.double().square().mean((1, 2)).sqrt().tolist(),
    }


def summarize(prior: Prior) -> list[ClassSummary]:
    """A summary of each class, by ascending id."""
    palette = prior.metadata.palette
    pixels = prior.joint_count.flatten(1).sum(1)
    coverage = (prior.joint_count > 0).flatten(1).double().mean(1)
    summaries = []
    for row, class_id in enumerate(prior.class_ids.tolist()):
        color = None
        if palette is not None and palette.holds(class_id):
            color = "#" + bytes(palette.paint(prior.class_ids[row]).tolist()).hex()
        summaries.append(
            ClassSummary(
                id=class_id,
                name=prior.class_name(class_id),
                color=color,
                pixels=int(pixels[row]),
                images=int(prior.class_image_count[row]),
                coverage=float(coverage[row]),
                mean=tuple(prior.class_mean[row].tolist()),
                deviation=tuple(prior.class_std[row].tolist()),
            )
        )
    return summaries


def rows(classes: list[ClassSummary], channels: int) -> list[list[str]]:
    """The cells of a table: a heading, then a row per class."""
    heading = ["id", "name", "color", "pixels", "images", "coverage"]
    heading += [f"{what} {c}" for what in ("mean", "dev") for c in range(channels)]
    cells = [
        [
            str(entry.id),
            printable(entry.name),
            entry.color or "-",
            str(entry.pixels),
            str(entry.images),
            f"{entry.coverage:.1%}",
            *(f"{value:.3f}" for value in (*entry.mean, *entry.deviation)),
        ]
        for entry in classes
    ]
    return [heading, *cells]


def _facts_text(path: Path, facts: dict[str, Any], held_out: HeldOut | None) -> list[str]:
    height, width = facts["grid"]
    size = facts["source_size"]
    pixels = f" from {size[0]}x{size[1]} pixels" if size else ""
    ignored = ", ".join(map(str, facts["ignore_ids"]))
    if facts["label_method"] is None:
        of_labels = {
            "resizing": f"images {facts['resize_policy']}",
            "label maps": "none: built from images alone, for draws in mode spatial",
        }
    else:
        of_labels = {
            "palette": facts["palette"],
            "ignored ids": ignored or "none",
            "resizing": f"images {facts['resize_policy']}, labels {facts['label_method']}",
            "labelled": f"{facts['labelled_fraction']:.1%} of all pixels",
            "classes": f"{facts['num_classes']}, each seen in {facts['occupied_fraction']:.1%} of "
            "the cells on average",
            "held out": str(held_out or "")
            or "no images: `build --holdout` and `score` tell how well it fits",
        }
    lines = {
        "prior": f"{path} ({path.stat().st_size / 1e6:.1f} MB)",
        "dataset": facts["dataset_name"],
        "images": str(facts["num_images"]),
        "grid": f"{width}x{height} cells of {facts['downscale_factor']} pixels{pixels}",
        "latents": f"{facts['latent_channels']} channels, {facts['latent_format']}",
        "VAE": facts["vae"],
        **of_labels,
        "grain": "none, draws are of white noise"
        if facts["grain"] is None
        else _grain_text(facts["grain"]),
        "mean": _numbers(facts["spatial_mean"]),
        "deviation": f"{_numbers(facts['spatial_deviation'])} about each cell's own mean",
    }
    width = max(map(len, lines)) + 2
    return [f"{key:{width}}{printable(str(value or 'not known'))}" for key, value in lines.items()]


def _grain(prior: Prior) -> dict[str, float | None] | None:
    """What the grain has in common, mean of channels.

    Of a region's cells, by their number, as a part of the variance; and of a cell with the next, in
    both directions, as a correlation of what regions leave.
    """
    if prior.grain is None:
        return None
    lags = ((0, 1), (1, 0))
    beside = sum(prior.grain.at(*lag).diagonal().mean() for lag in lags) / len(lags)
    cells = prior.joint_count.flatten(1).sum(1).double()
    shared = prior.grain.region_variances.double().mean(1)
    regions = float(shared @ cells / cells.sum()) if len(cells) else None
    return {"regions": regions, "neighbors": float(beside)}


def _grain_text(grain: dict[str, float | None]) -> str:
    beside = f"correlation of neighboring cells {grain['neighbors']:.3f}"
    if grain["regions"] is None:
        return beside
    return f"regions share {grain['regions']:.1%} of the variance, of the rest {beside}"


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _draw(prior: Prior, path: Path, target: Path) -> None:
    if target.exists() and target.samefile(path):
        raise PriorError(f"--png {target} is the prior itself; expected another file's name")
    picture = describe_prior(prior, title=printable(path.stem))
    data = io.BytesIO()
    levels = (picture * 255).round().byte().numpy()
    Image.fromarray(levels).save(data, format="PNG")
    remove_leftovers_of(target)
    write_bytes(target, data.getvalue())
