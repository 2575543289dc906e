"""The latent formats that a prior can be of: what is known of each, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import PriorError


@dataclass(frozen=True)
class LatentFormat:
    """The latents of a family of models.

    Attributes:
        host_class: ComfyUI's class of that format.
        channels: C.
        downscale_factor: pixels per latent cell.
        scale: what the published toolkit's latents were multiplied by, None where it has none.
    """

    host_class: str
    channels: int
    downscale_factor: int = 8
    scale: float | None = None


UNKNOWN = "unknown"

LATENT_FORMATS: Mapping[str, LatentFormat | None] = {
    "sd15": LatentFormat("SD15", 4, scale=0.18215),
    "sdxl": LatentFormat("SDXL", 4, scale=0.13025),
    "sd3": LatentFormat("SD3", 16),
    "flux": LatentFormat("Flux", 16),
    UNKNOWN: None,
}
SCALES = {name: f.scale for name, f in LATENT_FORMATS.items() if f and f.scale is not None}


def check_channels(name: str, channels: int) -> None:
    """Raise PriorError if a VAE's latents of so many channels are not of the format `name`."""
    named = LATENT_FORMATS.get(name)
    if named is None or channels == named.channels:
        return
    fitting = [n for n, found in LATENT_FORMATS.items() if found and found.channels == channels]
    raise PriorError(
        f"the VAE has {channels} latent channels, but latent_format '{name}' has "
        f"{named.channels}; choose the format of the model that the prior is for: "
        f"{' or '.join([*fitting, UNKNOWN])}"
    )


def format_of_host_class(host_class: str) -> str:
    """The name of the format that ComfyUI has this class for, or UNKNOWN."""
    known = {f.host_class: name for name, f in LATENT_FORMATS.items() if f}
    return known.get(host_class, UNKNOWN)
