"""The latent formats that a prior can be of: what is known of each, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LatentFormat:
    """The latents of a family of models.

    Attributes:
        host_class: ComfyUI's class of that format.
        channels: C.
        scale: what the published toolkit's latents were multiplied by, None where it has none.
    """

    host_class: str
    channels: int
    scale: float | None = None


UNKNOWN = "unknown"

LATENT_FORMATS: Mapping[str, LatentFormat | None] = {
    "sd15": LatentFormat("SD15", 4, 0.18215),
    "sdxl": LatentFormat("SDXL", 4, 0.13025),
    "sd3": LatentFormat("SD3", 16),
    "flux": LatentFormat("Flux", 16),
    UNKNOWN: None,
}
SCALES = {name: f.scale for name, f in LATENT_FORMATS.items() if f and f.scale is not None}


def channels_of(name: str) -> int | None:
    """Channels of the format of this name; None where that is not known."""
    found = LATENT_FORMATS.get(name)
    return found.channels if found else None


def format_of_host_class(host_class: str) -> str:
    """The name of the format that ComfyUI has this class for, or UNKNOWN."""
    known = {f.host_class: name for name, f in LATENT_FORMATS.items() if f}
    return known.get(host_class, UNKNOWN)
