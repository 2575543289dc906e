"""Label files: read with one meaning everywhere, and looked through before they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from ..errors import PriorError
from ..helper_threads import HelperThreads, InOrder
from ..labels.reading import (
    BOTH,
    COLORS,
    IDS,
    LabelReading,
    LabelRules,
    read_label_picture,
    read_together,
    read_values,
)
from ..labels.tally import LabelTally
from .picture_files import is_lossy, open_frames, open_picture, upright

# Files that are looked through before a build: enough for a fault of the whole folder, and few
# enough not to be waited for.
MOST_SURVEYED = 256

_SAME_SHAPE = 0.02
# Seconds that the end waits for reads under way.
_LAST_READ = 2.0
_NO_IDS = torch.empty(0, 0, dtype=torch.int64)

# Endings of files of which the name tells what they hold -> the palettes that they are not read by.
_TOLD_BY_NAME = {
    "_labelIds": (("cityscapes", "bdd100k"), "Cityscapes' labelIds"),
    "_labelTrainIds": (("cityscapes_label_ids",), "Cityscapes' trainIds"),
}


def read_label_file(path: Path, rules: LabelRules, name: str = "") -> LabelReading:
    """The class ids of a label file, upright.

    name: what to call it in a message, by default as the file. Raises PriorError as
    `read_label_picture` does, if the file cannot be read, and if its name says that its ids are not
    the palette's.
    """
    name = name or path.name
    if rules.form is not None:
        return read_values(rules.form.values(path, name), f"label map {name}", rules)
    check_name(path, rules)
    picture = open_picture(path, "label map", name, exact=True)
    return read_label_picture(upright(picture), f"label map {name}", rules, is_lossy(picture, path))


def pictures_of(path: Path, rules: LabelRules | None) -> Sequence[Path]:
    """The pictures that make the label map at `path`: this one, but for forms of several."""
    return (path,) if rules is None or rules.form is None else rules.form.files(path)


def label_hash(path: Path, rules: LabelRules | None, data: bytes | None = None) -> str:
    """SHA-256, in hex, of the file; of all that decides where it is not one picture of ids.

    data: what is in the file, where it was read already.
    """
    digest = hashlib.sha256(path.read_bytes() if data is None else data)
    if rules and rules.form:
        for file in rules.form.files(path):
            digest.update(b"" if file == path else hashlib.sha256(file.read_bytes()).digest())
        digest.update(rules.form.told(path).encode())
    return digest.hexdigest()


def read_label_frames(path: Path, rules: LabelRules, name: str = "") -> LabelReading:
    """As `read_label_file`, with ids int64 [N, H, W]: of each picture of an animated PNG.

    Such a file holds several label maps, see `read_together`; of any other file N is 1.
    """
    check_name(path, rules)
    name = name or path.name
    opened = open_frames(path, "label map", name, exact=True)
    lossy, frames = is_lossy(opened[0], path), [upright(frame) for frame in opened]
    if len({frame.size for frame in frames}) > 1:
        raise PriorError(
            f"label map {name} holds pictures that its EXIF data turn differently; save them anew"
        )

    def read(frame: Image.Image, rules: LabelRules) -> LabelReading:
        return read_label_picture(frame, f"label map {name}", rules, lossy)

    return read_together(frames, read, rules)


def check_name(path: Path, rules: LabelRules) -> None:
    """Raise PriorError if a file's name says that its ids are not the palette's."""
    if rules.id_map is not None:
        return
    for ending, (palettes, what) in _TOLD_BY_NAME.items():
        if path.stem.endswith(ending) and rules.palette.name in palettes:
            other = "cityscapes_label_ids" if ending == "_labelIds" else "cityscapes"
            raise PriorError(
                f"label map {path.name} holds {what} by its name, which are not the ids of palette "
                f"'{rules.palette.name}'; choose palette {other}, or rename the ids with --id-map"
                + (" cityscapes_labelids_to_trainids" if ending == "_labelIds" else "")
            )


def survey(
    files: Sequence[tuple[str, Path]],
    rules: LabelRules,
    *,
    most: int = MOST_SURVEYED,
    workers: int = 4,
    look: Callable[[], None] = lambda: None,
    skip_errors: bool = False,
    hint: str = "",
) -> tuple[LabelRules, LabelTally]:
    """Look through label files before they are used.

    Args:
        files: (what to call it, path) of each.
        rules: how they are read.
        most: so many of them, evenly spread, are read. Where these do not tell what a grey file
            means that could be ids as well as colors, and such may come, the others are looked into
            until one holds colors.
        workers: threads that read.
        look: called after each file; what it raises ends the survey.
        skip_errors: whether files that cannot be used are passed over; they are the caller's to
            leave out.
        hint: what else can be done about one, added to its error.

    Returns:
        The rules, which now say what grey files of this folder are, and what was found.

    Raises PriorError as `read_label_file` does.
    """
    step = max(1, -(-len(files) // most))
    chosen, others = files[::step], [f for i, f in enumerate(files) if i % step]
    threads = HelperThreads(max(1, workers), "scp-survey")

    def read(file: tuple[str, Path]) -> LabelReading | PriorError:
        try:
            return replace(read_label_file(file[1], rules, file[0]), ids=_NO_IDS)
        except PriorError as error:
            return error

    def read_all(files: Sequence[tuple[str, Path]]) -> Iterator[LabelReading | PriorError]:
        for reading in InOrder(threads, read, files, 2 * workers, look):
            # While files are read faster than they are waited for, nobody has looked.
            look()
            yield reading

    def tallied() -> LabelTally:
        tally = LabelTally()
        for reading in read_all(chosen):
            if isinstance(reading, LabelReading):
                kinds.add(reading.kind)
                of_one_channel.append(reading.kind == IDS and not reading.tally.notes)
                tally += reading.tally
            elif not skip_errors:
                raise PriorError(f"{str(reading).rstrip('.')}{hint}")
        return tally

    kinds: set[str] = set()
    of_one_channel: list[bool] = []
    ids_alone = rules.palette.is_grey or rules.id_map is not None
    try:
        tally = tallied()
        if not (ids_alone or COLORS in kinds or all(of_one_channel)):
            for reading in read_all(others):
                if COLORS in kinds:
                    break
                if isinstance(reading, LabelReading):
                    kinds.add(reading.kind)
        if IDS in kinds and COLORS not in kinds:
            rules = replace(rules, grey_is_ids=True)
            if BOTH in kinds:
                tally = tallied()
    finally:
        # A read can hang for good, on a network drive that has gone.
        threads.end(_LAST_READ)
    return rules, tally


def check_shape(name: str, size: tuple[int, int], other: str, other_size: tuple[int, int]) -> None:
    """Raise PriorError if a label map is turned against its image, or of another shape.

    Shapes are one if they differ by at most 2%, or by what rounding a side to a pixel makes.

    Args:
        name: of the label map; size: its (width, height).
        other: what to call the image; other_size: its (width, height).
    """
    if not differs(size, other_size):
        return
    width, height = size
    turned = not differs((height, width), other_size)
    raise PriorError(
        f"label map {name} has {width}x{height} pixels, {other} {other_size[0]}x{other_size[1]}: "
        + (
            "one of them is turned by 90 degrees; turn it"
            if turned
            else "they are not of one shape, and are not stretched onto each other; cut them to "
            "the same part of the scene"
        )
    )


def differs(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether the shapes (width, height) differ, see `check_shape`."""
    width, height = size
    aspect = other[0] / other[1]
    if abs(width / height / aspect - 1) <= _SAME_SHAPE:
        return False
    return abs(width - height * aspect) > 1 and abs(height - width / aspect) > 1
