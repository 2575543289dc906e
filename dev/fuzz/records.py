"""What `generate` goes on by: manifest.jsonl and generate.json."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prior_tools.generating.manifest import (
    MANIFEST_NAME,
    RUN_NAME,
    Manifest,
    begin_or_go_on,
    record_summary,
)

from .mutation import changed, flipped, nested, torn

_WARNING = {"node": "Label Map to Ids", "kind": "unlabelled", "text": "62% of pixels"}
_ENTRY = {
    "file": "a_00.png",
    "label_map": "a.png",
    "k": 0,
    "seed": 7,
    "index_in_batch": 0,
    "batch": 1,
    "settings": {"Sampler.steps": 4},
    "warnings": [_WARNING],
}
_RUN = {
    "label input": "Label map.image",
    "seed input": "Seed.value",
    "output node": "Save",
    "seed": 0,
    "batch": 1,
    "palette": None,
    "workflow": {
        "1": {"class_type": "LoadImage", "inputs": {"image": None}, "_meta": {"title": "Label"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    },
    "label maps": {"a.png": "ab", "b.png": "cd"},
}


def make(seed: int) -> bytes:
    """A damaged manifest or record of a run."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        record = {"id": "0123", **_RUN, "warnings": []}
        text = nested(rng) if rng.random() < 0.1 else json.dumps(changed(record, rng), indent=1)
        lines = [text]
    else:
        lines = [json.dumps(_ENTRY), json.dumps({**_ENTRY, "file": "b_00.png", "warnings": []})]
        odd = nested(rng) if rng.random() < 0.1 else json.dumps(changed(_ENTRY, rng))
        lines.insert(rng.randrange(3), odd)
    data = ("\n".join(lines) + "\n").encode()
    return rng.choice((lambda data, rng: data, lambda data, rng: data, flipped, torn))(data, rng)


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """A run reads both files; what it leaves is read alike."""
    for name in ("a_00.png", "b_00.png"):
        (folder / name).touch()

    def manifest() -> None:
        (folder / MANIFEST_NAME).write_bytes(data)
        first = Manifest(folder, {})
        again = Manifest(folder, {})
        assert first.done == again.done, "read again, other images are done"
        assert first.warnings.summary() == again.warnings.summary(), "other warnings"

    def record() -> None:
        (folder / RUN_NAME).write_bytes(data)
        run: dict[str, Any] = json.loads(json.dumps(_RUN))
        begin_or_go_on(folder, run, ["a_00.png"])
        (folder / MANIFEST_NAME).write_bytes(json.dumps(_ENTRY).encode() + b"\n")
        record_summary(folder, Manifest(folder, {}).warnings)
        begin_or_go_on(folder, run, ["a_00.png"])

    yield manifest
    yield record
