"""`utility`: what generated images are worth to a net that learns from them."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..atomic import remove_leftovers
from ..datasets.label_folders import label_maps_in
from ..datasets.layout import Layout
from ..datasets.layouts import LAYOUTS, find_dataset, recognised
from ..datasets.picture_files import upright_size
from ..errors import PriorError, counted, listing, reason
from ..evaluation.files import match_generated
from ..evaluation.intervals import DRAWS
from ..evaluation.report import versions, write_json
from ..evaluation.segmentation import mean_iou
from ..generating.manifest import only_one
from ..labels.findings import findings
from ..labels.id_maps import ID_MAPS
from ..labels.ids import parse_ids
from ..labels.reading import LabelRules
from ..memory import check_memory
from ..utility.judging import counts_of_constant
from ..utility.net import MULTIPLE, SmallNet
from ..utility.overlap import check_generated, check_real, doubts
from ..utility.own_model import own_model
from ..utility.report import Row, make_rows, rows_as_json, table_of_classes, table_of_rows
from ..utility.run import BOTH, GENERATED, REAL, Comparison, Mixture, begin_or_go_on, run_all
from ..utility.sets import (
    IndexedSet,
    LabelledSet,
    Source,
    all_classes,
    check_enough,
    check_same_classes,
    class_names,
    indexed,
    missing_classes,
    read_set,
    with_ignored,
)
from ..utility.training import MakeNet, Plan, TrainingCancelled, check_net
from .dataset_options import SPLIT, add_places, layout_at
from .output import say, tell, warn
from .palettes import add_palette
from .stopping import stopped_by_signal
from .table import aligned

CANCELLED = 130

RESULT_NAME = "utility.json"
STEPS, SEEDS, BATCH = 1500, 3, 8
# Peak learning rates: of the small net, which begins anew, and of a model that goes on learning.
RATE, OWN_RATE = 2e-3, 1e-4
VAL_SPLIT = "val"

_PAIRS = "pairs"
# The longer side of images, unless --size says another.
_LONGEST = 512
# Bytes a pixel: three levels, an id, and an index.
_PER_PIXEL = 8


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `utility` to the command line."""
    parser = commands.add_parser(
        "utility",
        help="measure what generated images are worth to a net that learns from them",
        description="Train the same segmentation net on the real images, on each set of generated "
        "ones, and on both together, at equal steps and with several seeds, and test it on "
        "held-out real images. Killed or stopped, the same command goes on.",
    )
    data = parser.add_argument_group("images")
    data.add_argument(
        "--real", type=Path, required=True, metavar="DIR", help="folder of the real dataset"
    )
    data.add_argument(
        "--generated",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="each a dataset as export writes it, or images as generate names them",
    )
    data.add_argument(
        "--val",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the dataset with the held-out real images; may be that of --real",
    )
    data.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="label maps of --generated folders that hold images alone (default: those of --real)",
    )
    data.add_argument(
        "--dataset",
        choices=LAYOUTS,
        default=_PAIRS,
        help=f"how --real and --val lie on disk, default {_PAIRS}; docs/command_line.md lists them",
    )
    data.add_argument("--split", default=SPLIT, metavar="NAME", help=f"of --real, default {SPLIT}")
    data.add_argument(
        "--val-split", default=VAL_SPLIT, metavar="NAME", help=f"of --val, default {VAL_SPLIT}"
    )
    add_places(data, "--real and --val")
    add_palette(data, "of the label maps (default: the dataset's own; pairs without one hold ids)")
    data.add_argument(
        "--ignore",
        metavar="IDS",
        help="classes whose pixels neither train nor count, such as 0,255, or none (default: the "
        "palette's)",
    )
    data.add_argument(
        "--id-map",
        metavar="MAP",
        help="for real label maps whose ids differ from the palette's: "
        f"{', '.join(ID_MAPS)}, entries such as 0=-1,1-150=0, or a file of them",
    )

    work = parser.add_argument_group("training")
    work.add_argument(
        "--net",
        type=Path,
        metavar="FOLDER",
        help="a transformers segmentation model (safetensors) to go on training (default: a small "
        "convolutional net, which begins anew)",
    )
    work.add_argument("--steps", type=int, default=STEPS, help=f"of each net, default {STEPS}")
    work.add_argument("--seeds", type=int, default=SEEDS, help=f"how many, default {SEEDS}")
    work.add_argument(
        "--size",
        type=_size,
        metavar="WxH",
        help=f"that images are brought to (default: of the real ones, at most {_LONGEST} wide or "
        "high)",
    )
    work.add_argument("--batch", type=int, default=BATCH, help=f"images a step, default {BATCH}")
    work.add_argument(
        "--rate", type=float, help=f"of learning; default {RATE:g}, with --net {OWN_RATE:g}"
    )
    work.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:N, mps")

    out = parser.add_argument_group("results")
    out.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"keeps what is trained and, at the end, {RESULT_NAME}",
    )
    out.add_argument("--draws", type=int, default=DRAWS, help=f"of the bootstrap, default {DRAWS}")


