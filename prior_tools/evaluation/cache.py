"""Features of the real images, kept between evaluations."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..atomic import remove_leftovers_of, write_bytes
from ..errors import PriorError

_FORMAT = "scp-diff features 1"


def load_features(path: Path, key: dict[str, str]) -> Tensor | None:
    """Features [N, D] that were saved under the same key, else None.

    Raises PriorError if the file is there and is no such cache: it is not to be overwritten.
    """
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") == _FORMAT:
                same = metadata.get("key") == _text(key)
                return file.get_tensor("features") if same else None
    except (SafetensorError, OSError):
        pass
    raise PriorError(f"--cache {path} is a file of another kind; expected a new name, or a cache")


def save_features(path: Path, key: dict[str, str], features: Tensor) -> None:
    """Write features [N, D] in one step, replacing those of another key."""
    metadata = {"format": _FORMAT, "key": _text(key)}
    remove_leftovers_of(path)
    write_bytes(path, save({"features": features.contiguous()}, metadata=metadata))


def _text(key: dict[str, str]) -> str:
    return json.dumps(key, sort_keys=True)
