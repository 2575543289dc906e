"""Images of two folders, set against each other by label map."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import PriorError, listing
from .files import GeneratedImage


@dataclass(frozen=True)
class Paired:
    """As many images of each label map in one list as in the other, in the same order of maps.

    Attributes:
        generated, baseline: the images.
        alone: label maps that only one folder has images of, by the folder.
        uneven: label maps of which one folder had more images.
        left_out: how many images of each folder were left out, for either reason.
    """

    generated: list[GeneratedImage]
    baseline: list[GeneratedImage]
    alone: dict[str, list[str]]
    uneven: list[str]
    left_out: dict[str, int]


def pair(generated: list[GeneratedImage], baseline: list[GeneratedImage]) -> Paired:
    """Keep the label maps of both folders, and of each map the first images, equally many.

    Equally many, because FID falls with the number of images, and a map with more of them would
    weigh more on one side. The first by their numbers: of `generate` they have the same seeds.

    Raises PriorError if no label map has images in both folders.
    """
    ours, theirs = _by_map(generated), _by_map(baseline)
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise PriorError(
            f"no label map has images in both folders: --generated has those of "
            f"{listing(sorted(ours), 3)}, --baseline of {listing(sorted(theirs), 3)}"
        )
    counts = {name: min(len(ours[name]), len(theirs[name])) for name in shared}
    kept_ours, kept_theirs = (
        [image for name in shared for image in side[name][: counts[name]]]
        for side in (ours, theirs)
    )
    return Paired(
        kept_ours,
        kept_theirs,
        alone={
            "generated": sorted(ours.keys() - theirs.keys()),
            "baseline": sorted(theirs.keys() - ours.keys()),
        },
        uneven=[name for name in shared if len(ours[name]) != len(theirs[name])],
        left_out={
            "generated": len(generated) - len(kept_ours),
            "baseline": len(baseline) - len(kept_theirs),
        },
    )


def _by_map(images: list[GeneratedImage]) -> dict[str, list[GeneratedImage]]:
    found: dict[str, list[GeneratedImage]] = {}
    # "a_100" comes after "a_11", which is shorter.
    for image in sorted(images, key=lambda image: (len(image.image.stem), image.image.stem)):
        found.setdefault(image.map, []).append(image)
    return found
