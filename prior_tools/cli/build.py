"""`build`: the prior of a dataset on disk."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from ..building.build import (
    BuildCancelled,
    check_any_used,
    check_holdout,
    collect_moments,
    finalize,
)
from ..building.checkpoint import Checkpoint
from ..building.options import DEFAULTS, ON_ERROR, BuildOptions
from ..building.ranks import Ranks
from ..datasets.dataset import PairDataset
from ..datasets.images import ImageDataset, find_images, label_folders_among
from ..datasets.layout import Layout
from ..datasets.pairs import choose_subset, same_files
from ..errors import PriorError, counted, listing
from ..labels.findings import check_any_class, findings
from ..labels.geometry import LABEL_METHODS, RESIZE_POLICIES
from ..labels.id_maps import ID_MAPS
from ..labels.ids import parse_ids
from ..labels.tally import LabelTally
from ..latent_formats import AUTO, CHOICES, LATENT_FORMATS, choose_format
from ..name_lengths import path_beside
from ..prior import Prior
from .class_names import read_class_names
from .comfy_vae import DTYPES, ComfyVAE, find_comfyui, load_vae
from .dataset_options import add_dataset, read_layout
from .device import choose_device, seen_by_torch
from .output import add_output, check_output, classes_of, save, say, warn
from .palettes import add_palette
from .stopping import stopped_by_signal

CANCELLED = 130

# Of --dataset: a folder of images alone, which is none of the layouts with label maps.
IMAGES = "images"

HOW_TO_SKIP = "add --on-error skip"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `build` to the command line."""
    parser = commands.add_parser(
        "build",
        help="collect the prior of a dataset in one pass",
        description="Encode every image of a dataset once and write its prior. Killed or stopped, "
        "it goes on from its checkpoint when started again. Under torchrun the images are shared "
        "out among the processes.",
    )
    data = add_images(parser, IMAGES, "a folder of images without label maps")
    data.add_argument(
        "--class-names", type=Path, metavar="FILE", help="lines of 'ID NAME', or JSON"
    )
    data.add_argument("--name", help="what to call the dataset in the file")
    data.add_argument(
        "--holdout",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="leave this share of the images out, such as 0.05, at most 256 of them, and store how "
        "well the prior predicts them",
    )

    work = add_encoding(parser)
    work.add_argument(
        "--latent-format",
        choices=CHOICES,
        default=AUTO,
        help="of the model that will sample; auto, the default, stops where the VAE leaves several",
    )
    work.add_argument("--size", type=_size, required=True, metavar="WxH", help="in pixels")
    work.add_argument("--resize", choices=RESIZE_POLICIES, default="stretch")
    work.add_argument(
        "--labels",
        choices=LABEL_METHODS,
        help=f"how they are brought to latent cells, default {DEFAULTS.label_method}",
    )
    work.add_argument(
        "--checkpoint-every", type=float, default=60.0, metavar="SECONDS", help="default: 60"
    )
    add_output(parser)


def add_images(
    parser: argparse.ArgumentParser, other: str = "", what: str = ""
) -> argparse._ArgumentGroup:
    """Add the options that name labelled images; other, what: see `add_dataset`."""
    data = parser.add_argument_group("dataset")
    add_dataset(data, other, what)
    data.add_argument("--limit", type=int, default=0, metavar="N", help="a random subset of N")
    data.add_argument("--seed", type=int, default=0, help="of the subset")
    add_palette(data, "of label files (default: the dataset's own)")
    data.add_argument(
        "--id-map",
        metavar="MAP",
        help="label files hold ids that differ from the palette's: entries OLD=NEW such as "
        "0=-1,1-150=0, a file of them, or one of " + ", ".join(ID_MAPS),
    )
    data.add_argument("--ignore-ids", metavar="IDS", help="such as 0,255; 'none'; default: its own")
    return data


