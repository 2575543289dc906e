"""Picture files: read whole, turned upright, brought to 8-bit colors."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile, ImageSequence, UnidentifiedImageError

from ..errors import PriorError, reason

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_TURNS[i] for i in (5, 6, 7, 8)}
_BITS_PER_SAMPLE, _SAMPLE_FORMAT = 0x0102, 0x0153
_WIDTH, _HEIGHT, _PAGE_KIND = 0x0100, 0x0101, 0x00FE
_BITMAP_BITS = {"1": 1, "L": 8}
_SIGNED = 2

# Names that Pillow has for how a file holds its pixels.
_DEEP_CHANNELS = re.compile(r"(RGB|LA|CMYK|YCbCr).*;16")
_OTHER_GREY = re.compile(r"L;[24]|[1L];\d?I")

# Pixels. Not even PNG files of one color and a bit a pixel hold more in a byte.
_LARGE, _MOST_PER_BYTE = 2**23, 10_000


def open_picture(path: Path, what: str, name: str = "", exact: bool = False) -> Image.Image:
    """A picture, read whole; PriorError says why a file cannot be read.

    Args:
        what, name: what it is and is called, by default as the file, for that message.
        exact: refuse what is right for shades of grey and wrong for numbers: channels of 16 bits of
            which the lower half is dropped, numbers of 2 and 4 bits that are multiplied to fill a
            byte, and those that are inverted as their file has 0 for white; and files of several
            pictures, of which only the first is read.
    """
    with opened_head(path, f"{what} {name or path.name}") as picture:
        _check_layout(picture)
        if exact:
            _check_exact(picture)
            _check_single(picture)
        picture.load()
        _check_numbers(picture)
        # Alpha beside a color table says nothing of the numbers.
        return picture.convert("P") if exact and picture.mode == "PA" else picture


def open_frames(path: Path, what: str, name: str = "", exact: bool = False) -> list[Image.Image]:
    """The pictures of an animated PNG, else the first of a file alone; see `open_picture`."""
    with opened_head(path, f"{what} {name or path.name}") as picture:
        if picture.format == "PNG" and getattr(picture, "n_frames", 1) > 1:
            _check_layout(picture)
            if exact:
                _check_exact(picture)
            return [frame.copy() for frame in ImageSequence.Iterator(picture)]
    return [open_picture(path, what, name, exact)]


@contextmanager
def opened_head(path: Path, what: str, data: bytes | None = None) -> Iterator[ImageFile.ImageFile]:
    """A picture of which the head is read, while its file is open; see `open_picture`.

    data: the file's content, where it is at hand.
    """
    said = f"{what} cannot be read"
    try:
        with _PictureFile(path) if data is None else io.BytesIO(data) as file:
            picture = Image.open(file)
            _check_size(
                picture.size, file.size if isinstance(file, _PictureFile) else len(data or b"")
            )
            yield picture
    except UnidentifiedImageError as error:
        # Its own text is the whole path.
        raise PriorError(
            f"{said}: it is not a picture, or not of a kind that can be read"
        ) from error
    except Exception as error:
        # What Pillow raises for a damaged file depends on where in its parsers that one leads.
        raise PriorError(f"{said}: {reason(error)}") from error


class _PictureFile(io.BufferedReader):
    """A file of which a read makes room for no more bytes than it has, whatever parts of it claim.

    size: of the file, in bytes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb", buffering=0))
        self.size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, max(0, self.size - self.tell()))
        return super().read(size)


def _check_size(size: tuple[int, int], in_file: int) -> None:
    """ValueError where only a file made to fill the memory, or a damaged one, can be so small."""
    width, height = size
    if width * height > max(_LARGE, _MOST_PER_BYTE * in_file):
        raise ValueError(
            f"it claims to hold {width}x{height} pixels in {in_file} bytes; if it does, save it as "
            "PNG"
        )


