"""Items of a dataset in order, read ahead of their use by threads or by processes."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..datasets.dataset import LabelledImage, as_floats, check_image
from ..errors import PriorError, printable
from ..helper_threads import HelperThreads, InOrder
from ..labels.geometry import resize_labels
from ..labels.soft import SoftLabels, soft_labels
from ..labels.tally import LabelTally
from ..whole_numbers import two_sides

# Seconds that the end of a build waits for reads under way. A read can hang for good, on a network
# drive that has gone; it must not hold up those who cancelled.
_LAST_READ = 2.0
# Bytes that go through a pipe at once: few, as Python allocates anew what is left of a message for
# each part that arrives of it. So a picture takes a quarter of what shared memory takes.
_PIECE = 128 * 1024
# Signals to a process group are for the process that keeps the moments; it ends its readers.
_NOT_FOR_READERS = (signal.SIGINT, signal.SIGTERM)


class LabelledDataset(Protocol):
    """What a prior is built from, such as `PairDataset`; items are read in several threads.

    A subclass needs `__len__` and `__getitem__` only; what is no subclass needs all of it. An item
    that cannot be used is a PriorError, which a build may leave out (see `BuildOptions.on_error`).

    >>> class Greys(LabelledDataset):
    ...     metadata = {"palette": "camvid", "source_size": (16, 8)}
    ...     def __len__(self):
    ...         return 2
    ...     def __getitem__(self, index):  # the sky, bright and dark
    ...         image = torch.full((8, 16, 3), 0.75 - 0.5 * index)
    ...         return LabelledImage(image, labels=torch.zeros(8, 16, dtype=torch.int64))
    >>> Greys().name(1), Greys().ignored
    ('item 1', ())
    >>> build_prior(Greys(), encode).class_mean
    tensor([[0.5000, 0.5000, 0.5000]])
    """

    @property
    def labelled(self) -> bool:
        """Whether items have labels; if not, the prior is of images alone, and spatial."""
        return True

    @property
    def ignored(self) -> tuple[int, ...]:
        """Class ids that labels may hold and that class and joint moments leave out."""
        return ()

    @property
    def metadata(self) -> dict[str, Any]:
        """The fields of `PriorMetadata` that the dataset tells."""
        return {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> LabelledImage: ...

    def name(self, index: int) -> str:
        """What to call item `index` in a message."""
        return f"item {index}"


def check_dataset(dataset: LabelledDataset) -> None:
    """Raise PriorError if it lacks something that a LabelledDataset has."""
    needed = ("__len__", "__getitem__", "labelled", "ignored", "metadata", "name")
    if lacking := [name for name in needed if not hasattr(dataset, name)]:
        raise PriorError(
            f"the dataset, {type(dataset).__name__}, lacks {', '.join(lacking)}; derive its class "
            "from LabelledDataset, which has defaults for all but __len__ and __getitem__"
        )
    if not isinstance(dataset.metadata, Mapping):
        raise PriorError(f"the dataset's metadata are {dataset.metadata!r}; expected a table")


class GridItem(NamedTuple):
    """What reading one item gives.

    Attributes:
        image: uint8 or float [H, W, 3].
        labels: its class ids [h, w] on the latent grid.
        tally: what its label map holds.
        soft: the same label map with soft edges, if that was asked for.
    """

    image: Tensor
    labels: Tensor
    tally: LabelTally
    soft: SoftLabels | None = None


# Or why it cannot be used.
Item = GridItem | PriorError


class Stacked(NamedTuple):
    """A batch of items: images float32 [N, H, W, 3] in 0..1, labels [N, h, w], all their tallies.

    And the soft labels of each.
    """

    images: Tensor
    labels: Tensor
    tally: LabelTally
    soft: list[SoftLabels | None]


@dataclass(frozen=True)
class GridItems:
    """Items of `dataset` with their labels on the latent grid; those of `soft` as soft ones too.

    Labels are -1 where the dataset has none.
    """

    dataset: LabelledDataset
    downscale_factor: int
    label_method: str
    soft: frozenset[int] = frozenset()

    def __getitem__(self, index: int) -> Item:
        # An error is an answer: what becomes of it is the caller's to say.
        try:
            item = self.dataset[index]
        except PriorError as error:
            return error
        try:
            return self._on_grid(item, index in self.soft)
        except PriorError as error:
            return PriorError(f"{self.dataset.name(index)}: {error}")

    def _on_grid(self, item: LabelledImage, soft: bool) -> GridItem:
        if not isinstance(item, LabelledImage):
            raise PriorError(f"the item is a {type(item).__name__}; expected a LabelledImage")
        check_image(item.image)
        height, width = (side // self.downscale_factor for side in item.image.shape[:2])
        grid = height, width
        if not self.dataset.labelled:
            nowhere = torch.full(two_sides(grid, "grid", "(h, w) in latent cells"), -1)
            return GridItem(item.image, nowhere, LabelTally(), None)
        if item.labels is None:
            raise PriorError(
                "the item has no labels; expected class ids, or a dataset whose `labelled` is False"
            )
        labels = resize_labels(item.labels, grid, self.label_method)
        tally = LabelTally.of_ids(item.labels) if item.tally is None else item.tally
        return GridItem(item.image, labels, tally, soft_labels(item.labels, grid) if soft else None)


@contextmanager
def read_in_threads(
    items: GridItems,
    indices: Sequence[int],
    workers: int,
    ahead: int,
    look: Callable[[], None] = lambda: None,
) -> Iterator[InOrder[Item]]:
    """What `items` gives for `indices`, in order, read by threads until the context ends.

    For use inside ComfyUI: a node pack is imported under its path, which spawned processes cannot
    import. Decoding and resizing release the interpreter's lock.

    Args:
        ahead: items that are read or being read before they are asked for.
        look: called several times a second while the next item is waited for; what it raises ends
            the reading.
    """
    threads = HelperThreads(workers, "scp-read")
    try:
        yield InOrder(threads, items.__getitem__, indices, ahead, look)
    finally:
        # Runs on errors and on cancel as well: nothing goes on reading for a build that has ended.
        threads.end(_LAST_READ)


@contextmanager
def read_in_processes(
    items: GridItems,
    indices: Sequence[int],
    workers: int,
    ahead: int,
    look: Callable[[], None] = lambda: None,
) -> Iterator[InOrder[Item]]:
    """As `read_in_threads`, by processes; PriorError if one of them is killed.

    Each is asked for one item after another by a thread of its own, over a pipe. Nothing lies in
    shared memory, neither pictures nor locks: containers have little of it, and one that ran out
    would wait for ever.
    """
    readers = []
    try:
        for _ in range(workers):
            readers.append(_Reader(items))
        free: SimpleQueue[_Reader] = SimpleQueue()
        for reader in readers:
            free.put(reader)

        def read(index: int) -> Item:
            # There are as many readers as threads, so one is free.
            reader = free.get()
            try:
                return reader.read(index)
            finally:
                free.put(reader)

        threads = HelperThreads(workers, "scp-read")
        try:
            yield InOrder(threads, read, indices, ahead, look)
        finally:
            for reader in readers:
                reader.kill()
            threads.end()
    finally:
        for reader in readers:
            reader.close()


def stack_batch(batch: Sequence[GridItem]) -> Stacked:
    """Items of one size as one batch."""
    images = [item.image for item in batch]
    if len({image.dtype for image in images}) > 1:
        # Stacked with floats, 255 would stay 255.
        images = [as_floats(image) for image in images]
    return Stacked(
        as_floats(torch.stack(images)),
        torch.stack([item.labels for item in batch]),
        sum((item.tally for item in batch), LabelTally()),
        [item.soft for item in batch],
    )


class _Reader:
    """A process that reads items; started at once."""

    def __init__(self, items: GridItems) -> None:
        self._items = items
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_serve, args=(theirs, items), daemon=True)
        with _signals_held():
            self._process.start()
        theirs.close()
        # At exit Python would send a SIGTERM, which readers ignore, and wait.
        atexit.register(self._process.kill)

    def read(self, index: int) -> Item:
        """One item; PriorError if the process is gone."""
        try:
            self._pipe.send(index)
            answer = self._pipe.recv()
            if isinstance(answer, tuple):
                arrays, tally = answer
                image, labels, *soft = (_receive(self._pipe, *each) for each in arrays)
                return GridItem(image, labels, tally, SoftLabels(*soft) if soft else None)
        except (EOFError, OSError) as error:
            raise self._gone(index) from error
        if isinstance(answer, PriorError):
            return answer
        name = printable(self._items.dataset.name(index))
        raise RuntimeError(f"reading {name} failed:\n{answer}")

    def kill(self) -> None:
        """End the process whatever it does; a read that waits for it ends with an error."""
        self._process.kill()
        self._process.join()
        atexit.unregister(self._process.kill)

    def close(self) -> None:
        """`kill`, and give up the pipe: no thread may be reading."""
        self.kill()
        self._pipe.close()

    def _gone(self, index: int) -> PriorError:
        self._process.join(_LAST_READ)
        code = self._process.exitcode
        by = f"by {signal.Signals(-code).name}" if code and code < 0 else f"with exit code {code}"
        return PriorError(
            f"a process that read {self._items.dataset.name(index)} was ended {by}; the machine or "
            "the container may be short of memory: read with fewer workers, or with 0, which reads "
            "in the process itself"
        )


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let signals to a process that is started here wait until it ignores them. POSIX only."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_READERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, items: GridItems) -> None:
    """Answer indices until killed: with arrays, a PriorError, or the traceback of a fault."""
    for number in _NOT_FOR_READERS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _NOT_FOR_READERS)
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    with suppress(EOFError, OSError):
        while True:
            index = pipe.recv()
            arrays: list[np.ndarray] = []
            answer: object
            try:
                item = items[index]
                if isinstance(item, PriorError):
                    answer = item
                else:
                    soft = (item.soft.ids, item.soft.shares) if item.soft else ()
                    tensors = (item.image, item.labels, *soft)
                    arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in tensors]
                    answer = [(array.shape, array.dtype.str) for array in arrays], item.tally
            except Exception:
                answer = traceback.format_exc()
            pipe.send(answer)
            for array in arrays:
                _send(pipe, array)


def _send(pipe: Connection, array: np.ndarray) -> None:
    data = memoryview(array.data).cast("B")
    for start in range(0, len(data), _PIECE):
        pipe.send_bytes(data[start : start + _PIECE])


def _receive(pipe: Connection, shape: tuple[int, ...], dtype: str) -> Tensor:
    array = np.empty(shape, dtype)
    data, done = memoryview(array.data).cast("B"), 0
    while done < len(data):
        done += pipe.recv_bytes_into(data, done)
    return torch.from_numpy(array)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its readers, and each may hold the others' pipes open."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
