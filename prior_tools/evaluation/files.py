"""Generated images, their label maps and real images on disk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..datasets.label_files import read_label_file
from ..datasets.names import look_alikes
from ..datasets.pairs import files_by_name
from ..datasets.picture_files import read_image
from ..errors import PriorError, listing
from ..labels.geometry import crop_box
from ..labels.reading import LabelReading, LabelRules

_NUMBERED = re.compile(r"(.+)_\d{2,}")


@dataclass(frozen=True)
class GeneratedImage:
    """An image and the label map that it was generated for; `map` is the map's name."""

    image: Path
    label: Path
    map: str


def match_generated(
    generated: Path, maps: Mapping[str, Path], partial: bool = False, what: str = "generated"
) -> list[GeneratedImage]:
    """The label map of each generated image, in the order of the maps.

    maps: name -> label file. `what` these images are is said in errors.

    An image is named as its label map, or that and a number: `a.png` has `a.png`, or `a_00.png`,
    `a_01.png` and so on. Names are paths inside the folder without suffix.

    Raises PriorError if an image has no label map or could belong to two, or, unless `partial`, if
    a label map has no image.
    """
    images = files_by_name(generated, f"{what} image")
    numbered = {name: match[1] for name in images if (match := _NUMBERED.fullmatch(name))}
    found: dict[str, str] = {}
    # If one way of naming explains all files it is the one that was used; maps "a" and "a_01"
    # then do no harm.
    for way in ({name: name for name in images}, numbered):
        if len(way) == len(images) and all(name in maps for name in way.values()):
            if found and found != way:
                raise PriorError(_doubtful(sorted(images)))
            found = way
    if not found:
        both = [n for n in images if n in maps and numbered.get(n) in maps]
        if both:
            raise PriorError(_doubtful(sorted(both)))
        found = {n: n if n in maps else numbered.get(n, "") for n in images}
    strays = sorted(name for name, owner in found.items() if owner not in maps)
    missing = sorted(maps.keys() - set(found.values()))
    if strays:
        alike = look_alikes([*strays, *(numbered.get(name, name) for name in strays)], missing)
        raise PriorError(
            f"{len(strays)} of {len(images)} {what} images have no label map: "
            f"{listing(strays)}{alike and '; '}{alike}. Expected the name of a label map, such "
            f"as {min(maps)}_00.png or {min(maps)}.png"
        )
    if missing and not partial:
        raise PriorError(
            f"{len(missing)} of {len(maps)} label maps have no {what} image: "
            f"{listing(missing)}. Generate them, or add --partial to leave them out"
        )
    order = sorted(images, key=lambda name: (found[name], name))
    return [GeneratedImage(images[n], maps[found[n]], found[n]) for n in order]


def _doubtful(names: list[str]) -> str:
    return (
        f"it is not clear which label map {listing(names)} belong to: both the whole name and the "
        "name without its number are label maps; rename the label maps"
    )


def read_generated(
    path: Path, size: tuple[int, int] | None = None, what: str = "generated"
) -> Tensor:
    """A generated image, uint8 [H, W, 3]; PriorError if its size is not (width, height)."""
    picture = read_image(path, f"{what} image")
    if size is not None and picture.size != size:
        raise PriorError(
            f"{what} image {path.name} has {picture.width}x{picture.height} pixels, others have "
            f"{size[0]}x{size[1]}; evaluate images of one size"
        )
    return torch.from_numpy(np.array(picture))


def read_real(path: Path, size: tuple[int, int], exact: bool = False) -> Tensor:
    """A real image at the size (width, height) of the generated ones, uint8 [H, W, 3].

    The largest centred part of that shape is resized by antialiased bicubic interpolation, so that
    the figures compare like with like: real photographs would be sharper than what can be
    generated. With `exact` another size is a PriorError instead.
    """
    picture = read_image(path, "real image")
    if picture.size != size:
        if exact:
            raise PriorError(
                f"real image {path.name} has {picture.width}x{picture.height} pixels, the "
                f"generated ones have {size[0]}x{size[1]}; --real-fit resize would resize it"
            )
        picture = picture.crop(crop_box(picture.size, size))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture))


def read_labels(
    path: Path, size: tuple[int, int], rules: LabelRules
) -> tuple[LabelReading, tuple[int, int]]:
    """Class ids int64 [h, w] of a label map at its own resolution, and its whole (width, height).

    Only the largest centred part with the shape of images of (width, height) `size` is taken: that
    part is what a ControlNet is shown. Raises PriorError as `read_label_file` does.
    """
    reading = read_label_file(path, rules)
    height, width = reading.ids.shape
    left, top, right, bottom = crop_box((width, height), size)
    return replace(reading, ids=reading.ids[top:bottom, left:right]), (width, height)


def hash_files(files: Mapping[str, Path]) -> str:
    """64 hex digits over names and contents."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\n".encode(errors="surrogateescape"))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