def _check_exact(picture: ImageFile.ImageFile) -> None:
    """ValueError for a picture, not yet loaded, whose numbers reading would change."""
    if getattr(picture, "tile", ()):
        raw = _raw_mode(picture)
        if _DEEP_CHANNELS.match(raw):
            raise ValueError(
                "it has several channels of 16 bits, of which only half can be read; save the "
                "channel that holds the ids as a file of its own"
            )
        if _OTHER_GREY.match(raw):
            raise ValueError(
                "it is grey of 2 or 4 bits, or with 0 for white, of which readers make other "
                "numbers; save it as grey of 8 bits"
            )


def _check_layout(picture: ImageFile.ImageFile) -> None:
    """ValueError for a picture, not yet loaded, of which the parts would be read as others."""
    if picture.format in ("BMP", "DIB") and picture.mode in _BITMAP_BITS:
        # A table of black and white is taken for a bit a pixel, one of greys for a byte, whatever
        # the file has.
        bits, is_raw = _bitmap_bits(picture), picture.tile[0][0] == "raw"
        if is_raw and bits != _BITMAP_BITS[picture.mode]:
            raise ValueError(f"it is a BMP of {bits} bits with a table of greys; save it as PNG")
    bits = max(_tags(picture).get(_BITS_PER_SAMPLE, (0,)))
    if bits > 8 and len(picture.tile) > 1 and _raw_mode(picture) in ("R", "G", "B"):
        raise ValueError(
            f"it is a TIFF of {bits} bits whose channels lie one after the other, which cannot be "
            "read; save it as PNG"
        )


def _bitmap_bits(picture: ImageFile.ImageFile) -> int:
    """Bits a pixel of a BMP as opened."""
    file = picture.fp
    assert file is not None
    at = file.tell()
    # The head of a file, which a bare bitmap lacks, and that of the oldest kind is shorter.
    file.seek(0)
    head = file.read(44)
    file.seek(at)
    head = head[14:] if head[:2] == b"BM" else head
    start = 10 if head[:4] == b"\x0c\0\0\0" else 14
    return int.from_bytes(head[start : start + 2], "little")


def _check_single(picture: ImageFile.ImageFile) -> None:
    """ValueError for a file of several pictures; smaller copies and masks of a TIFF are none."""
    pictures = getattr(picture, "n_frames", 1)
    if pictures > 1 and picture.format == "TIFF":
        size, pages = picture.size, range(pictures)
        pictures = 0
        for page in pages:
            picture.seek(page)
            pictures += picture.size == size and not _tags(picture).get(_PAGE_KIND, 0) & 0b101
        picture.seek(0)
    if pictures > 1:
        raise ValueError(
            f"it holds {pictures} pictures, of which only one can be meant; save that on its own"
        )


def _raw_mode(picture: ImageFile.ImageFile) -> str:
    """Pillow's name for how the first part of a picture, as opened, holds its pixels."""
    given = picture.tile[0][3]
    return str(given[0] if isinstance(given, tuple) and given else given)


def is_lossy(picture: Image.Image, path: Path) -> bool:
    """Whether the format of a picture file, as opened, changes values: JPEG and lossy WebP."""
    if picture.format == "WEBP":
        with path.open("rb") as file:
            return _is_lossy_webp(file)
    # MPO is JPEG of several pictures; TIFF can hold JPEG.
    jpeg = "jpeg" in str(picture.info.get("compression", ""))
    return jpeg or picture.format in ("JPEG", "MPO", "JPEG2000", "AVIF", "HEIF")


