"""What training and test must not share: label maps of the held-out images, and the images."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import PriorError, counted, listing
from .sets import LabelledSet

# Label maps are compared at so many places along each side, whatever their resolution.
_PLACES = 32
# From this share of places on at which it holds the class within a pixel, one may be the other at
# another resolution, whose borders lie a little aside; with fewer equal places it cannot.
_ALIKE = 0.99
_WORTH_A_LOOK = 0.7


def check_real(real: LabelledSet, val: LabelledSet) -> None:
    """Raise PriorError if a held-out image is among those to train on."""
    known = {_hash(image): name for image, name in zip(real.images, real.maps, strict=True)}
    both = [
        f"{name} is {known[key]}"
        for image, name in zip(val.images, val.maps, strict=True)
        if (key := _hash(image)) in known
    ]
    if both:
        which = _which(both, "image", val, "is", "are")
        raise PriorError(
            f"{which} among those of {real.title} as well ({listing(both, 3)}), so not held out; "
            "expected two splits"
        )


def check_generated(generated: LabelledSet, val: LabelledSet) -> None:
    """Raise PriorError if images are of label maps of the held-out images, or of their mirrors.

    A net that has seen the very scenes of the test tells nothing of images of others. Label maps of
    a single class are not compared.
    """
    of_val = {
        key: name for prints, name in zip(val.prints, val.maps, strict=True) for key in prints
    }
    of_val.pop("", None)
    same = [
        f"{name} is {of_val[prints[0]]}"
        for prints, name in zip(generated.prints, generated.maps, strict=True)
        if prints[0] in of_val
    ]
    if same:
        which = _which(same, "image", generated, "is", "are")
        raise PriorError(
            f"{which} of label maps of {val.title} ({listing(same, 3)}); label maps of generated "
            "images must not come from the held-out split. Leave these images out, or make images "
            "of label maps of the train split"
        )


def doubts(generated: LabelledSet, val: LabelledSet, real: LabelledSet) -> list[str]:
    """What looks as if label maps came from the held-out split, a text each.

    Those that are nearly equal, such as files of another resolution, and those that have names of
    held-out images and not of images to train on.
    """
    said = []
    near = _nearly_equal(generated, val)
    if near:
        pairs = [f"{a} and {b}" for a, b in near.items()]
        said.append(
            f"{_which(pairs, 'label map', generated, 'is', 'are')} nearly those of {val.title} "
            f"({listing(pairs, 3)}); if they are the same scenes, the figures say nothing: leave "
            "them out"
        )
    named = sorted({*generated.maps} & ({*val.maps} - {*real.maps}) - near.keys())
    if named:
        which = _which(named, "label map", generated, "has", "have")
        said.append(
            f"{which} names of images of {val.title} and other content ({listing(named, 3)}); make "
            "sure that none is of the held-out split"
        )
    return said


def _which(found: Sequence[str], what: str, of: LabelledSet, verb: str, verbs: str) -> str:
    """Such as "2 images of --val a are"."""
    return counted(len(found), f"{what} of {of.title} {verb}", f"{what}s of {of.title} {verbs}")


def _nearly_equal(generated: LabelledSet, val: LabelledSet) -> Mapping[str, str]:
    """Name of a generated label map -> that of a held-out one like it or its mirror image."""
    ours = _coarse(generated.ids)[0]
    # Each way of sampling the held-out ones: [9, 2M, h * w].
    theirs = torch.cat([_coarse(val.ids), _coarse(val.ids.flip(-1))], 1)
    names = [*val.maps, *val.maps]
    # Of a single class: it says nothing.
    telling = (theirs[0] != theirs[0, :, :1]).any(1)
    found: dict[str, str] = {}
    for name, places in zip(generated.maps, ours, strict=True):
        if name in found:
            continue
        equal = (theirs[0] == places).float().mean(1)
        for index in ((equal >= _WORTH_A_LOOK) & telling).nonzero().flatten().tolist():
            if float((theirs[:, index] == places).any(0).float().mean()) >= _ALIKE:
                found[name] = names[index]
    return found


def _coarse(ids: Tensor) -> Tensor:
    """Ids [9, N, h * w] at the centres of a coarse grid, and at the eight pixels around each."""
    height, width = ids.shape[1:]
    rows, columns = (
        (2 * torch.arange(min(_PLACES, side)) + 1) * side // (2 * min(_PLACES, side))
        for side in (height, width)
    )
    steps = sorted(itertools.product((-1, 0, 1), repeat=2), key=lambda step: step != (0, 0))
    return torch.stack(
        [
            ids[
                :,
                (rows + down).clamp(0, height - 1)[:, None],
                (columns + right).clamp(0, width - 1),
            ].flatten(1)
            for down, right in steps
        ]
    )


def _hash(image: Tensor) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image.numpy()).data).digest()
