"""Safetensors files with a text of ours in the header: priors and checkpoints of builds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from torch import Tensor

from .json_values import parsed


def read_tensors(path: Path, key: str, max_header: int) -> tuple[str | None, dict[str, Tensor]]:
    """(the header's text under `key`, all tensors), or (None, {}) where there is no such text.

    Memory stays within a small multiple of the file's size and of `max_header`, the most bytes of
    header that are read, whatever the file claims. Of a file without the text only the header is
    read. Nothing stays open or mapped.

    Raises ValueError, which says why, if the file is cut short or damaged; OSError if it cannot be
    read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"{size} bytes are too few for its header")
        if length > max_header:
            raise ValueError(f"its header takes {length} bytes, expected at most {max_header}")
        try:
            header = parsed(file.read(length))
        except ValueError as error:
            raise ValueError(f"its header cannot be read: {error}") from error
        texts = header.get("__metadata__") if isinstance(header, dict) else None
        text = texts.get(key) if isinstance(texts, dict) else None
        if not isinstance(text, str):
            return None, {}
        file.seek(0)
        data = file.read()
    try:
        # Checks all offsets and shapes against the bytes that are there.
        return text, tensors_from_bytes(data)
    except SafetensorError as error:
        missing = _end(header) + 8 + length - len(data)
        raise ValueError(
            f"{missing} bytes are missing at its end" if missing > 0 else f"{error}"
        ) from error
    except (KeyError, ValueError, TypeError, OverflowError, RuntimeError) as error:
        # safetensors lets types and empty shapes pass that torch does not have.
        raise ValueError("a tensor is of a type or shape that torch does not know") from error


def _end(header: dict[str, Any]) -> int:
    """Where the tensors end, as far as a header that may be damaged tells."""
    offsets = [e.get("data_offsets") for e in header.values() if isinstance(e, dict)]
    ends = [pair[-1] for pair in offsets if isinstance(pair, list) and pair]
    return max((end for end in ends if isinstance(end, int)), default=0)
