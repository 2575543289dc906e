"""Pictures of all formats, as images and as label maps: pixels, tables, sizes, EXIF data."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from prior_tools import PALETTES, Palette
from prior_tools.datasets.dataset import PairDataset
from prior_tools.datasets.found_values import found_values
from prior_tools.datasets.label_files import read_label_frames
from prior_tools.datasets.pairs import Pair
from prior_tools.evaluation.files import read_generated, read_labels, read_real
from prior_tools.generating.label_maps import LabelMap, shape_of, upload_data
from prior_tools.labels.geometry import resize_labels
from prior_tools.labels.label_picture import describe_labels
from prior_tools.labels.reading import LabelRules

from .mutation import flipped, torn

_CAMVID, _GREY = PALETTES["camvid"], PALETTES["grey_ids"]
_IDS = np.random.default_rng(0).integers(0, 12, (12, 20)).astype(np.uint8)
_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
_NUMBERS = (0, 1, 2, 7, 8, 16, 255, 256, 4096, 20_000, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def make(seed: int) -> bytes:
    """A damaged picture."""
    rng = random.Random(seed)
    kind, data = rng.choice(_pictures())
    return rng.choice(_WAYS)(kind, data, rng)


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """It is an image beside a good label map, a label map beside a good image, or one of many."""
    path, image, label = folder / "a.png", folder / "image.png", folder / "label.png"
    path.write_bytes(data)
    if not label.exists():
        Image.fromarray(_IDS).save(label)
        Image.fromarray(_painted()).save(image)
    size = (16, 16)

    def pair(image: Path, label: Path, **options: Any) -> None:
        item = PairDataset([Pair("a", image, label)], size, **options)[0]
        resize_labels(item.labels, (2, 2))
        assert item.image.shape == (16, 16, 3) and item.image.dtype == torch.uint8

    def batch() -> None:
        label_map = LabelMap("a", "a.png", path, hashlib.sha256(data).hexdigest())
        height, width, _ = shape_of(label_map)
        sent = Image.open(io.BytesIO(upload_data([label_map, label_map])))
        assert sent.size == (width, height)

    def shown(palette: Palette) -> None:
        reading = read_label_frames(path, LabelRules(palette, palette.ignore_ids))
        assert describe_labels(reading, palette, "a.png").shape[1:] == (480, 3)

    yield lambda: pair(path, label, palette=_GREY)
    yield lambda: pair(path, label, palette=_GREY, resize="crop")
    yield lambda: pair(image, path, palette=_CAMVID)
    yield lambda: pair(image, path, palette=_GREY, id_map={200: 3})
    yield lambda: read_generated(path)
    yield lambda: read_real(path, size)
    yield lambda: read_labels(path, size, LabelRules(_CAMVID, (255,)))
    yield batch
    yield lambda: shown(_CAMVID)
    yield lambda: shown(_GREY)
    yield lambda: found_values([path]).frequent()


def _painted() -> np.ndarray:
    painted: np.ndarray = _CAMVID.paint(torch.from_numpy(_IDS).long()).numpy()
    return painted


@cache
def _pictures() -> list[tuple[str, bytes]]:
    """(format, file) of all formats and modes that are read."""
    ids, color = Image.fromarray(_IDS), Image.fromarray(_painted())
    table = ids.copy()
    table.putpalette([level for i in range(256) for level in _CAMVID.colors.get(i, (9, i, 9))])
    wide = Image.fromarray(_IDS.astype(np.uint16))
    alpha = color.convert("RGBA")
    alpha.putalpha(ids)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    turned = {"exif": exif}
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", _XMP.decode())
    text.add_text("parameters", "a street", zip=True)
    tiffs = ((color, {"compression": kind}) for kind in ("raw", "tiff_lzw", "packbits", "jpeg"))
    frames = {"save_all": True, "append_images": [ids.rotate(180), ids]}
    saved = [
        *(("PNG", picture, turned) for picture in (ids, color, table, wide, alpha)),
        ("PNG", color, {"pnginfo": text}),
        ("PNG", ids, {**frames, **turned}),
        ("PNG", ids.convert("LA"), {}),
        ("PNG", ids.convert("1"), {"transparency": 0}),
        ("PNG", table, {"transparency": b"\x00\x80"}),
        ("PNG", color, {"transparency": (9, 9, 9)}),
        *(("JPEG", picture, turned) for picture in (ids, color, color.convert("CMYK"))),
        ("JPEG", color, {"progressive": True, "quality": 95, "xmp": _XMP}),
        *(("WEBP", p, {"lossless": whole, **turned}) for p in (color, alpha) for whole in (0, 1)),
        *(("TIFF", picture, {**kind, **turned}) for picture, kind in tiffs),
        *(("TIFF", picture, turned) for picture in (ids, table, wide, alpha)),
        ("TIFF", ids.convert("1"), {"compression": "group4"}),
        ("TIFF", Image.fromarray(_IDS.astype(np.int32)), {"compression": "tiff_adobe_deflate"}),
        ("TIFF", Image.fromarray(_IDS.astype(np.float32)), {}),
        *(("TIFF", color.convert(mode), {}) for mode in ("LAB", "YCbCr", "CMYK")),
        *(("BMP", picture, {}) for picture in (ids, color, table, alpha, ids.convert("1"))),
    ]
    files = []
    for kind, picture, options in saved:
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        files.append((kind, stream.getvalue()))
    return files


def _bits(kind: str, data: bytes, rng: random.Random) -> bytes:
    return flipped(data, rng)


def _head(kind: str, data: bytes, rng: random.Random) -> bytes:
    """Where sizes, types and offsets mostly are."""
    return flipped(data, rng, 0, min(len(data), 64))


def _bytes(kind: str, data: bytes, rng: random.Random) -> bytes:
    return torn(data, rng)


def _number(kind: str, data: bytes, rng: random.Random) -> bytes:
    """Another number of two or four bytes somewhere."""
    order, size = rng.choice("<>"), rng.choice("HI")
    number = struct.pack(order + size, rng.choice(_NUMBERS) % 2 ** (16 if size == "H" else 32))
    at = rng.randrange(rng.choice((min(64, len(data)), len(data))))
    return data[:at] + number + data[at + len(number) :]


def _part(kind: str, data: bytes, rng: random.Random) -> bytes:
    """Damage inside a part of the file that its checksum or its lengths still hold for."""
    if kind == "PNG":
        return _png_chunk(data, rng)
    if kind == "TIFF":
        return _tiff_entry(data, rng)
    start = data.find(b"Exif\0\0") if kind == "JPEG" else data.find(b"EXIF")
    if start < 0:
        return flipped(data, rng)
    return flipped(data, rng, start, min(start + 80, len(data)))


def _png_chunk(data: bytes, rng: random.Random) -> bytes:
    chunks, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    at = rng.randrange(len(chunks))
    name, body = chunks[at]
    if name == b"IDAT" and rng.random() < 0.7:
        pixels = zlib.decompress(body)
        body = zlib.compress(rng.choice((flipped, torn))(pixels, rng))
    elif name == b"IHDR" and rng.random() < 0.7:
        side = rng.choice((0, 4))
        number = struct.pack(">I", rng.choice(_NUMBERS))
        body = body[:side] + number + body[side + 4 :]
    elif body:
        body = rng.choice((flipped, torn))(body, rng)
    if rng.random() < 0.1:
        name = rng.choice((b"tRNS", b"PLTE", b"eXIf", b"acTL", b"fdAT", b"iCCP", b"zTXt", b"gAMA"))
    chunks[at] = (name, body)
    if rng.random() < 0.1:
        chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
    return data[:8] + b"".join(
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
        for name, body in chunks
    )


def _tiff_entry(data: bytes, rng: random.Random) -> bytes:
    """Another tag, type, count or value in an entry of the first directory."""
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    changed = bytearray(data)
    at = directory + 2 + 12 * rng.randrange(count)
    number = rng.choice((*_NUMBERS, 3, 4, 5, 6, 12, 32, 64))
    match rng.randrange(5):
        case 0:
            struct.pack_into(order + "H", changed, at, rng.choice((254, 258, 262, 274, 277, 339)))
        case 1:
            struct.pack_into(order + "H", changed, at + 2, number % 20)
        case 2:
            struct.pack_into(order + "I", changed, at + 4, number)
        case 3:
            struct.pack_into(order + "H", changed, at + 8, number % 2**16)
        case 4:
            struct.pack_into(order + "I", changed, at + 8, number)
    return bytes(changed)


_WAYS = (_bits, _head, _bytes, _number, _part, _part, _part)
