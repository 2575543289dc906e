"""Batches of a dataset's items, stacked while the one before is worked on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from ..errors import PriorError
from ..helper_threads import HelperThreads, InOrder
from .options import BuildOptions
from .reading import (
    GridItems,
    Item,
    LabelledDataset,
    Stacked,
    read_in_processes,
    read_in_threads,
    stack_batch,
)


@dataclass(frozen=True)
class Batch:
    """What was read of some consecutive items.

    Attributes:
        count: items, with those that were left out.
        indices: of the items that can be used.
        stacked: these; None if there is none.
        left_out: (name, reason) of the others.
    """

    count: int
    indices: list[int]
    stacked: Stacked | None
    left_out: list[tuple[str, str]]


@contextmanager
def read_batches(
    dataset: LabelledDataset,
    options: BuildOptions,
    batches: Sequence[Sequence[int]],
    look: Callable[[], None],
    soft: Collection[int] = (),
) -> Iterator[Iterator[Batch]]:
    """The batches of these items, in order, read ahead until the context ends.

    Args:
        soft: items whose soft labels are wanted as well.
        look: called before each batch, and several times a second while one is waited for; what it
            raises ends the reading.

    The iterator raises PriorError for an item that cannot be used, if `options` do not skip it, and
    for images of several sizes.
    """
    first: tuple[str, tuple[int, int]] | None = None

    def stacked(batch: Sequence[int], found: list[Item]) -> Batch:
        nonlocal first
        usable, indices, left_out = [], [], []
        for index, item in zip(batch, found, strict=True):
            if not isinstance(item, PriorError):
                height, width, _ = item.image.shape
                first = first or (dataset.name(index), (height, width))
                if first[1] != (height, width):
                    raise PriorError(
                        f"the image of {dataset.name(index)} has {width}x{height} pixels, that "
                        f"of {first[0]} {first[1][1]}x{first[1][0]}; expected images of one "
                        "size: resize them as the dataset reads them"
                    )
                usable.append(item)
                indices.append(index)
                continue
            if options.on_error == "stop":
                said = str(item).rstrip(".")
                raise PriorError(f"{said}. To leave such files out, {options.how_to_skip}")
            left_out.append((dataset.name(index), str(item)))
        return Batch(len(batch), indices, stack_batch(usable) if usable else None, left_out)

    def ahead(items: InOrder[Item], stacker: HelperThreads) -> Iterator[Batch]:
        stacking: list[Future[Batch]] = []

        def stack(batch: Sequence[int]) -> None:
            found = list(islice(items, len(batch)))
            stacking.append(stacker.submit(stacked, batch, found))

        for number, batch in enumerate(batches):
            look()
            if not stacking:
                stack(batch)
            result = stacking.pop().result()
            # Only what is there already: a file that hangs holds up none that came before it.
            if number + 1 < len(batches) and items.ready(len(batches[number + 1])):
                stack(batches[number + 1])
            yield result

    read = read_in_processes if options.processes and options.workers else read_in_threads
    reading = read(
        GridItems(dataset, options.downscale_factor, options.label_method, frozenset(soft)),
        [i for batch in batches for i in batch],
        max(1, options.workers),
        2 * options.batch_size + options.workers,
        look,
    )
    with reading as items:
        stacker = HelperThreads(1, "scp-stack")
        try:
            yield ahead(items, stacker)
        finally:
            stacker.end()
