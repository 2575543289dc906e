"""Label Studio's JSON export, which lies beside its masks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from dev.dataset_trees import find_tree, write_label_studio
from prior_tools.datasets.label_files import read_label_file

from .mutation import changed, flipped, nested, torn

_ADDRESSES = (
    "/data/upload/1/0a1b2c30-yard-0.jpg", "/data/local-files/?d=photos%2Fyard-1.jpg",
    "https://example.org/yard-2.jpg?x=1", "s3://bucket/a/yard-0.jpg", "C:\\a\\yard-1.jpg",
    "http://[x", "see http://[x/yard-2.jpg", "//", "?d=", "?d=%00", "%", "yard-0.jpg",
    "data:image/png;base64,AA",
)  # fmt: skip


def make(seed: int) -> bytes:
    """An export of the tree's tasks with other addresses and values, or bytes of it."""
    rng = random.Random(seed)
    tasks = [
        {
            "id": 7 + i,
            "data": {"image": rng.choice((_ADDRESSES[i], *_ADDRESSES)), "text": "a"},
            "annotations": [{"id": 20 + i, "result": [{"from_name": "brush-tag", "value": {}}]}],
        }
        for i in range(3)
    ]
    text = nested(rng) if rng.random() < 0.05 else json.dumps(changed(tasks, rng))
    return rng.choice((lambda data, rng: data, lambda data, rng: data, flipped, torn))(
        text.encode(), rng
    )


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """The masks are found and read."""
    if not (folder / "masks").exists():
        write_label_studio(folder)
    (path,) = folder.glob("*.json")

    def read() -> None:
        path.write_bytes(data)
        found = find_tree("masks", folder)
        for pair in found.pairs:
            read_label_file(pair.label, found.rules)

    yield read
