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
from ..datasets.names import MIRRORED, look_alikes
from ..datasets.pairs import files_by_name
from ..datasets.picture_files import read_image
from ..errors import PriorError, counted, listing
from ..labels.geometry import crop_box
from ..labels.reading import LabelReading, LabelRules

_NUMBERED = re.compile(r"(.+)_\d{2,}")


@dataclass(frozen=True)
class GeneratedImage:
    """An image and the label map that it was generated for.

    Attributes:
        image, label: the files.
        map: the map's name.
        mirrored: whether the image is of the label map with its left and right exchanged.
    """

    image: Path
    label: Path
    map: str
    mirrored: bool = False


def match_generated(
    generated: Path, maps: Mapping[str, Path], partial: bool = False, what: str = "generated"
) -> list[GeneratedImage]:
    """The label map of each generated image, in the order of the maps.

    maps: name -> label file. `what` these images are is said in errors.

    An image is named as its label map, or that and a number: `a.png` has `a.png`, or `a_00.png`,
    `a_01.png` and so on. Names are paths inside the folder without suffix. `a_mirrored` is the
    label map `a` mirrored, as `generate --mirror` makes it, where there is no file of that name.

    Raises PriorError if an image has no label map or could belong to two, or, unless `partial`, if
    a label map has no image.
    """
    images = files_by_name(generated, f"{what} image")
    numbered = {name: match[1] for name in images if (match := _NUMBERED.fullmatch(name))}
    mirrored = {
        name: maps[base]
        for name in {*images, *numbered.values()}
        if name not in maps and (base := name.removesuffix(MIRRORED)) in maps
    }
    required, maps = maps.keys(), {**maps, **mirrored}
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
    missing = sorted(required - set(found.values()))
    if strays:
        alike = look_alikes([*strays, *(numbered.get(name, name) for name in strays)], missing)
        raise PriorError(
            f"{len(strays)} of {counted(len(images), f'{what} image')} "
            f"{'has' if len(strays) == 1 else 'have'} no label map: "
            f"{listing(strays)}{alike and '; '}{alike}. Expected the name of a label map, such "
            f"as {min(required)}_00.png or {min(required)}.png"
        )
    if missing and not partial:
        raise PriorError(
            f"{len(missing)} of {counted(len(required), 'label map')} "
            f"{'has' if len(missing) == 1 else 'have'} no {what} image: "
            f"{listing(missing)}. Generate them, or add --partial to leave them out"
        )
    order = sorted(images, key=lambda name: (found[name], name))
    return [
        GeneratedImage(images[n], maps[found[n]], found[n], found[n] in mirrored) for n in order
    ]


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
    path: Path, size: tuple[int, int], rules: LabelRules, mirrored: bool = False
) -> tuple[LabelReading, tuple[int, int]]:
    """Class ids int64 [h, w] of a label map at its own resolution, and its whole (width, height).

    With left and right exchanged where the image is of the `mirrored` map. Only the largest centred
    part with the shape of images of (width, height) `size` is taken: that part is what a ControlNet
    is shown. Raises PriorError as `read_label_file` does.
    """
    reading = read_label_file(path, rules)
    ids = reading.ids.flip(-1) if mirrored else reading.ids
    height, width = ids.shape
    left, top, right, bottom = crop_box((width, height), size)
    return replace(reading, ids=ids[top:bottom, left:right]), (width, height)


def hash_files(files: Mapping[str, Path]) -> str:
    """64 hex digits over names and contents."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name}\n".encode(errors="surrogateescape"))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