@dataclass(frozen=True)
class _Sets:
    """All that is read."""

    real: LabelledSet
    generated: Mapping[str, LabelledSet]
    val: LabelledSet

    @property
    def all(self) -> list[LabelledSet]:
        return [self.real, *self.generated.values(), self.val]


def run(args: argparse.Namespace) -> int:
    """Train what is missing, test, and sum up."""
    _check(args)
    make, net = own_model(args.net) if args.net else (SmallNet, "small convolutional net")
    real, generated, val = _sources(args)
    size = args.size or _usual_size(real)
    _check_size(size, args)
    sets = _read(real, generated, val, size)
    for text in _look(sets):
        warn(text)
    comparison = _comparison(args, sets, size, make, net)
    parts = comparison.mixtures[-1].parts
    parameters = check_net(make, parts, len(comparison.classes), comparison.plan)
    args.out.mkdir(parents=True, exist_ok=True)
    with only_one(args.out, "utility"), stopped_by_signal() as cancelled:
        begin_or_go_on(args.out, comparison)
        remove_leftovers(args.out)
        try:
            with tqdm(total=comparison.steps, unit="step", smoothing=0.05) as bar:
                counts = run_all(args.out, comparison, _shown(bar), cancelled)
        except TrainingCancelled:
            print("stopped; start the same command again to go on from there", file=sys.stderr)
            return CANCELLED
        rows = make_rows(
            comparison.mixtures, counts, comparison.val.maps, comparison.classes, args.draws
        )
        constant = _constant(comparison)
        _print(rows, sets, comparison, constant, parameters, size)
        data = _data(args, rows, sets, comparison, constant, parameters, size)
        write_json(args.out / RESULT_NAME, data, overwrite=True)
    tell(f"wrote {args.out / RESULT_NAME}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise PriorError for options that cannot be meant, before any file is read."""
    least = {"steps": 1, "seeds": 1, "batch": 2, "draws": 100}
    for name, number in least.items():
        if getattr(args, name) < number:
            raise PriorError(f"--{name} is {getattr(args, name)}; expected at least {number}")
    if args.batch % 2:
        raise PriorError(
            f"--batch is {args.batch}; expected an even number, of which one half are real images "
            "and one half generated ones where a net is trained on both"
        )
    if args.rate is not None and not 0 < args.rate < float("inf"):
        raise PriorError(f"--rate is {args.rate}; expected a number above 0")
    if args.ignore is not None:
        parse_ids(args.ignore, "--ignore")
    if args.out.exists() and not args.out.is_dir():
        raise PriorError(f"--out {args.out} is a file; expected a folder")
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise PriorError(f"--device {args.device} cannot be used: {reason(error)}") from error


def _sources(args: argparse.Namespace) -> tuple[Source, dict[str, Source], Source]:
    """The files of the real, the generated and the held-out images."""
    ignored = None if args.ignore is None else parse_ids(args.ignore, "--ignore")
    layouts = [
        _layout(args, root, split, option)
        for root, split, option in (
            (args.real, args.split, "--real"),
            (args.val, args.val_split, "--val"),
        )
    ]
    real, val = (
        Source.of_layout(f"{option} {root}", layout, with_ignored(layout.rules, ignored))
        for option, root, layout in zip(
            ("--real", "--val"), (args.real, args.val), layouts, strict=True
        )
    )
    maps = {pair.name: pair.label for pair in layouts[0].pairs}
    rules = real.rules
    if args.labels:
        maps = label_maps_in(args.labels)
        rules = LabelRules(rules.palette, rules.ignore_ids, rules.id_map)
    generated = {}
    for name, root in _names(args.generated).items():
        title = f"--generated {root}"
        layout = _exported(root, title)
        if layout is None:
            try:
                images = match_generated(root, maps, partial=True)
            except PriorError as error:
                hint = "" if args.labels else "; --labels names their label maps"
                raise PriorError(f"{title}: {str(error).rstrip('.')}{hint}") from error
            generated[name] = Source(title, images, rules, made_of_maps=True)
            continue
        own = layout.rules
        if own.palette.is_grey and not rules.palette.is_grey:
            # It does not say its classes.
            own = LabelRules(rules.palette, rules.ignore_ids)
        generated[name] = Source.of_layout(title, layout, with_ignored(own, ignored))
    for source in (real, *generated.values()):
        check_enough(source, args.batch)
    return real, generated, val


def _layout(args: argparse.Namespace, root: Path, split: str, option: str) -> Layout:
    try:
        layout = layout_at(args, args.dataset, root, split)
    except PriorError as error:
        raise PriorError(f"{option}: {error}") from error
    if layout.unpaired:
        warn(f"{option} {root}: left out, without a partner: {layout.unpaired}")
    return layout


def _exported(root: Path, title: str) -> Layout | None:
    """The train split of a dataset of generated images; None where images lie alone."""
    known = recognised(root)
    if len(known) > 1:
        raise PriorError(
            f"{title} holds several datasets, {listing(known)}; expected one, or images alone"
        )
    if not known and all((root / name).is_dir() for name in ("images", "labels")):
        known = [_PAIRS]
    if not known:
        return None
    try:
        return find_dataset(known[0], root, SPLIT)
    except PriorError as error:
        raise PriorError(f"{title}: {error}") from error


def _names(folders: Sequence[Path]) -> dict[str, Path]:
    """The folders by the shortest ends of their paths that tell them apart."""
    whole = [folder.resolve() for folder in folders]
    if len({*whole}) < len(whole):
        again = next(folder for folder in whole if whole.count(folder) > 1)
        raise PriorError(f"--generated names {again} twice; expected each folder once")
    for length in range(1, max(len(path.parts) for path in whole) + 1):
        names = ["/".join(path.parts[-length:]) for path in whole]
        if len({*names}) == len(names):
            break
    return dict(zip(names, folders, strict=True))


def _usual_size(real: Source) -> tuple[int, int]:
    """(width, height) of the first real image, not above `_LONGEST`, that the small net takes."""
    width, height = upright_size(real.images[0].image, "image")
    scale = min(1.0, _LONGEST / max(width, height))
    sides = (max(1, round(side * scale / MULTIPLE)) * MULTIPLE for side in (width, height))
    wide, high = sides
    return wide, high


def _check_size(size: tuple[int, int], args: argparse.Namespace) -> None:
    width, height = size
    if args.net is None and (width % MULTIPLE or height % MULTIPLE):
        raise PriorError(f"--size is {width}x{height}; the small net takes multiples of {MULTIPLE}")


def _read(
    real: Source, generated: Mapping[str, Source], val: Source, size: tuple[int, int]
) -> _Sets:
    images = sum(map(len, (real, *generated.values(), val)))
    check_memory(
        images * size[0] * size[1] * _PER_PIXEL,
        f"{counted(images, 'image')} of {size[0]}x{size[1]} pixels",
        "give a smaller --size",
    )
    with tqdm(total=images, desc="reading", unit="img") as bar:

        def advance(images: int) -> None:
            bar.update(images)

        def read(source: Source) -> LabelledSet:
            return read_set(source, size, advance)

        return _Sets(
            read(real), {name: read(source) for name, source in generated.items()}, read(val)
        )


def _look(sets: _Sets) -> Iterator[str]:
    """What a person should know of the sets; PriorError for what would make figures worthless."""
    real, val = sets.real, sets.val
    for other in (val, *sets.generated.values()):
        check_same_classes(real, other)
    check_real(real, val)
    for generated in sets.generated.values():
        check_generated(generated, val)
    for one in sets.all:
        for _, text in findings(one.tally, one.palette, one.ignored, "--ignore"):
            yield f"{one.title}: {text}"
    names = class_names(sets.all)
    for generated in sets.generated.values():
        yield from doubts(generated, val, real)
    for one in (real, *sets.generated.values()):
        if missing := missing_classes(one, val):
            shown = [f"{i} {names.get(i, '')}".strip() for i in missing]
            yield (
                f"{one.title} has no pixel of {listing(shown)}, which --val holds: a net that is "
                "trained on it alone cannot find that"
            )


def _comparison(
    args: argparse.Namespace, sets: _Sets, size: tuple[int, int], make: MakeNet, net: str
) -> Comparison:
    classes = all_classes(sets.all)
    real = indexed(sets.real, classes)
    mixtures = [Mixture(REAL, "", (real,))]
    for name, one in sets.generated.items():
        other = indexed(one, classes)
        mixtures += [Mixture(GENERATED, name, (other,)), Mixture(BOTH, name, (real, other))]
    rate = args.rate or (OWN_RATE if args.net else RATE)
    settings = {
        "--size": f"{size[0]}x{size[1]}",
        "--steps": str(args.steps),
        "--batch": str(args.batch),
        "--rate": f"{rate:g}",
        "--net": net,
        "--device": args.device.partition(":")[0],
        "classes": _told(classes),
    }
    plan = Plan(args.steps, args.batch, rate, args.device)
    return Comparison(
        mixtures, indexed(sets.val, classes), classes, make, plan, args.seeds, settings
    )


def _told(classes: Sequence[int]) -> str:
    """Class ids of any number in a short text."""
    digest = hashlib.sha256(str(tuple(classes)).encode()).hexdigest()[:8]
    return f"{listing([str(i) for i in classes], 20)} ({digest})"


def _shown(bar: tqdm[Any]) -> Callable[[str, int], None]:
    def show(title: str, steps: int) -> None:
        if not bar.desc:
            # What is finished is done, but not at this run's pace.
            bar.initial = bar.n = steps
        if not bar.desc.startswith(title):
            bar.set_description(title)
        bar.update(steps - bar.n)

    return show


@dataclass(frozen=True)
class _Constant:
    """What always answering one class would get: that of most pixels of the real images."""

    class_id: int
    miou: float


def _constant(comparison: Comparison) -> _Constant:
    real = comparison.mixtures[0].parts[0]
    classes = len(comparison.classes)
    frequent = int(torch.bincount(real.labels.flatten().long(), minlength=256)[:classes].argmax())
    counts = counts_of_constant(comparison.val, frequent, classes)
    return _Constant(comparison.classes[frequent], float(mean_iou(counts.sum(0))))


def _print(
    rows: Sequence[Row],
    sets: _Sets,
    comparison: Comparison,
    constant: _Constant,
    parameters: int,
    size: tuple[int, int],
) -> None:
    names, plan = class_names(sets.all), comparison.plan
    print()
    print("\n".join(aligned(table_of_rows(rows), words=(1, 6, 8))))
    print()
    print("\n".join(aligned(table_of_classes(rows, names, _pixels(comparison)), words=(0,))))
    print()
    net = comparison.settings["--net"]
    say(
        f"IoU in percent on {counted(len(comparison.val), 'held-out image')} of "
        f"{size[0]}x{size[1]} pixels; columns of the second table are lines of the first, "
        "±: half of a 95% interval"
    )
    say(
        f"each net ({net}, {parameters / 1e6:.2f} million parameters): "
        f"{counted(plan.steps, 'step')} of {plan.batch} images, "
        f"{counted(comparison.seeds, 'seed')}. Of 'real + ...' half of each batch is real, half "
        "generated, so real images come half as often as alone"
    )
    say(f"intervals: {rows[0].miou.method}. Differences are paired by seed and image")
    name = f"{constant.class_id} {names.get(constant.class_id, '')}".strip()
    say(
        f"for comparison: answering class {name}, the most frequent of the real images, everywhere "
        f"gets an mIoU of {100 * constant.miou:.1f}"
    )


def _pixels(comparison: Comparison) -> dict[int, float]:
    """Class id -> share of the held-out pixels that are of a class."""
    counts = torch.bincount(comparison.val.labels.flatten().long(), minlength=256)
    counts = counts[: len(comparison.classes)]
    shares = (counts / counts.sum()).tolist()
    return dict(zip(comparison.classes, shares, strict=True))


def _data(
    args: argparse.Namespace,
    rows: Sequence[Row],
    sets: _Sets,
    comparison: Comparison,
    constant: _Constant,
    parameters: int,
    size: tuple[int, int],
) -> dict[str, Any]:
    """All that was found and how, as plain data."""
    names = class_names(sets.all)
    folders = _names(args.generated)
    real = comparison.mixtures[0].parts[0]
    made = {m.name: m.parts[0] for m in comparison.mixtures if m.kind == GENERATED}
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "trainings": rows_as_json(rows, names),
        "held_out_images": len(comparison.val),
        "held_out_pixels": {str(i): share for i, share in _pixels(comparison).items()},
        "one_class_everywhere": {"id": constant.class_id, "miou": constant.miou},
        "sets": {
            "real": _set_as_json(args.real, real),
            "generated": {name: _set_as_json(folders[name], one) for name, one in made.items()},
            "val": _set_as_json(args.val, comparison.val),
        },
        "dataset": args.dataset,
        "split": args.split,
        "val_split": args.val_split,
        "palette": args.palette or sets.real.palette.name,
        "ignored_ids": list(sets.real.ignored),
        "size": list(size),
        "net": comparison.settings["--net"],
        "parameters": parameters,
        "steps": comparison.plan.steps,
        "batch": comparison.plan.batch,
        "shares_of_both": "equal halves of each batch",
        "rate": comparison.plan.rate,
        "seeds": comparison.seeds,
        "bootstrap_draws": args.draws,
        "device": args.device,
        "versions": versions(),
    }


def _set_as_json(folder: Path, one: IndexedSet) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "images": len(one),
        "label_maps": len({*one.maps}),
        "digest": one.digest,
    }


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in text.lower().split("x"))
    except ValueError:
        width = height = 0
    if min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 256x128")
    return width, height
