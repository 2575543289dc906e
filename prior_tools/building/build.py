"""From a dataset and a VAE to its prior: every image is encoded exactly once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..accumulator import PriorAccumulator, state_bytes
from ..datasets.dataset import PairDataset
from ..errors import PriorError, counted, printable
from ..grain_estimate import measure_grain
from ..helper_threads import HelperThreads
from ..labels.findings import check_any_class
from ..labels.palettes import get_palette
from ..labels.tally import LabelTally
from ..latent_formats import LATENT_FORMATS, UNKNOWN, check_channels
from ..memory import too_much
from ..prior import Prior, PriorMetadata, check_told
from .batches import read_batches
from .checkpoint import Checkpoint, Progress
from .kept import SetAside
from .options import DEFAULTS, BuildOptions
from .reading import GridItems, LabelledDataset, Stacked, check_dataset, stack_batch

_log = logging.getLogger("scp-diff")

# Fields of PriorMetadata that a build knows by itself.
_TOLD = {
    "latent_channels": "the latents",
    "grid": "the latents",
    "ignore_ids": "the dataset: give them to PairDataset, or as `ignored` of a dataset of your own",
    "downscale_factor": "the options: give it to BuildOptions",
    "label_method": "the options: give it to BuildOptions",
    "held_out": "the build: give a holdout to BuildOptions",
}


class BuildCancelled(Exception):
    """Raised by `build_prior` when its `cancelled` callback says so.

    >>> try:
    ...     build_prior(dataset, encode, cancelled=lambda: True)
    ... except BuildCancelled as error:
    ...     print(error)
    cancelled after 0 of 2 images
    """


def build_prior(
    dataset: LabelledDataset,
    encode: Callable[[Tensor], Tensor],
    options: BuildOptions = DEFAULTS,
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
    check_holdout(dataset, options)
    told = _metadata(dataset, options, metadata)
    dataset, _ = _surveyed(dataset, options, cancelled)
    collected = collect_moments(
        dataset,
        encode,
        options,
        latent_format=told.get("latent_format", UNKNOWN),
        progress=progress,
        cancelled=cancelled,
        skipped=skipped,
    )
    if palette := dataset.metadata.get("palette"):
        check_any_class(collected.tally, get_palette(palette), dataset.ignored)
    if tallied and dataset.labelled:
        tallied(collected.tally)
    return finalize(collected, dataset, options, **metadata)


def check_holdout(dataset: LabelledDataset, options: BuildOptions) -> None:
    """PriorError for images that are to be held out without label maps, or of a single image."""
    if options.holdout and not dataset.labelled:
        raise PriorError(
            f"holdout is {options.holdout}, but the dataset has no label maps: images are held out "
            "to compare modes, and of images alone there is only spatial; leave it out"
        )
    if options.holdout and len(dataset) == 1:
        raise PriorError(
            f"holdout is {options.holdout}, but there is one image alone, and the moments need it; "
            "leave holdout out"
        )


@dataclass(frozen=True)
class Collected:
    """What `collect_moments` has of a dataset.

    Attributes:
        state: the moments; None if the share of one of several ranks holds nothing to be used.
        tally: what the label maps hold.
        aside: what was kept beside the moments.
    """

    state: PriorAccumulator | None
    tally: LabelTally
    aside: SetAside


def finalize(
    collected: Collected, dataset: LabelledDataset, options: BuildOptions, **metadata: Any
) -> Prior:
    """The prior of what was collected from `dataset` with these options, all shares united.

    With the grain of its images, and what those held out say of it.
    """
    state = collected.state
    assert state is not None, "there is one rank, which has used something or raised"
    prior = state.finalize(**_metadata(dataset, options, metadata))
    if kept := collected.aside.for_grain.read():
        prior = replace(prior, grain=measure_grain(kept.latents, kept.labels, prior))
        del kept
    if held_out := collected.aside.held_out.read():
        # Few builds hold images out, and each start of ComfyUI would wait for it.
        from ..evaluation.fit import FitSums

        sums = FitSums(prior)
        for at, name in enumerate(held_out.names):
            one = slice(at, at + 1)
            sums.update([name], held_out.latents[one], held_out.labels[one], held_out.soft[one])
        told = replace(prior.metadata, held_out=sums.figures().held_out)
        prior = replace(prior, metadata=told)
    return prior


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
            raise BuildCancelled(f"cancelled after 0 of {counted(len(dataset), 'image')}")

    if not isinstance(dataset, PairDataset):
        return dataset, LabelTally()
    skip = options.on_error == "skip"
    return dataset.surveyed(max(1, options.workers), look, skip, options.how_to_skip)


@torch.inference_mode(False)
@torch.no_grad()
def collect_moments(
    dataset: LabelledDataset,
    encode: Callable[[Tensor], Tensor],
    options: BuildOptions = DEFAULTS,
    *,
    latent_format: str = UNKNOWN,
    share: tuple[int, int] = (0, 1),
    checkpoint: Checkpoint | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    skipped: Callable[[str, str], None] | None = None,
) -> Collected:
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
        checkpoint: where to go on from and to save to at batch ends; the files are left for the
            caller to remove. Latents that are to be kept lie beside it.
        progress: called as progress(done, total) at the start, where done is what the checkpoint
            holds, and after each batch, in this thread; what it raises ends the build.
        cancelled: asked between batches and while reading is waited for; if it returns True, the
            checkpoint is saved and BuildCancelled raised.

    Raises PriorError and BuildCancelled as `build_prior` does.
    """
    batch_size = options.batch_size
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
            f"the checkpoint is of a build that left out {counted(len(at.skipped), 'item')}; the "
            f"first, {name}: {reason}. To go on, {options.how_to_skip}; to begin anew, remove it"
        )
    if skipped:
        for name, reason in at.skipped:
            skipped(name, reason)
    beside = checkpoint.path if checkpoint else None
    aside = SetAside(dataset, options.holdout, beside, resume=at.next_batch > 0)
    done = sum(map(len, batches[: at.next_batch]))
    if progress:
        progress(done, total)

    def encoded(stacked: Stacked) -> Tensor:
        latents = encoded_batch(encode, stacked, options.downscale_factor)
        check_channels(latent_format, latents.shape[1])
        return latents

    def take_in(indices: list[int], stacked: Stacked) -> None:
        latents, labels = encoded(stacked), stacked.labels
        settle()
        if at.state is None:
            _, height, width = labels.shape
            _say_memory(dataset, latents.shape[1], (height, width))
            at.state = PriorAccumulator(latents.shape[1], (height, width), dataset.ignored)
        used = aside.put(indices, latents, labels, stacked.soft)
        if not used.all():
            at.state.check(latents[~used], labels[~used])
            latents, labels = latents[used], labels[used]
        adding.append(adder.submit(at.state.update, latents, labels))
        at.tally += stacked.tally

    def settle() -> None:
        """Wait for the accumulation under way; its errors come up here."""
        while adding:
            adding.pop().result()

    def look() -> None:
        if cancelled and cancelled():
            raise BuildCancelled(f"cancelled after {done} of {counted(total, 'image')}")

    if at.state:
        aside.begin(at.state.latent_channels, at.state.grid)
        left_out = {name for name, _ in at.skipped}
        before = [i for batch in batches[: at.next_batch] for i in batch]
        used = [i for i in before if dataset.name(i) not in left_out]
        _make_good(dataset, encoded, options, aside, used, look)
    adding: list[Future[None]] = []
    complete = True
    left = batches[at.next_batch :]
    with read_batches(dataset, options, left, look, aside.candidates) as reading:
        adder = HelperThreads(1, "scp-add")
        try:
            for batch in reading:
                complete = False
                if checkpoint and checkpoint.due:
                    settle()
                    checkpoint.save(at)
                if batch.stacked:
                    take_in(batch.indices, batch.stacked)
                at.next_batch += 1
                at.skipped += batch.left_out
                if skipped:
                    for name, reason in batch.left_out:
                        skipped(name, reason)
                done += batch.count
                if progress:
                    progress(done, total)
                complete = True
            # The last batch's own.
            complete = False
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
    if ranks == 1:
        check_any_used(at.state, total, [f"{name}: {reason}" for name, reason in at.skipped])
    if checkpoint:
        checkpoint.save(at)
    return Collected(at.state, at.tally, aside)