def add_encoding(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that say by what images are encoded."""
    work = parser.add_argument_group("encoding")
    work.add_argument("--vae", type=Path, required=True, metavar="FILE", help="safetensors")
    work.add_argument("--comfyui", type=Path, metavar="DIR", help="ComfyUI's folder")
    work.add_argument("--batch-size", type=int, default=8, metavar="N", help="images at once")
    work.add_argument(
        "--workers", type=int, default=4, metavar="N", help="processes that read, 0: none"
    )
    work.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps")
    work.add_argument("--dtype", choices=list(DTYPES), default="auto")
    work.add_argument("--on-error", choices=ON_ERROR, default="stop", help="files that fail")
    return work


def run(args: argparse.Namespace) -> int:
    """Build, save and sum up."""
    check_output(args)
    with Ranks.of_environment() as ranks:
        return _build(args, ranks)


def _build(args: argparse.Namespace, ranks: Ranks) -> int:
    # All that can be wrong is said before the VAE is loaded, and of the VAE before it encodes.
    if args.limit < 0:
        raise PriorError(f"--limit is {args.limit}; expected a number of images, or 0 for all")
    if not args.checkpoint_every >= 0:
        raise PriorError(f"--checkpoint-every is {args.checkpoint_every}; expected seconds")
    if args.dataset == IMAGES:
        _check_images_alone(args)
    layout = None if args.dataset == IMAGES else layout_of(args)
    if args.class_names:
        names = read_class_names(args.class_names, "--class-names")
    else:
        names = dict(layout.palette.names) if layout else {}
    known = LATENT_FORMATS.get(args.latent_format)
    options = BuildOptions(
        downscale_factor=known.downscale_factor if known else 1,
        label_method=args.labels or DEFAULTS.label_method,
        batch_size=args.batch_size,
        on_error=args.on_error,
        how_to_skip=HOW_TO_SKIP,
        workers=args.workers,
        processes=True,
        holdout=args.holdout,
    )
    _check_size(args.size, options.downscale_factor, f"latent format {args.latent_format}")
    dataset: PairDataset | ImageDataset
    dataset = layout.dataset(args.size, args.resize) if layout else _images(args)
    identity = _identity(args, layout, dataset, ranks)
    dataset = dataset.subset(choose_subset(len(dataset), args.limit, args.seed))
    check_holdout(dataset, options)
    images = {dataset.name(i): dataset.files(i)[0] for i in range(len(dataset))}
    if ranks.rank == 0 and (linked := same_files(images, "images")):
        warn(linked)
    checkpoint = Checkpoint(
        _checkpoint_path(args.out, ranks),
        identity,
        every=args.checkpoint_every,
        used=_UsedFiles(dataset, args.batch_size, ranks),
    )
    checkpoint.check()
    if isinstance(dataset, PairDataset):
        try:
            dataset, found = _surveyed(dataset, args)
        except BuildCancelled as error:
            print(error, file=sys.stderr)
            return CANCELLED
        checkpoint.identity["grey label maps"] = "ids" if dataset.grey_is_ids else "colors"
        if ranks.rank == 0 and found.files < len(dataset):
            _say_labels(found, dataset, f"of {counted(found.files, 'label map')} looked at: ")
    device = choose_device(args.device, ranks, *seen_by_torch())

    vae = load_vae(args.vae, find_comfyui(args.comfyui), device, args.dtype)
    latent_format = choose_format(args.latent_format, vae.latents, "--latent-format")
    factor = vae.latents.downscale_factor
    _check_size(args.size, factor, "this VAE")
    options = replace(options, downscale_factor=factor)
    checkpoint.identity |= _identity_of_vae(vae)
    checkpoint.vae = vae.fingerprint

    skipped: list[str] = []
    with stopped_by_signal() as cancelled, progress_bar(len(dataset), ranks) as show:
        try:
            collected = collect_moments(
                dataset,
                vae.encode,
                options,
                latent_format=latent_format,
                share=(ranks.rank, ranks.size),
                checkpoint=checkpoint,
                progress=show,
                cancelled=cancelled,
                skipped=lambda name, reason: skipped.append(f"{name}: {reason}"),
            )
        except BuildCancelled as error:
            stopped = str(error)
        else:
            stopped = ""
    if stopped:
        print(f"{stopped}; start the same command again to go on from there", file=sys.stderr)
        return CANCELLED
    skipped = ranks.gathered(skipped)
    collected = ranks.united(collected)
    if ranks.rank == 0:
        check_any_used(collected.state, len(dataset), skipped)
        tally = collected.tally
        if layout:
            check_any_class(tally, layout.palette, dataset.ignored, "--ignore-ids")
            name = f"{layout.name} {layout.split}".strip()
        else:
            name = args.root.resolve().name
        prior = finalize(
            collected,
            dataset,
            options,
            latent_format=latent_format,
            vae=vae.fingerprint,
            dataset_name=args.name or name,
            class_names=names,
        )
        save(prior, args)
        _summarize(prior, layout, skipped)
        if isinstance(dataset, PairDataset):
            _say_labels(tally, dataset)
    ranks.wait_until_saved()
    checkpoint.remove()
    collected.aside.remove()
    return 0


def layout_of(args: argparse.Namespace) -> Layout:
    """The dataset that the options of `add_images` name."""
    layout = read_layout(args)
    if args.ignore_ids is not None:
        layout = replace(layout, ignore_ids=parse_ids(args.ignore_ids, "--ignore-ids"))
    return layout


def _check_images_alone(args: argparse.Namespace) -> None:
    """PriorError for options of label maps, and without a folder."""
    for name in (
        *("split", "images_dir", "labels_dir", "image_suffix", "label_suffix", "list"),
        *("palette", "id_map", "class_names", "ignore_ids", "labels"),
    ):
        if getattr(args, name) is not None:
            raise PriorError(
                f"--{name.replace('_', '-')} is given, but --dataset {IMAGES} is a folder of "
                "images without label maps, read whole; leave it out, or choose another --dataset"
            )
    if args.root is None:
        raise PriorError("--root is missing; give the folder of images")


def _images(args: argparse.Namespace) -> ImageDataset:
    images = find_images(args.root)
    if among := label_folders_among(images):
        warn(among)
    return ImageDataset(images, args.size, args.resize)


def _surveyed(dataset: PairDataset, args: argparse.Namespace) -> tuple[PairDataset, LabelTally]:
    """See `PairDataset.surveyed`; BuildCancelled by a signal."""
    with stopped_by_signal() as cancelled:

        def look() -> None:
            if cancelled():
                raise BuildCancelled(f"cancelled after 0 of {counted(len(dataset), 'image')}")

        return dataset.surveyed(max(1, args.workers), look, args.on_error == "skip", HOW_TO_SKIP)


def _check_size(size: tuple[int, int], factor: int, of: str) -> None:
    width, height = size
    if width % factor or height % factor:
        raise PriorError(
            f"{width}x{height} pixels are not whole latent cells; expected multiples of {factor} "
            f"for {of}"
        )


def _identity(
    args: argparse.Namespace,
    layout: Layout | None,
    dataset: PairDataset | ImageDataset,
    ranks: Ranks,
) -> dict[str, str]:
    """All that the moments depend on beside the VAE, for the checkpoint."""
    names = hashlib.sha256()
    for index in range(len(dataset)):
        # Names on Linux are bytes, which need not be text.
        names.update(f"{dataset.name(index)}\n".encode(errors="surrogateescape"))
    options = ("limit", "seed", "size", "resize", "batch_size", "holdout")
    return {
        "dataset": layout.name if layout else IMAGES,
        **{name.replace("_", " "): str(getattr(args, name)) for name in options},
        **(_identity_of_labels(args, layout) if layout else {}),
        "number of images": str(len(dataset)),
        "names of the images": names.hexdigest()[:12],
        "number of ranks": str(ranks.size),
    }


def _identity_of_labels(args: argparse.Namespace, layout: Layout) -> dict[str, str]:
    told = hashlib.sha256()
    if layout.form:
        for pair in layout.pairs:
            told.update(f"{layout.form.told(pair.label)}\n".encode())
    return {
        "split": layout.split,
        "label method": args.labels or DEFAULTS.label_method,
        "palette": layout.palette.name,
        "colors or classes of the palette": _digest(layout.palette.to_json()),
        "ignored ids": str(layout.ignore_ids),
        "id map": _digest(layout.id_map),
        "endings of the label maps": args.label_suffix or "",
        "classes that other files tell": told.hexdigest()[:12] if layout.form else "",
    }


def _digest(data: object) -> str:
    return hashlib.sha256(repr(data).encode(errors="surrogateescape")).hexdigest()[:12]


class _UsedFiles:
    """What changes when a file of the first so many batches of a rank does."""

    def __init__(self, dataset: PairDataset | ImageDataset, batch_size: int, ranks: Ranks) -> None:
        self._dataset = dataset
        self._batch_size, self._ranks = batch_size, ranks
        self._begin()

    def _begin(self) -> None:
        self._batches, self._digest = 0, hashlib.sha256()

    def __call__(self, batches: int) -> str:
        if batches < self._batches:
            self._begin()
        for batch in range(self._batches, batches):
            start = (batch * self._ranks.size + self._ranks.rank) * self._batch_size
            for index in range(start, min(start + self._batch_size, len(self._dataset))):
                states = " ".join(map(_state, self._dataset.files(index)))
                self._digest.update(f"{states}\n".encode())
        self._batches = batches
        return self._digest.hexdigest()[:12]


def _state(path: Path) -> str:
    """What changes when a file does. One that is not there is for its reader to tell of."""
    try:
        state = path.stat()
    except OSError:
        return "missing"
    return f"{state.st_size} {state.st_mtime_ns}"


def _identity_of_vae(vae: ComfyVAE) -> dict[str, str]:
    return {
        "device": vae.device.partition(":")[0],
        "dtype": vae.dtype,
    }


def _checkpoint_path(out: Path, ranks: Ranks) -> Path:
    """Beside the output; one for each rank, found whatever the number of ranks."""
    suffix = f".rank{ranks.rank}" if ranks.rank else ""
    return path_beside(out, f"{suffix}.checkpoint")


def _summarize(prior: Prior, layout: Layout | None, skipped: list[str]) -> None:
    """Images used, those left out and why, classes, coverage."""
    if layout:
        seen = float((prior.joint_count > 0).double().mean()) if len(prior.class_ids) else 0.0
        found = f"{classes_of(prior)}; {seen:.0%} of all (class, cell) pairs were seen"
    else:
        found = "no label maps, so the prior is for mode spatial"
    say(f"used {counted(prior.num_images, 'image')}; {found}; 'inspect' tells more")
    if held_out := prior.metadata.held_out:
        say(str(held_out))
    if skipped:
        warn(f"{counted(len(skipped), 'image')} left out: {listing(skipped, 5)}")
    if layout and layout.unpaired:
        warn(f"left out, without a partner: {layout.unpaired}")


def _say_labels(tally: LabelTally, dataset: PairDataset, where: str = "") -> None:
    """The labelled share, and what is strange about the label maps."""
    share = tally.labelled(dataset.ignored)
    say(f"{where}{share:.1%} of the label maps' pixels are of a class that counts")
    for _, text in findings(tally, dataset.rules.palette, dataset.ignored, "--ignore-ids"):
        warn(f"{where}{text}")


@contextmanager
def progress_bar(total: int, ranks: Ranks) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with images per second and time left, on rank 0, of its share."""
    with tqdm(total=total, unit="img", disable=ranks.rank > 0, smoothing=0.05) as bar:

        def show(done: int, share: int) -> None:
            if not started:
                # What a checkpoint holds is done, but not at this run's pace.
                bar.total, bar.initial, bar.n = share, done, done
                started.append(True)
            bar.update(done - bar.n)

        started: list[bool] = []
        yield show


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 1024x512") from None
    if width < 1 or height < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 1024x512")
    return width, height
