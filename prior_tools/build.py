"""From a labelled dataset and a VAE to its prior: every image is encoded exactly once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

from .accumulator import PriorAccumulator
from .dataset import LabelledImage
from .errors import PriorError
from .labels import resize_labels
from .prior import Prior

ON_ERROR = ("stop", "skip")


class BuildCancelled(Exception):
    """Raised by `build_prior` when its `cancelled` callback says so."""


class LabelledDataset(Protocol):
    """What `build_prior` reads from, such as `PairDataset`; items are read in several threads."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledImage: ...

    def name(self, index: int) -> str:
        """What to call item `index` in a message."""


def build_prior(
    dataset: LabelledDataset,
    encode: Callable[[Tensor], Tensor],
    *,
    downscale_factor: int = 8,
    batch_size: int = 8,
    ignore_ids: tuple[int, ...] = (),
    label_method: str = "majority",
    on_error: str = "stop",
    workers: int = 4,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    skipped: Callable[[str, PriorError], None] | None = None,
    **metadata: object,
) -> Prior:
    """The prior of all items of `dataset`.

    Args:
        dataset: images of one size with label maps of any size.
        encode: images float32 [N, H, W, 3] in 0..1 to latents [N, C, h, w] in raw VAE units, on
            any device; called in this thread with full batches of `batch_size`, the last excepted.
        downscale_factor: pixels per latent cell; h = H // factor.
        ignore_ids: class ids kept out of the class and joint moments.
        label_method: see `resize_labels`.
        on_error: "stop" raises at the first item that cannot be read; "skip" leaves it out.
        workers: threads that read ahead. Threads, because a node pack is imported under its path,
            which spawned processes cannot import; decoding and resizing release the lock.
        progress: called as progress(done, total) after each batch, in this thread; what it raises
            ends the build.
        cancelled: asked between batches; if it returns True, BuildCancelled is raised.
        skipped: called as skipped(name, error) for each item left out.
        metadata: further fields of `PriorMetadata`.

    Raises:
        PriorError: nothing to read, an item that cannot be used, NaN in latents, or latents of
            another size than images // factor.
    """
    if on_error not in ON_ERROR:
        raise PriorError(f"on_error is {on_error!r}; expected one of {', '.join(ON_ERROR)}")
    if batch_size < 1 or len(dataset) == 0:
        raise PriorError(f"nothing to build from: {len(dataset)} images, batch size {batch_size}")

    def read(index: int) -> tuple[Tensor, Tensor]:
        item = dataset[index]
        grid = tuple(side // downscale_factor for side in item.image.shape[:2])
        return item.image, resize_labels(item.labels, grid, label_method)

    failures: list[tuple[str, PriorError]] = []

    def leave_out(index: int, error: PriorError) -> None:
        if on_error == "stop":
            raise PriorError(f"{error}. To leave such files out, set on_error to skip") from error
        failures.append((dataset.name(index), error))
        if skipped:
            skipped(*failures[-1])

    state: PriorAccumulator | None = None
    total = len(dataset)
    for batch in _batches(read, total, batch_size, max(1, workers), leave_out):
        if cancelled and cancelled():
            raise BuildCancelled(f"cancelled after {state.num_images if state else 0} images")
        images = torch.stack([image for image, _ in batch])
        labels = torch.stack([ids for _, ids in batch])
        latents = encode(images)
        if latents.ndim != 4 or tuple(latents.shape[2:]) != tuple(labels.shape[1:]):
            raise PriorError(
                f"the VAE gave latents of shape {tuple(latents.shape)} for images of "
                f"{images.shape[2]}x{images.shape[1]} pixels; expected [N, C, {labels.shape[1]}, "
                f"{labels.shape[2]}] at a downscale factor of {downscale_factor}"
            )
        if state is None:
            state = PriorAccumulator(latents.shape[1], labels.shape[1:], ignore_ids)
        state.update(latents, labels)
        if progress:
            progress(state.num_images + len(failures), total)
    if state is None:
        name, error = failures[0]
        raise PriorError(f"none of the {total} images could be used; the first, {name}: {error}")
    return state.finalize(downscale_factor=downscale_factor, label_method=label_method, **metadata)


def _batches(
    read: Callable[[int], tuple[Tensor, Tensor]],
    total: int,
    batch_size: int,
    workers: int,
    leave_out: Callable[[int, PriorError], None],
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Full batches of what `read` gives for 0..total-1 in order, read ahead by two batches."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="scp-read")
    ahead: deque[tuple[int, Future]] = deque()
    upcoming = iter(range(total))
    batch: list[tuple[Tensor, Tensor]] = []
    try:
        while True:
            while len(ahead) < 2 * batch_size + workers and (i := next(upcoming, None)) is not None:
                ahead.append((i, pool.submit(read, i)))
            if not ahead:
                break
            index, future = ahead.popleft()
            try:
                batch.append(future.result())
            except PriorError as error:
                leave_out(index, error)
            if len(batch) == batch_size:
                yield batch
                batch = []
        if batch:
            yield batch
    finally:
        # Runs on errors and on cancel as well: nothing goes on reading for a build that has ended.
        pool.shutdown(wait=True, cancel_futures=True)