def check_any_used(state: PriorAccumulator | None, total: int, skipped: Sequence[str]) -> None:
    """PriorError if moments are of no image, though there were so many.

    skipped: why items were left out.
    """
    if state is None:
        raise PriorError(f"none of the {total} images could be used; the first, {skipped[0]}")
    if state.num_images == 0:
        raise PriorError(
            f"of {total} images all that were not held out had to be left out; the first, "
            f"{skipped[0]}"
        )


def encoded_batch(encode: Callable[[Tensor], Tensor], stacked: Stacked, factor: int) -> Tensor:
    """Latents of a batch; PriorError if they are of another size than its labels."""
    images, labels = stacked.images, stacked.labels
    latents = encode(images)
    if latents.ndim != 4 or tuple(latents.shape[2:]) != tuple(labels.shape[1:]):
        raise PriorError(
            f"the VAE gave latents of shape {tuple(latents.shape)} for images of "
            f"{images.shape[2]}x{images.shape[1]} pixels; expected [N, C, {labels.shape[1]}, "
            f"{labels.shape[2]}] at a downscale factor of {factor}"
        )
    return latents


def _make_good(
    dataset: LabelledDataset,
    encoded: Callable[[Stacked], Tensor],
    options: BuildOptions,
    aside: SetAside,
    done: Sequence[int],
    look: Callable[[], None],
) -> None:
    """Encode again what was kept of images that are done and is not there any more."""
    missing = aside.missing(done)
    if not missing:
        return
    _log.warning(
        "SCP-Diff: of %d images, latents that were kept beside the checkpoint are missing or "
        "damaged; these images are encoded again",
        len(missing),
    )
    items = GridItems(
        dataset, options.downscale_factor, options.label_method, frozenset(aside.candidates)
    )
    for index in missing:
        look()
        item = items[index]
        if isinstance(item, PriorError):
            raise item
        stacked = stack_batch([item])
        aside.put([index], encoded(stacked), stacked.labels, stacked.soft)


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