def _is_lossy_webp(file: IO[bytes]) -> bool:
    """Whether the first picture in a WebP file is of the lossy kind."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        if head[:4] in (b"VP8 ", b"VP8L"):
            return head[:4] == b"VP8 "
        # A frame of an animation holds its picture behind sixteen bytes; other parts are passed
        # over, each of an even number of bytes.
        size = int.from_bytes(head[4:], "little")
        file.seek(16 if head[:4] == b"ANMF" else size + size % 2, io.SEEK_CUR)
    return False


def upright_size(path: Path, what: str) -> tuple[int, int]:
    """(width, height) of a picture that is turned upright, by its file's head alone.

    Raises PriorError as `open_picture` does.
    """
    with opened_head(path, f"{what} {path.name}") as picture:
        width, height = picture.size
        if picture.format == "TIFF":
            # Some releases of Pillow tell the size of the turned picture already.
            tags = _tags(picture)
            width, height = tags.get(_WIDTH, width), tags.get(_HEIGHT, height)
        return (height, width) if _turn(picture) in _SIDEWAYS else (width, height)


def _tags(picture: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF as opened; none of others."""
    tags: Mapping[int, Any] = getattr(picture, "tag_v2", {})
    return tags


def _numbers(picture: Image.Image) -> tuple[int, bool]:
    """(bits, whether they have a sign) of a channel of a TIFF as opened; (0, False) of others."""
    tags = _tags(picture)
    return tags.get(_BITS_PER_SAMPLE, (0,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED


def _check_numbers(picture: Image.Image) -> None:
    """ValueError where numbers in a TIFF became others, for want of a mode that holds them."""
    kind = picture.mode, *_numbers(picture)
    if kind == ("I", 32, False):
        largest = int(np.asarray(picture).view(np.uint32).max())
        if largest >= 2**31:
            raise ValueError(f"it holds {largest}; expected numbers below {2**31}")
    elif kind == ("L", 8, True):
        least = int(np.asarray(picture).view(np.int8).min())
        if least < 0:
            raise ValueError(
                f"it holds negative numbers of 8 bits, such as {least}; save it with 8 bits "
                "without a sign, or with 16"
            )


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data says; as it is where they cannot be read."""
    turn = _turn(picture)
    return picture if turn is None else picture.transpose(turn)


def is_upright(picture: Image.Image) -> bool:
    """Whether `upright` leaves it as it is."""
    return _turn(picture) is None


def read_image(
    path: Path, what: str, name: str = "", label_size: tuple[int, int] | None = None
) -> Image.Image:
    """A picture in 8-bit RGB, turned upright unless its label map was drawn on it unturned.

    Args:
        path, what, name: see `open_picture`.
        label_size: (width, height) of the label map, if there is one.

    Raises PriorError as `open_picture` and `as_rgb` do.
    """
    picture = open_picture(path, what, name)
    turn = _turn(picture)
    # First, since what tells the range of its values is lost by turning.
    picture = as_rgb(picture, f"{what} {name or path.name}")
    turned = picture if turn is None else picture.transpose(turn)
    drawn_unturned = label_size == picture.size != turned.size
    return picture if drawn_unturned else turned


def as_rgb(picture: Image.Image, what: str) -> Image.Image:
    """A picture, as opened, in 8-bit colors; grey of up to 16 bits is scaled.

    Raises PriorError for wider grey and for floats: what of them is white is not known.
    """
    # Grey PNGs of 16 bits are "I" in older releases of Pillow. Its own conversion clips.
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        bits = _numbers(picture)[0] or 16
        picture = Image.fromarray((np.asarray(picture) >> (bits - 8)).astype(np.uint8))
    if picture.mode in ("I", "F"):
        bits, signed = _numbers(picture)
        of = f" of {bits} bits" * bool(bits) + " with a sign" * signed
        kind = "floats" if picture.mode == "F" else f"whole numbers{of}"
        raise PriorError(
            f"{what} holds {kind}, of which nothing tells which is white; save it with 8 or 16 "
            "bits a channel, without a sign"
        )
    return picture.convert("RGB")


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """What brings a picture upright; None if nothing does or its EXIF data cannot be read."""
    try:
        return _TURNS.get(int(picture.getexif().get(_ORIENTATION, 1)))
    except Exception:
        # Damaged EXIF data end in many kinds of errors, and say nothing of the pixels.
        return None
