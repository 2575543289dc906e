"""Published statistics files (.npy): numpy's header, a pickle's instructions, the arrays."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from prior_tools import PALETTES
from prior_tools.published.files import read_published
from prior_tools.published.prior import prior_from_published

from .mutation import flipped, torn
from .priors import keep

_GRID = (1, 2)
_CHANNELS = 4
# All instructions of a pickle, and arguments that some of them take.
_OPCODES = [v for k, v in vars(pickle).items() if k.isupper() and type(v) is bytes and len(v) == 1]
_ARGUMENTS = (
    b"", b"\0", b"\x01", b"\xff", b"\x02\0\0\0", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff",
    b"\0\0\0\0\0\0\0\x80", b"1\n", b"9" * 5000 + b"\n", b"posix\nsystem\n", b"numpy\nndarray\n",
    b"numpy\ndtype\n", b"'f4'\n",
)  # fmt: skip


def make(seed: int) -> bytes:
    """A damaged file of one of the three kinds."""
    rng = random.Random(seed)
    return rng.choice(_WAYS)(rng.choice(_contents()), rng)


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """It is read alone, and beside a joint file that is whole."""
    path, joint = folder / "damaged.npy", folder / "joint.npy"
    path.write_bytes(data)
    joint.write_bytes(_saved(_contents()[0]))

    def use(*paths: Path, **options: Any) -> None:
        prior, _ = prior_from_published(read_published(paths), **options)
        keep(prior, folder)

    yield lambda: use(path)
    yield lambda: use(joint, path, palette=PALETTES["ade20k"], id_map={0: 5, 7: -1})


@cache
def _contents() -> tuple[dict[Any, Any], ...]:
    rng = np.random.default_rng(0)
    count = np.zeros((256, 1, *_GRID), np.float32)
    count[[0, 7]] = 3
    mean = rng.normal(size=(256, _CHANNELS, *_GRID)).astype(np.float32)
    spatial = {"mean": mean[0], "std": abs(mean[1])}
    entry = {"mean": mean[0, :, 0, 0], "std": abs(mean[1, :, 0, 0])}
    return (
        {"mean": mean, "std": abs(mean), "count": count},
        spatial,
        {0: entry, 7: entry, 9: {**entry, "std": entry["std"] * np.nan}},
    )


def _saved(content: object) -> bytes:
    holder = np.empty((), dtype=object)
    holder[()] = content
    stream = io.BytesIO()
    np.save(stream, holder)
    return stream.getvalue()


def _parts(content: object) -> tuple[bytes, bytes]:
    """Header and pickle."""
    data = _saved(content)
    length = 10 + int.from_bytes(data[8:10], "little")
    return data[:length], data[length:]


def _bits(content: object, rng: random.Random) -> bytes:
    header, stream = _parts(content)
    # Most of the pickle is an array's numbers; the instructions lie around them.
    at = rng.choice((rng.randrange(len(stream)), rng.randrange(min(400, len(stream)))))
    if rng.random() < 0.2:
        return flipped(header, rng) + stream
    return header + flipped(stream, rng, at, min(at + 8, len(stream)))


def _bytes(content: object, rng: random.Random) -> bytes:
    return torn(_saved(content), rng)


def _header(content: object, rng: random.Random) -> bytes:
    """Another text in numpy's header."""
    number = rng.choice(("0", "-1", "20000", "9" * 30, "1e9", "True", "'a'", "()", "None"))
    descr = rng.choice(("'|O'", "'<f4'", "'|V4'", "[('a', '|O')]", "'|O8'", "b'x'", "1", "'m8[Y]'"))
    text = rng.choice(
        (
            f"{{'descr': {descr}, 'fortran_order': False, 'shape': ({number},), }}",
            f"{{'descr': {descr}, 'fortran_order': {number}, 'shape': (), }}",
            f"{{'descr': '|O', 'shape': (), {number}: 1}}",
            rng.choice("([{-~") * rng.choice((10, 100, 1000, 9000)),
            "{'descr': '|O', 'fortran_order': False, 'shape': (), } " + "\\" * rng.randrange(3),
        )
    )
    version = rng.choice((b"\x01\0", b"\x01\0", b"\x01\0", b"\x02\0", b"\x03\0", b"\x09\x09"))
    written = text.encode() + b"\n"
    length = len(written).to_bytes(2 if version == b"\x01\0" else 4, "little")
    return b"\x93NUMPY" + version + length + written + _parts(content)[1]


def _instructions(content: object, rng: random.Random) -> bytes:
    """Other instructions in between, or from somewhere on."""
    header, stream = _parts(content)
    added = b"".join(
        (rng.choice(_OPCODES) + rng.choice(_ARGUMENTS)) * rng.choice((1, 1, 1, 50, 5000))
        for _ in range(rng.choice((1, 2, 5)))
    )
    at = rng.randrange(min(400, len(stream)))
    return header + stream[:at] + added + rng.choice((b"", b".", stream[at:]))


def _numbers(content: Any, rng: random.Random) -> bytes:
    """Other numbers in an array, or another array, or none."""
    content = {k: dict(v) if isinstance(v, dict) else v for k, v in content.items()}
    inner = content.get(0, content)
    name = rng.choice(list(inner))
    array = np.array(inner[name])
    number = rng.choice((np.nan, np.inf, -np.inf, -1, 0.5, 1e38, 1e9, 2.0**24, 2.0**25, 0))
    match rng.randrange(8):
        case 0:
            array.flat[rng.randrange(array.size)] = number
        case 1:
            array = np.full_like(array, number)
        case 2:
            array = array.astype(rng.choice(("f8", ">f4", "f2", "i4", "u1", "?", "c8", "O", "S3")))
        case 3:
            array = array[..., :1] if rng.random() < 0.5 else array[None]
        case 4:
            array = np.asfortranarray(array)
        case 5:
            array = rng.choice((None, "x", 3, 2**40, [1.0], (), {}, {"mean": {}}, b"x"))
        case 6:
            inner[rng.choice(("more", 256, -1, 2**70, "0", (1,), None, True))] = array
            del inner[name]
            return _saved(content)
        case 7:
            content = dict.fromkeys(range(rng.choice((0, 1, 256, 3000))), inner)
            return _saved(content)
    inner[name] = array
    return _saved(content)


_WAYS = (_bits, _bits, _bytes, _header, _instructions, _instructions, _numbers, _numbers)
