"""The label maps of a folder, and the file in which one or several of them go to a server.

All go as PNG of 8 bits a channel in RGB, which every release of the host reads exactly: later ones
read grey levels above 128 one too low, 16 bits as noise, and no file whose EXIF data are damaged.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets.label_files import label_hash, read_label_file, survey
from ..datasets.names import MIRRORED
from ..datasets.picture_files import is_lossy, open_picture, opened_head, upright, upright_size
from ..errors import PriorError, listing
from ..helper_threads import HelperThreads, InOrder
from ..labels.color_tables import is_made_visible
from ..labels.reading import (
    LabelRules,
    is_of_one_channel,
    lossy_ids,
    values_of,
)
from ..labels.tally import LabelTally
from .animated_png import animated_png

# Threads that look into label maps.
_READERS = 4


@dataclass(frozen=True)
class LabelMap:
    """A label file.

    Attributes:
        stem: path inside the folder of label maps without the suffix, "/" between its parts.
        name: the same with the suffix.
        path: where it lies.
        sha256: of the file, in hex; of several files, or one whose classes another file tells, of
            all that decides.
        rules: how it is read; it is sent in the colors of their palette. None sends what it shows,
            and ids in a file of one channel as grey levels.
        has_colors: whether it is of more than one channel.
        mirrored: whether its left and right are exchanged; see `with_mirrored`.
    """

    stem: str
    name: str
    path: Path
    sha256: str
    rules: LabelRules | None = None
    has_colors: bool = True
    mirrored: bool = False


def find_label_maps(
    labels: Mapping[str, Path], rules: LabelRules | None = None
) -> tuple[list[LabelMap], LabelTally]:
    """Label files by ascending stem, and what they hold by the rules.

    labels: stem -> file. Raises PriorError for files that cannot be read by the rules, see
    `survey`, or without rules that cannot be sent, see `upload_data`.
    """
    files = sorted(labels.items())
    tally = LabelTally()
    if rules:
        named = [(stem + path.suffix, path) for stem, path in files]
        rules, tally = survey(named, rules, most=len(files))
    found = []
    for stem, path in files:
        name, data = stem + path.suffix, path.read_bytes()
        with opened_head(path, f"label map {name}", data) as picture:
            has_colors = not is_of_one_channel(picture)
        digest = label_hash(path, rules, data)
        found.append(LabelMap(stem, name, path, digest, rules, has_colors))
    if rules is None:
        _check_all(found)
    return found, tally


def with_mirrored(label_maps: Sequence[LabelMap]) -> list[LabelMap]:
    """The label maps and each of them mirrored, `a_mirrored` beside `a`, by ascending stem.

    Raises PriorError if there are files of these names.
    """
    mirrored = [
        replace(one, stem=one.stem + MIRRORED, name=_mirrored_name(one.name), mirrored=True)
        for one in label_maps
    ]
    taken = {one.stem for one in label_maps} & {one.stem for one in mirrored}
    if taken:
        raise PriorError(
            f"--mirror gives mirrored label maps names that end in {MIRRORED}, and there are files "
            f"of {len(taken)} such names: {listing(sorted(taken), 3)}; rename them, or leave out "
            "--mirror"
        )
    return sorted([*label_maps, *mirrored], key=lambda one: one.stem)


def _mirrored_name(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}{MIRRORED}{dot}{suffix}"


def _check_all(label_maps: Sequence[LabelMap]) -> None:
    """Raise PriorError for the first that cannot be sent: after hours, it would end the run."""
    threads = HelperThreads(_READERS, "scp-look")

    def look(label_map: LabelMap) -> PriorError | None:
        try:
            _pixels(label_map)
        except PriorError as error:
            return error
        return None

    try:
        for error in InOrder(threads, look, label_maps, 2 * _READERS, lambda: None):
            if error is not None:
                raise error
    finally:
        threads.end()


def shape_of(label_map: LabelMap) -> tuple[int, int, int]:
    """(height, width, channels) of what is sent; 4 channels if LoadImage makes a mask of one.

    Raises PriorError for what is no picture.
    """
    if label_map.rules:
        width, height = upright_size(label_map.path, "label map")
        return height, width, 3
    picture = upright(_opened(label_map))
    return picture.height, picture.width, 4 if _has_alpha(picture) else 3


def upload_name(label_maps: Sequence[LabelMap]) -> str:
    """A file name made of the content of `upload_data`."""
    parts = []
    for label_map in label_maps:
        mirrored = MIRRORED * label_map.mirrored
        parts.append(f"{label_map.sha256} {_told(label_map.rules)}{mirrored}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32] + ".png"


def _told(rules: LabelRules | None) -> str:
    """All that the rules change."""
    if rules is None:
        return ""
    return json.dumps([rules.palette.to_json(), [*(rules.id_map or {}).items()], rules.grey_is_ids])


def upload_data(label_maps: Sequence[LabelMap]) -> bytes:
    """A PNG of which LoadImage makes [N, H, W, 3], in the order of the label maps.

    Raises PriorError for what is no picture, what `read_label_file` refuses, and ids that have
    neither colors nor a grey level.
    """
    frames = [_pixels(label_map) for label_map in label_maps]
    if len(frames) > 1:
        return animated_png(frames)
    data = io.BytesIO()
    Image.fromarray(frames[0]).save(data, "PNG")
    return data.getvalue()


def _pixels(label_map: LabelMap) -> np.ndarray:
    """uint8 [H, W, 3 or 4]."""
    pixels = _pixels_of_file(label_map)
    return np.ascontiguousarray(pixels[:, ::-1]) if label_map.mirrored else pixels


def _pixels_of_file(label_map: LabelMap) -> np.ndarray:
    if rules := label_map.rules:
        reading = read_label_file(label_map.path, rules, label_map.name)
        painted: np.ndarray = rules.palette.paint(reading.ids).numpy()
        return painted
    picture = _opened(label_map)
    if is_of_one_channel(picture):
        if is_lossy(picture, label_map.path):
            raise PriorError(lossy_ids(f"label map {label_map.name}"))
        return _grey(upright(picture), label_map.name)
    picture = upright(picture)
    if is_made_visible(picture):
        raise PriorError(
            f"label map {label_map.name} holds class ids, with a color table that makes them "
            "visible (grey, or PASCAL VOC's); give the --palette in whose colors they are sent"
        )
    return np.array(picture.convert("RGBA" if _has_alpha(picture) else "RGB"))


def _grey(picture: Image.Image, name: str) -> np.ndarray:
    """Ids as grey levels, uint8 [H, W, 3]."""
    ids = values_of(picture, f"label map {name}")
    wrong = ids[(ids < 0) | (ids > 255)]
    if len(wrong):
        raise PriorError(
            f"label map {name} holds class id {wrong[0]}; ids go to a server as grey levels of 8 "
            "bits, 0..255. Give the --palette that has a color for each id, or rename them with "
            "--id-map"
        )
    return np.repeat(ids.astype(np.uint8)[..., None], 3, axis=-1)


def _opened(label_map: LabelMap) -> Image.Image:
    return open_picture(label_map.path, "label map", label_map.name, exact=True)


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "RGBa") or (
        picture.mode == "P" and "transparency" in picture.info
    )
