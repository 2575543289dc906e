"""Latents of some images, kept while a dataset is encoded: no image is encoded twice for them."""

from __future__ import annotations

import hashlib
import heapq
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import PriorError
from ..labels.soft import MOST_CLASSES, SoftLabels
from ..name_lengths import path_beside
from .reading import LabelledDataset

MOST_IMAGES = 256
MOST_BYTES = 64_000_000

_DIGEST = 32


@dataclass(frozen=True)
class LabelledLatents:
    """Latents of N images with their label maps.

    Attributes:
        names: of the images.
        latents: float32 [N, C, h, w] in raw VAE units, to half precision.
        labels: int64 class ids [N, h, w] on the latent grid.
        soft: the same label maps with soft edges, where they were asked for.
    """

    names: list[str]
    latents: Tensor
    labels: Tensor
    soft: list[SoftLabels]


def smallest(dataset: LabelledDataset, word: str, most: int) -> list[int]:
    """The items with the smallest SHA-256 of `word`, a space and their name, at most so many.

    The word stands where a seed could: which they are depends on nothing but the names, not on the
    order in which they are read, the number of processes, where a dataset lies, or a seed that a
    later command, such as `grain`, would have to know.
    """
    digests = ((_digest_of(word, dataset.name(i)), i) for i in range(len(dataset)))
    return [index for _, index in heapq.nsmallest(most, digests)]


def for_grain(dataset: LabelledDataset, most: int = MOST_IMAGES) -> list[int]:
    """The items of which grain is measured, see `smallest`."""
    return smallest(dataset, "scp-diff grain", most)


def _digest_of(word: str, name: str) -> bytes:
    # Names on Linux are bytes, which need not be text.
    return hashlib.sha256(f"{word} {name}".encode(errors="surrogateescape")).digest()


