"""How often an image is encoded: counted in whole builds, not timed."""

from __future__ import annotations

from bench.figure import Figure
from bench.options import Options
from bench.ours import CountingEncoder, build
from bench.pictures import find_pictures
from bench.published import build_as_published, classes_of, encodes_by_definition

TITLE = "encodes per image"


def measure(options: Options) -> list[Figure]:
    """Ours and the published procedure's, over the same images."""
    pictures = find_pictures(options)
    dataset = pictures.dataset(6 if options.quick else 24, (240, 176))
    held = classes_of(dataset)
    ours, theirs = CountingEncoder(), CountingEncoder()
    build(dataset, ours, batch_size=4)
    build_as_published(dataset, theirs, held, batch_size=4, workers=1)
    if theirs.images != encodes_by_definition(held):
        raise AssertionError(
            f"the baseline encoded {theirs.images} times, by its definition it is "
            f"{encodes_by_definition(held)} times"
        )
    samples = f"{len(dataset)} images ({pictures.source}) at 240x176"
    counts = {
        "images": len(dataset),
        "ours": ours.images,
        "published": theirs.images,
        "classes_per_image": round(sum(map(len, held)) / len(held), 2),
    }
    return [
        Figure("here", ours.images / len(dataset), "", 1.0, "exactly", samples, counts),
        Figure("published procedure", theirs.images / len(dataset), "", samples=samples),
    ]
