"""From a dataset and a VAE to its prior: every image is encoded exactly once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ..accumulator import PriorAccumulator, state_bytes
from ..datasets.dataset import PairDataset
from ..errors import PriorError, printable
from ..helper_threads import HelperThreads
from ..labels.findings import check_any_class
from ..labels.geometry import check_label_method
from ..labels.palettes import get_palette
from ..labels.tally import LabelTally
from ..latent_formats import LATENT_FORMATS, UNKNOWN, check_channels
from ..memory import too_much
from ..prior import Prior, PriorMetadata, check_told
from ..whole_numbers import check_downscale_factor, whole
from .checkpoint import Checkpoint, Progress
from .reading import (
    GridItems,
    Item,
    LabelledDataset,
    Stacked,
    check_dataset,
    read_in_processes,
    read_in_threads,
    stack_batch,
)

ON_ERROR = ("stop", "skip")

_log = logging.getLogger("scp-diff")

# Fields of PriorMetadata that a build knows by itself.
_TOLD = {
    "latent_channels": "the latents",
    "grid": "the latents",
    "ignore_ids": "the dataset: give them to PairDataset, or as `ignored` of a dataset of your own",
    "downscale_factor": "the options: give it to BuildOptions",
    "label_method": "the options: give it to BuildOptions",
}


class BuildCancelled(Exception):
    """Raised by `build_prior` when its `cancelled` callback says so.

    >>> try:
    ...     build_prior(dataset, encode, cancelled=lambda: True)
    ... except BuildCancelled as error:
    ...     print(error)
    cancelled after 0 of 2 images
    """


@dataclass(frozen=True)
class BuildOptions:
    """How a dataset is gone through.

    Attributes:
        downscale_factor: pixels per latent cell; h = H // factor.
        label_method: see `resize_labels`; without label maps it plays no part.
        batch_size: images that are encoded at once.
        on_error: "stop" raises at the first item that cannot be read; "skip" leaves it out.
        workers: number of threads or processes that read; 0 is one thread.
        processes: read in processes; only outside ComfyUI.

    Raises PriorError for numbers out of range, and for other words.

    >>> options = BuildOptions(batch_size=1, label_method="nearest")
    >>> build_prior(dataset, encode, options).metadata.label_method
    'nearest'
    """

    downscale_factor: int = 8
    label_method: str = "majority"
    batch_size: int = 8
    on_error: str = "stop"
    workers: int = 4
    processes: bool = False

    def __post_init__(self) -> None:
        if self.on_error not in ON_ERROR:
            raise PriorError(
                f"on_error is {self.on_error!r}; expected one of {', '.join(ON_ERROR)}"
            )
        check_label_method(self.label_method)
        check_downscale_factor(self.downscale_factor)
        whole(self.batch_size, "batch_size", 1)
        whole(self.workers, "workers", 0)


def build_prior(
    dataset: LabelledDataset,
    encode: Callable[[Tensor], Tensor],
    options: BuildOptions = BuildOptions(),
    *,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    skipped: Callable[[str, str], None] | None = None,
    tallied: Callable[[LabelTally], None] | None = None,
    **metadata: Any,
) -> Prior:
    """The prior of all items of `dataset`; each is encoded once.

    Args:
        dataset: images of one size, uint8 or float in 0..1, with label maps of any size, such as
            `PairDataset`, or without, such as `ImageDataset`; see `LabelledDataset` for one of your
            own.
        encode: images float32 [N, H, W, 3] in 0..1 to latents [N, C, h, w] in raw VAE units, on
            any device; called in this thread, once for each image, in batches of consecutive
            items.
        options: see `BuildOptions`.
        progress: called as progress(done, total) at the start and after each batch, in this
            thread; what it raises ends the build.
        cancelled: asked between batches and while reading is waited for; if it returns True,
            BuildCancelled is raised.
        skipped: called as skipped(name, reason) for each item left out.
        tallied: called at the end with what the label maps hold, see `findings`; not for images
            alone.
        metadata: fields of `PriorMetadata` beside those that latents, dataset and options tell,
            such as latent_format and dataset_name.

    Raises:
        PriorError: before anything is encoded, for a dataset that lacks something or is empty, for
            metadata that are none, and for label files that cannot be meant (see `survey`). Later
            for an item that cannot be used (if `options` do not skip it) or none that can, images
            of several sizes, NaN in latents, latents of another size than images // factor or of
            another number of channels than the latent format's, a reading process that was killed,
            or if no label map holds a class.
        BuildCancelled: see `cancelled`.

    >>> prior = build_prior(dataset, encode, dataset_name="streets")
    >>> prior.num_images, [prior.class_name(i) for i in prior.class_ids.tolist()]
    (2, ['sky', 'road', 'car'])
    """
    check_dataset(dataset)
    told = _metadata(dataset, options, metadata)
    dataset, _ = _surveyed(dataset, options, cancelled)
    state, tally = collect_moments(
        dataset,
        encode,
        options,
        latent_format=told.get("latent_format", UNKNOWN),
        progress=progress,
        cancelled=cancelled,
        skipped=skipped,
    )
    assert state is not None, "there is one rank, which has used something or raised"
    if palette := dataset.metadata.get("palette"):
        check_any_class(tally, get_palette(palette), dataset.ignored)
    if tallied and dataset.labelled:
        tallied(tally)
    return finalize(state, dataset, options, **metadata)


def finalize(
    state: PriorAccumulator, dataset: LabelledDataset, options: BuildOptions, **metadata: Any
) -> Prior:
    """The prior of moments collected from `dataset` with these options."""
    return state.finalize(**_metadata(dataset, options, metadata))


def _metadata(
    dataset: LabelledDataset, options: BuildOptions, given: dict[str, Any]
) -> dict[str, Any]:
    """All metadata but what latents tell; PriorError says what is wrong with them."""
    told = {**dataset.metadata, **given}
    check_told(told, _TOLD)
    told["downscale_factor"] = options.downscale_factor
    told["label_method"] = options.label_method if dataset.labelled else None
    known = LATENT_FORMATS.get(str(told.get("latent_format")))
    PriorMetadata(
        latent_channels=known.channels if known else 1,
        grid=(1, 1),
        ignore_ids=dataset.ignored,
        **told,
    )
    return told


def _surveyed(
    dataset: LabelledDataset,
    options: BuildOptions,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[LabelledDataset, LabelTally]:
    """A dataset of files once some of its label files were looked through, and what they hold.

    Any other as it is. Raises PriorError for files that cannot be meant, see `survey`, and
    BuildCancelled.
    """

    def look() -> None:
        if cancelled and cancelled():
            raise BuildCancelled(f"cancelled after 0 of {len(dataset)} images")

    if not isinstance(dataset, PairDataset):
        return dataset, LabelTally()
    return dataset.surveyed(max(1, options.workers), look, options.on_error == "skip")


@torch.inference_mode(False)
@torch.no_grad()
def collect_moments(
    dataset: LabelledDataset,
    encode: Callable[[Tensor], Tensor],
    options: BuildOptions = BuildOptions(),
    *,
    latent_format: str = UNKNOWN,
    share: tuple[int, int] = (0, 1),
    checkpoint: Checkpoint | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    skipped: Callable[[str, str], None] | None = None,
) -> tuple[PriorAccumulator | None, LabelTally]:
    """The moments of the items of `dataset`, or of one process's share of them.

    Reading runs ahead in other threads or processes. While a batch is encoded, the one before it is
    accumulated and the next one stacked, each in a thread of its own. All keep the order, so the
    result depends on nothing but the arguments. Inference mode, in which ComfyUI runs nodes, holds
    for one thread only and its tensors cannot be changed in another, so the moments are kept
    outside of it.

    Args:
        dataset, encode, options, skipped: see `build_prior`.
        latent_format: of the model that the prior is for.
        share: (rank, number of ranks): this call takes every batch whose number is rank modulo the
            number of ranks.
        checkpoint: where to go on from and to save to at batch ends; the file is left for the
            caller to remove.
        progress: called as progress(done, total) at the start, where done is what the checkpoint
            holds, and after each batch, in this thread; what it raises ends the build.
        cancelled: asked between batches and while reading is waited for; if it returns True, the
            checkpoint is saved and BuildCancelled raised.

    Returns:
        The moments, and what the label maps hold. None for moments if the share of one of several
        ranks holds nothing that could be used.

    Raises PriorError and BuildCancelled as `build_prior` does.
    """
    batch_size, factor = options.batch_size, options.downscale_factor
    if len(dataset) == 0:
        raise PriorError("nothing to build from: the dataset holds no images")
    rank, ranks = share
    starts = range(rank * batch_size, len(dataset), ranks * batch_size)
    batches = [range(s, min(s + batch_size, len(dataset))) for s in starts]
    total = sum(map(len, batches))

    at = checkpoint.load() if checkpoint else Progress()
    if at.skipped and options.on_error == "stop":
        name, reason = at.skipped[0]
        raise PriorError(
            f"the checkpoint is of a build that left out {len(at.skipped)} items; the first, "
            f"{name}: {reason}. Set on_error to skip to go on, or remove it to begin anew"
        )
    if skipped:
        for name, reason in at.skipped:
            skipped(name, reason)
    done = sum(map(len, batches[: at.next_batch]))
    if progress:
        progress(done, total)

    def take_in(images: Tensor, labels: Tensor, tally: LabelTally) -> None:
        latents = encode(images)
        settle()
        if latents.ndim != 4 or tuple(latents.shape[2:]) != tuple(labels.shape[1:]):
            raise PriorError(
                f"the VAE gave latents of shape {tuple(latents.shape)} for images of "
                f"{images.shape[2]}x{images.shape[1]} pixels; expected [N, C, {labels.shape[1]}, "
                f"{labels.shape[2]}] at a downscale factor of {factor}"
            )
        check_channels(latent_format, latents.shape[1])
        if at.state is None:
            _, height, width = labels.shape
            _say_memory(dataset, latents.shape[1], (height, width))
            at.state = PriorAccumulator(latents.shape[1], (height, width), dataset.ignored)
        adding.append(adder.submit(at.state.update, latents, labels))
        at.tally += tally

    def settle() -> None:
        """Wait for the accumulation under way; its errors come up here."""
        while adding:
            adding.pop().result()

    def look() -> None:
        if cancelled and cancelled():
            raise BuildCancelled(f"cancelled after {done} of {total} images")

    first: tuple[str, tuple[int, int]] | None = None

    def stacked(batch: range, found: list[Item]) -> tuple[Stacked | None, list[tuple[str, str]]]:
        """What of a batch can be used, and (name, reason) of what is left out."""
        nonlocal first
        usable, left_out = [], []
        for index, item in zip(batch, found, strict=True):
            if not isinstance(item, PriorError):
                height, width, _ = item[0].shape
                first = first or (dataset.name(index), (height, width))
                if first[1] != (height, width):
                    raise PriorError(
                        f"the image of {dataset.name(index)} has {width}x{height} pixels, that "
                        f"of {first[0]} {first[1][1]}x{first[1][0]}; expected images of one "
                        "size: resize them as the dataset reads them"
                    )
                usable.append(item)
                continue
            if options.on_error == "stop":
                said = str(item).rstrip(".")
                raise PriorError(f"{said}. To leave such files out, set on_error to skip")
            left_out.append((dataset.name(index), str(item)))
        return stack_batch(usable) if usable else None, left_out

    left = batches[at.next_batch :]
    read = read_in_processes if options.processes and options.workers else read_in_threads
    reading = read(
        GridItems(dataset, factor, options.label_method),
        [i for batch in left for i in batch],
        max(1, options.workers),
        2 * batch_size + options.workers,
        look,
    )
    adding: list[Future[None]] = []
    stacking: list[Future[tuple[Stacked | None, list[tuple[str, str]]]]] = []
    complete = True
    with reading as items:
        adder, stacker = HelperThreads(1, "scp-add"), HelperThreads(1, "scp-stack")

        def stack(batch: range) -> None:
            found = list(islice(items, len(batch)))
            stacking.append(stacker.submit(stacked, batch, found))

        try:
            for number, batch in enumerate(left):
                complete = True
                look()
                if not stacking:
                    stack(batch)
                arrays, left_out = stacking.pop().result()
                # Only what is there already: a file that hangs holds up none that came before it.
                if number + 1 < len(left) and items.ready(len(left[number + 1])):
                    stack(left[number + 1])
                complete = False
                if checkpoint and checkpoint.due:
                    settle()
                    checkpoint.save(at)
                if arrays:
                    take_in(*arrays)
                at.next_batch += 1
                at.skipped += left_out
                if skipped:
                    for name, reason in left_out:
                        skipped(name, reason)
                done += len(batch)
                if progress:
                    progress(done, total)
            settle()
        except (BuildCancelled, PriorError):
            # Before a batch is taken in the moments and the count of batches agree: then nothing of
            # what was done is lost, be it to a person's wish or to a file or a process that failed.
            if complete:
                settle()
                if checkpoint:
                    checkpoint.save(at)
            raise
        finally:
            adder.end()
            stacker.end()
    if at.state is None and ranks == 1:
        name, reason = at.skipped[0]
        raise PriorError(f"none of the {total} images could be used; the first, {name}: {reason}")
    if checkpoint:
        checkpoint.save(at)
    return at.state, at.tally


def _say_memory(dataset: LabelledDataset, channels: int, grid: tuple[int, int]) -> None:
    """Warn where all classes of the dataset's palette would take most of the memory.

    Which of them there are is known only as they come; the accumulator stops at those.
    """
    told = dataset.metadata.get("palette")
    if told is None:
        return
    palette = get_palette(told)
    classes = set(palette.colors or palette.names) - set(dataset.ignored)
    what = f"collecting all {len(classes)} classes of the palette {palette.name}"
    if said := too_much(state_bytes(len(classes), channels, grid), what):
        _log.warning(
            "SCP-Diff: %s; the build stops if the images hold too many of them", printable(said)
        )
