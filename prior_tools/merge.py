"""The prior of the images of several priors together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

from .accumulator import PriorAccumulator
from .errors import PriorError, listing
from .grain_estimate import average_grains
from .latent_formats import UNKNOWN
from .prior import Prior, PriorMetadata


def merge_priors(priors: Iterable[Prior]) -> Prior:
    """The prior of all images of `priors` together, in any order, to 1e-6.

    Classes are united. Grain is averaged by numbers of images over those priors that have it; with
    up to 16 channels to about 0.01, beyond that as far as 16 directions go. What some of the priors
    do not know, it takes from those that do: see `taken_on_trust`.

    Raises PriorError where there is no prior, where some are of images alone and others are not, or
    where two of them contradict each other in channels, grid, downscale factor, latent format, VAE,
    class names, palette, ignore ids, or in how images and labels were resized.

    >>> parts = [build_prior(dataset.subset([i]), encode) for i in range(2)]
    >>> merged = merge_priors(parts)
    >>> merged.num_images, torch.allclose(merged.joint_std, prior.joint_std, atol=1e-6)
    (2, True)
    """
    given = list(priors)
    if not given:
        raise PriorError("no prior is given; expected at least one to merge")
    first, *others = given
    total = PriorAccumulator.from_prior(first)
    metadata = first.metadata
    for other in others:
        metadata = _merged_metadata(metadata, other.metadata)
        total.merge(PriorAccumulator.from_prior(other))
    kept = {f.name: getattr(metadata, f.name) for f in fields(metadata)}
    for own in ("latent_channels", "grid", "ignore_ids"):
        del kept[own]
    merged = total.finalize(**kept)
    return replace(merged, grain=average_grains(given, merged.class_ids))


def taken_on_trust(priors: Sequence[Prior], names: Sequence[str]) -> list[str]:
    """What their merged prior claims of all of them though some do not tell, as sentences.

    names: what each of the priors is called.
    """
    told = []
    without = [name for name, prior in zip(names, priors, strict=True) if prior.grain is None]
    if without and len(without) < len(priors):
        told.append(
            f"{listing(without)} has no grain; the merged prior has that of the others alone"
        )
    for what, field, unknown in (
        ("the VAE", "vae", None),
        ("the latent format", "latent_format", UNKNOWN),
        ("the palette", "palette", None),
    ):
        silent = [
            name
            for name, prior in zip(names, priors, strict=True)
            if getattr(prior.metadata, field) == unknown
        ]
        if silent and len(silent) < len(priors):
            told.append(
                f"{what} of {listing(silent)} is not known; it must be that of the others, and the "
                "merged prior says that it is"
            )
    return told


def _differs(what: str, how: str) -> PriorError:
    return PriorError(f"cannot merge priors: {what} differs ({how})")


def _merged_metadata(a: PriorMetadata, b: PriorMetadata) -> PriorMetadata:
    """What holds of both; PriorError says which field contradicts."""

    def same(name: str, unknown: object = None) -> Any:
        ours, theirs = getattr(a, name), getattr(b, name)
        if ours == theirs or theirs == unknown:
            return ours
        if ours == unknown:
            return theirs
        raise _differs(name.replace("_", " "), f"{ours} against {theirs}")

    if (a.label_method is None) != (b.label_method is None):
        # What a joint draw falls back to would be of other images than its classes, and grain about
        # the places' means is not grain about the classes'.
        raise PriorError(
            "cannot merge priors: one was built with label maps, another from images alone, so "
            "places and classes would be of different images. Build all of them with label maps, "
            "or all from images alone"
        )
    if a.vae and b.vae and not a.vae.fits(b.vae):
        raise _differs("VAE", a.vae.against(b.vae))
    for class_id in a.class_names.keys() & b.class_names.keys():
        if a.class_names[class_id] != b.class_names[class_id]:
            raise PriorError(
                f"cannot merge priors: class {class_id} is {a.class_names[class_id]!r} in one and "
                f"{b.class_names[class_id]!r} in another"
            )
    names = sorted({*a.dataset_name.split(" + "), *b.dataset_name.split(" + ")} - {""})
    return PriorMetadata(
        latent_channels=same("latent_channels"),
        grid=same("grid"),
        downscale_factor=same("downscale_factor"),
        latent_format=same("latent_format", UNKNOWN),
        vae=a.vae or b.vae,
        source_size=a.source_size if a.source_size == b.source_size else None,
        dataset_name=" + ".join(names),
        class_names={**a.class_names, **b.class_names},
        palette=same("palette"),
        ignore_ids=same("ignore_ids"),
        resize_policy=same("resize_policy"),
        label_method=same("label_method"),
    )