class KeptLatents:
    """A place for each of some images, in a file or in memory.

    Each place has a digest of what is in it and of whose it is: what was cut short, damaged or is
    another image's counts as missing.

    Args:
        dataset: of which the images are.
        images: indices of them; the first ones are kept, as many as MOST_BYTES take.
        path: of the file, whose content stays if `resume` says so; None keeps all in memory.
        soft: whether soft labels are kept as well.
    """

    def __init__(
        self,
        dataset: LabelledDataset,
        images: Sequence[int],
        path: Path | None = None,
        resume: bool = False,
        soft: bool = False,
    ) -> None:
        self._dataset, self._images, self._soft = dataset, list(images), soft
        self._path = path
        self._memory: dict[int, bytes] = {}
        self._layout: np.dtype | None = None
        self._place: dict[int, int] = {}
        if path and not resume:
            path.unlink(missing_ok=True)

    @property
    def begun(self) -> bool:
        """Whether it is known how large latents are."""
        return self._layout is not None

    @property
    def images(self) -> list[int]:
        """Those for which there is room; none before `begin`."""
        return list(self._place)

    def begin(self, channels: int, grid: tuple[int, int], without: Iterable[int] = ()) -> None:
        """Say how large latents are, which tells how many of them are kept.

        without: images for which there is to be no place.
        """
        of_soft = (MOST_CLASSES, *grid)
        self._layout = np.dtype(
            [
                ("digest", f"V{_DIGEST}"),
                ("scale", "<f4"),
                ("latents", "<f2", (channels, *grid)),
                ("labels", "<i4", grid),
                *([("ids", "<i4", of_soft), ("shares", "<f2", of_soft)] if self._soft else []),
            ]
        )
        left_out = set(without)
        room = min(MOST_IMAGES, MOST_BYTES // self._layout.itemsize)
        images = [index for index in self._images if index not in left_out][:room]
        self._place = {index: place for place, index in enumerate(images)}

    def put(self, index: int, latents: Tensor, labels: Tensor, soft: SoftLabels | None) -> None:
        """Keep latents [C, h, w] and labels [h, w] of an image, if there is a place for it."""
        if index not in self._place:
            return
        record = np.zeros((), self._layout)
        values = latents.detach().to("cpu", torch.float32).numpy()
        # A power of two brings them into what half precision has, whatever the VAE's scale. NaN and
        # infinity end the build by name, as the moments are asked to take them in.
        with np.errstate(over="ignore", invalid="ignore"):
            record["scale"] = 2.0 ** math.frexp(float(np.abs(values).max(initial=0)))[1]
            record["latents"] = values / record["scale"]
        record["labels"] = labels.to("cpu").numpy()
        if self._soft:
            assert soft is not None, "the reader was asked for soft labels of these images"
            record["ids"], record["shares"] = soft.ids.numpy(), soft.shares.numpy()
        data = record.tobytes()[_DIGEST:]
        self._write(index, self._digest(index, data) + data)

    def missing(self, among: Iterable[int]) -> list[int]:
        """Those of these images that have a place and are not in it, ascending."""
        wanted = sorted(self._place.keys() & set(among))
        return [index for index in wanted if self._read(index) is None]

    def read(self) -> LabelledLatents | None:
        """All that is there, in the order of the images' digests; None if nothing is."""
        if self._layout is None:
            return None
        names: list[str] = []
        # Filled one by one: in half precision and beside it they would take as much again.
        latents = np.empty((len(self._place), *self._layout["latents"].shape), np.float32)
        labels, soft = [], []
        for index in self._place:
            data = self._read(index)
            if data is None:
                continue
            record = np.frombuffer(data, self._layout)[0]
            latents[len(names)] = record["latents"].astype(np.float32) * record["scale"]
            labels.append(torch.from_numpy(record["labels"].astype(np.int64)))
            if self._soft:
                shares = torch.from_numpy(record["shares"].astype(np.float32))
                # Half precision has rounded them.
                shares /= shares.sum(0)
                soft.append(SoftLabels(torch.from_numpy(record["ids"].astype(np.int64)), shares))
            names.append(self._dataset.name(index))
        if not names:
            return None
        kept = torch.from_numpy(latents[: len(names)])
        return LabelledLatents(names, kept, torch.stack(labels), soft)

    def to_bytes(self) -> bytes:
        """All that is there, for `take`."""
        return b"".join(
            index.to_bytes(8, "little") + record
            for index in self._place
            if (record := self._read(index)) is not None
        )

    def take(self, data: bytes) -> None:
        """Put in what another process's `to_bytes` gave of latents of the same size."""
        assert self._layout is not None, "nothing can be taken before `begin`"
        step = 8 + self._layout.itemsize
        for start in range(0, len(data), step):
            index = int.from_bytes(data[start : start + 8], "little")
            self._write(index, data[start + 8 : start + step])

    def remove(self) -> None:
        """The build is done."""
        if self._path:
            self._path.unlink(missing_ok=True)

    def _digest(self, index: int, data: bytes) -> bytes:
        return hashlib.sha256(_digest_of("of", self._dataset.name(index)) + data).digest()

    def _write(self, index: int, record: bytes) -> None:
        if self._path is None:
            self._memory[index] = record
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(handle, "r+b") as file:
            file.seek(self._place[index] * len(record))
            file.write(record)
            # Before a checkpoint says that this image is done.
            file.flush()
            os.fsync(file.fileno())

    def _read(self, index: int) -> bytes | None:
        """What is in an image's place, if it is that image's and whole."""
        assert self._layout is not None, "nothing can be read before `begin`"
        size = self._layout.itemsize
        if self._path is None:
            record = self._memory.get(index, b"")
        else:
            try:
                with self._path.open("rb") as file:
                    file.seek(self._place[index] * size)
                    record = file.read(size)
            except FileNotFoundError:
                return None
        whole = len(record) == size and record[:_DIGEST] == self._digest(index, record[_DIGEST:])
        return record if whole else None


class SetAside:
    """What a build keeps beside its moments: latents for the grain, and held-out images.

    Which images are held out and which are kept is told by digests with different words, so that an
    image is as likely to be kept whether others are held out or not, and the grain of a build
    changes little by holding out.

    Args:
        dataset: of the build.
        holdout: share of the images that is held out, 0 or more and below 1.
        beside: the checkpoint, beside which the files lie; None keeps all in memory.
        resume: whether what is there is of this build.
    """

    def __init__(
        self,
        dataset: LabelledDataset,
        holdout: float,
        beside: Path | None = None,
        resume: bool = False,
    ) -> None:
        self._holdout = holdout
        out = min(MOST_IMAGES, math.ceil(holdout * len(dataset)), len(dataset) - 1)
        self.candidates = smallest(dataset, "scp-diff held out", out)
        # As many of these may be held out.
        grain = for_grain(dataset, MOST_IMAGES + out)

        def kept(images: list[int], ending: str, soft: bool) -> KeptLatents:
            path = path_beside(beside, ending) if beside else None
            return KeptLatents(dataset, images, path, resume, soft)

        self.held_out = kept(self.candidates, ".held_out", True)
        self.for_grain = kept(grain, ".grain", False)

    def begin(self, channels: int, grid: tuple[int, int]) -> None:
        """Say how large latents are; once more changes nothing.

        Raises PriorError if images are to be held out and no latent fits into what is kept of them.
        """
        if self.for_grain.begun:
            return
        self.held_out.begin(channels, grid)
        if self.candidates and not self.held_out.images:
            raise PriorError(
                f"holdout is {self._holdout}, but latents of {channels} channels on {grid[1]}x"
                f"{grid[0]} cells are too large to hold any out: with their label maps one takes "
                f"more than {MOST_BYTES // 10**6} MB. Leave it out, and score other images"
            )
        self.for_grain.begin(channels, grid, without=self.held_out.images)

    def put(
        self,
        indices: Sequence[int],
        latents: Tensor,
        labels: Tensor,
        soft: Sequence[SoftLabels | None],
    ) -> Tensor:
        """Keep what is to be kept of a batch; bool [N], which images the moments take in."""
        self.begin(latents.shape[1], (latents.shape[2], latents.shape[3]))
        for index, *item in zip(indices, latents, labels, soft, strict=True):
            for each in self:
                each.put(index, *item)
        out = set(self.held_out.images)
        return torch.tensor([index not in out for index in indices], dtype=torch.bool)

    def __iter__(self) -> Iterator[KeptLatents]:
        return iter((self.held_out, self.for_grain))

    def missing(self, among: Iterable[int]) -> list[int]:
        """Those of these images that should have been kept and are not there."""
        among = list(among)
        return sorted({index for each in self for index in each.missing(among)})

    def remove(self) -> None:
        """The build is done."""
        for each in self:
            each.remove()
