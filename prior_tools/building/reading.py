"""Items of a dataset in order, read ahead of their use by threads or by processes."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..datasets.dataset import LabelledImage, as_floats
from ..errors import PriorError
from ..labels.geometry import resize_labels


class LabelledDataset(Protocol):
    """What a prior is built from, such as `PairDataset`; items are read in several threads."""

    @property
    def ignored(self) -> tuple[int, ...]:
        """Class ids that labels may hold and that class and joint moments leave out."""

    @property
    def metadata(self) -> dict[str, Any]:
        """The fields of `PriorMetadata` that the dataset tells."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledImage: ...

    def name(self, index: int) -> str:
        """What to call item `index` in a message."""


# What reading one item gives: the image, uint8 or float [H, W, 3], and its class ids [h, w] on
# the latent grid; or why it cannot be used.
Item = tuple[Tensor, Tensor] | PriorError


@dataclass(frozen=True)
class GridItems(Dataset[Item]):
    """Items of `dataset` with their labels brought to the latent grid."""

    dataset: LabelledDataset
    downscale_factor: int
    label_method: str

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Item:
        # An error is an answer: raised in a worker process it would end all of them.
        try:
            item = self.dataset[index]
            height, width = (side // self.downscale_factor for side in item.image.shape[:2])
            return item.image, resize_labels(item.labels, (height, width), self.label_method)
        except PriorError as error:
            return error


def read_in_threads(
    items: Dataset[Item], indices: Sequence[int], workers: int, ahead: int
) -> Iterator[Item]:
    """What `items` gives for `indices`, in order, read by threads.

    For use inside ComfyUI: a node pack is imported under its path, which spawned processes cannot
    import. Decoding and resizing release the interpreter's lock.
    """
    pool = helper_threads(max(1, workers), "scp-read")
    upcoming = iter(indices)
    waiting: deque[Future[Item]] = deque()
    try:
        while True:
            while len(waiting) < ahead and (index := next(upcoming, None)) is not None:
                waiting.append(pool.submit(items.__getitem__, index))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        # Runs on errors and on cancel as well: nothing goes on reading for a build that has ended.
        pool.shutdown(wait=True, cancel_futures=True)


def read_in_processes(
    items: Dataset[Item], indices: Sequence[int], workers: int, ahead: int
) -> Iterator[Item]:
    """What `items` gives for `indices`, in order, read by `workers` processes of a DataLoader."""
    with warnings.catch_warnings():
        # It advises against more workers than cores; the number is the caller's to choose.
        warnings.filterwarnings("ignore", message=".*worker processes in total.*")
        loader = DataLoader(
            items,
            batch_size=None,
            sampler=list(indices),
            num_workers=max(1, workers),
            prefetch_factor=max(2, -(-ahead // max(1, workers))),
            collate_fn=_as_it_is,
        )
        iterator = iter(loader)
    yield from iterator


def stack_batch(batch: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Images float32 [N, H, W, 3] in 0..1 and labels [N, h, w] of a batch of items."""
    images = as_floats(torch.stack([image for image, _ in batch]))
    return images, torch.stack([labels for _, labels in batch])


def helper_threads(count: int, name: str) -> ThreadPoolExecutor:
    """A pool of `count` threads in which each torch operation runs on one core.

    By default every thread that calls torch gets a team of OpenMP threads of its own. Teams of
    more threads than there are cores make the barriers of all of them slow, those of the encoder's
    thread too, even while they are idle: with four such readers on two cores, encoding took five
    times as long.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    before = torch.get_num_threads()
    # The setting is a thread's own, and the default of threads that are still to come: so all
    # threads are made now, and the default is put back.
    ready = Barrier(count + 1)

    def settle() -> None:
        torch.set_num_threads(1)
        ready.wait()

    for _ in range(count):
        pool.submit(settle)
    ready.wait()
    torch.set_num_threads(before)
    return pool


def _as_it_is(item: Any) -> Any:
    return item
