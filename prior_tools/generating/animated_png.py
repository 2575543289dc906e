"""Several pictures of one size in one lossless file that LoadImage reads as a batch.

Such a file is an animated PNG whose frames are whole pictures. Pillow, which LoadImage reads with,
could write one too, but may leave out a frame that equals the one before: two label maps may be
equal. Of a TIFF with several pages only Pillow reads all, an animated PNG is also read whole by
FFmpeg, in case a host reads with that.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Color types of the PNG standard, by the number of channels.
_COLOR_TYPES = {3: 2, 4: 6}


def animated_png(frames: Sequence[np.ndarray]) -> bytes:
    """An animated PNG of uint8 frames [H, W, C], all of one shape, C = 3 (RGB) or 4 (RGBA).

    Raises ValueError for other frames.
    """
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1 or any(frame.dtype != np.uint8 for frame in frames):
        raise ValueError(f"the frames are {sorted(shapes)}; expected one shape, uint8")
    height, width, channels = shapes.pop()
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    parts = [_SIGNATURE, _chunk(b"IHDR", header)]
    parts.append(_chunk(b"acTL", struct.pack(">II", len(frames), 0)))
    number = 0
    for index, frame in enumerate(frames):
        # At 0, 0 for 1/1 s; not mixed with the frame before.
        control = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 1, 0, 0)
        parts.append(_chunk(b"fcTL", control))
        number += 1
        data = _compressed(frame)
        if index == 0:
            parts.append(_chunk(b"IDAT", data))
        else:
            parts.append(_chunk(b"fdAT", struct.pack(">I", number) + data))
            number += 1
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _compressed(frame: np.ndarray) -> bytes:
    """The rows of a frame, each behind a zero: no filter."""
    rows = frame.reshape(frame.shape[0], -1)
    return zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
