"""Lists of images and their labels, which `--list` names."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dev.dataset_trees import save
from prior_tools import find_dataset
from prior_tools.datasets.label_files import read_label_file

from .mutation import flipped, torn

_NAMES = ("a", "b c", "d-e")
_ODD = (
    '"', '""', "\t", ",", ",,", " ", "\x00", "\x0b", "\u2028", "#", "/", "..", "../", "~", "\\",
    "é", "\ufeff", "a" * 300, "a/" * 3000, "," * 200_000, '"' + "a" * 200_000, "list.txt", "images",
)  # fmt: skip


def make(seed: int) -> bytes:
    """A list of some of the pairs, whole or damaged."""
    rng = random.Random(seed)
    between = rng.choice(("\t", ",", ", "))
    lines = [f"images/{name}.png{between}labels/{name}.png" for name in _NAMES]
    if rng.random() < 0.3:
        lines.insert(0, f"image{between}label")
    if rng.random() < 0.6:
        at = rng.randrange(len(lines))
        place = rng.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:place] + rng.choice(_ODD) + lines[at][place:]
    data = rng.choice(("\n", "\r\n", "\n\n")).join(lines).encode()
    return rng.choice((lambda data, rng: data, lambda data, rng: data, flipped, torn))(data, rng)


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """The pairs are found, and their label files are read."""
    if not (folder / "images").exists():
        for name in _NAMES:
            save(folder / f"images/{name}.png", np.zeros((4, 6, 3), np.uint8))
            save(folder / f"labels/{name}.png", np.ones((4, 6), np.uint8))
    path = folder / "list.txt"

    def read() -> None:
        path.write_bytes(data)
        found = find_dataset("pairs", folder, "", pair_list=path, palette="cityscapes")
        assert len({pair.name for pair in found.pairs}) == len(found.pairs) > 0, "names meet"
        for pair in found.pairs:
            read_label_file(pair.label, found.rules)

    yield read
