"""The latent formats that a prior can be of: what is known of each, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from .errors import PriorError


@dataclass(frozen=True)
class LatentFormat:
    """The latents of a VAE, in raw VAE units, and so of all models that were trained on them.

    Attributes:
        host_classes: ComfyUI's classes of that format. Several where models share one VAE and
            differ only in how they scale what it gives.
        channels: C.
        dimensions: 2 of a picture's latent, 3 of a clip's; a picture is then a clip of one frame.
        downscale_factor: pixels per latent cell, as the VAE has it.
        scale: what the published toolkit's latents were multiplied by, None where it has none.
    """

    host_classes: tuple[str, ...]
    channels: int
    dimensions: int = 2
    downscale_factor: int = 8
    scale: float | None = None


UNKNOWN, AUTO = "unknown", "auto"

LATENT_FORMATS: Mapping[str, LatentFormat | None] = {
    # Stable Diffusion 2 has the VAE of 1.x, fine-tuned on the decoder's side.
    "sd15": LatentFormat(("SD15",), 4, scale=0.18215),
    # Playground 2.5 has SDXL's VAE and scales its latents by statistics of its own.
    "sdxl": LatentFormat(("SDXL", "SDXL_Playground_2_5"), 4, scale=0.13025),
    "sd3": LatentFormat(("SD3",), 16),
    # Also Chroma, Lumina 2, HiDream I1 and Z-Image.
    "flux": LatentFormat(("Flux",), 16),
    # Also Lens, Ideogram 4 and ERNIE-Image.
    "flux2": LatentFormat(("Flux2",), 128, 2, 16),
    # Also Qwen-Image, Anima, Krea 2, JoyImage and Cosmos Predict 2.
    "wan21": LatentFormat(("Wan21",), 16, 3, 8),
    "wan22": LatentFormat(("Wan22",), 48, 3, 16),
    "qwen_image21": LatentFormat(("QwenImage21",), 64, 2, 16),
    "hunyuan_image21": LatentFormat(("HunyuanImage21",), 64, 2, 32),
    # No class: its model takes a latent only beside plain noise, so it starts from no prior. Its
    # VAE has the shape of HunyuanVideo 1.5's.
    "hunyuan_image21_refiner": LatentFormat((), 32, 3, 16),
    "hunyuan_video": LatentFormat(("HunyuanVideo",), 16, 3, 8),
    "hunyuan_video15": LatentFormat(("HunyuanVideo15",), 32, 3, 16),
    "ltxv": LatentFormat(("LTXV",), 128, 3, 32),
    "ltxav": LatentFormat(("LTXAV",), 128, 3, 32),
    "mochi": LatentFormat(("Mochi",), 12, 3, 8),
    "cosmos": LatentFormat(("Cosmos1CV8x8x8",), 16, 3, 8),
    # The two classes differ in scale alone.
    "cogvideox": LatentFormat(("CogVideoX", "CogVideoX1_5"), 16, 3, 8),
    "seedvr2": LatentFormat(("SeedVR2",), 16, 3, 8),
    # Its model makes pictures and sound of one latent of both: see `_WITH_SOUND`.
    "minimax_h3": LatentFormat(("MiniMaxH3Video",), 24, 3, 16),
    "sd_x4": LatentFormat(("SD_X4",), 4, 2, 4),
    "stable_cascade_b": LatentFormat(("SC_B",), 4, 2, 4),
    "stable_cascade_c": LatentFormat(("SC_Prior",), 16, 2, 32),
    # Pixels themselves, -1 to 1: one and the same "VAE" for all.
    "pixel": LatentFormat(
        ("ChromaRadiance", "ZImagePixelSpace", "HiDreamO1Pixel", "PixelDiTPixel"), 3, 2, 1
    ),
    UNKNOWN: None,
}
# What can be asked for where a VAE is at hand.
CHOICES = (AUTO, *LATENT_FORMATS)
SCALES = {name: f.scale for name, f in LATENT_FORMATS.items() if f and f.scale is not None}

# Of sound and solids, though their numbers of dimensions are those of a picture.
_NO_PICTURES = frozenset(
    {"ACEAudio", "TripoSplat", "Trellis2", "Trellis2SLAT", "Trellis2ShapeSLAT", "Trellis2TexSLAT"}
)
# Of clips with sound whose models cannot do without the sound, as LTXAV's can.
_WITH_SOUND = frozenset({"MiniMaxH3AV"})


@dataclass(frozen=True)
class VaeLatents:
    """What a VAE says of its latents.

    Attributes:
        channels: C.
        dimensions: 1 for sound, 2 for pictures, 3 for clips.
        downscale_factor: pixels per latent cell.
    """

    channels: int
    dimensions: int
    downscale_factor: int


@dataclass(frozen=True)
class ModelLatents:
    """What a model of the host says of its latents.

    Attributes:
        host_class: the host's class of its latent format.
        channels: C.
        dimensions: 1 for sound, 2 for pictures, 3 for clips.
        downscale_factor: pixels per latent cell, None where the host does not say.
    """

    host_class: str
    channels: int
    dimensions: int
    downscale_factor: int | None = None


def choose_format(choice: str, vae: VaeLatents, what: str = "latent_format") -> str:
    """The name of a VAE's latent format: the one chosen, or with AUTO the only one it can be.

    AUTO gives UNKNOWN where no format of the table is of that shape. PriorError where several are,
    where the one chosen is not, and for a VAE of sound; `what` it calls the choice.
    """
    if vae.dimensions not in (2, 3):
        raise PriorError(
            f"the VAE's latents have {vae.dimensions} dimensions; expected the VAE of a model of "
            "pictures or clips, not of sound or solids"
        )
    fitting = [name for name, found in LATENT_FORMATS.items() if found and _shape(found) == vae]
    if choice == AUTO:
        if len(fitting) > 1:
            raise PriorError(
                f"the VAE has {vae.channels} latent channels and {vae.downscale_factor} pixels a "
                f"latent cell, so it may be of {_alternatives(fitting)}; set {what} to that "
                "of the model that the prior is for"
            )
        return fitting[0] if fitting else UNKNOWN
    named = LATENT_FORMATS[choice]
    if named is None:
        return choice
    for ours, theirs, unit in (
        (vae.channels, named.channels, " latent channels"),
        (vae.dimensions, named.dimensions, "-dimensional latents"),
        (vae.downscale_factor, named.downscale_factor, " pixels a latent cell"),
    ):
        if ours != theirs:
            raise PriorError(
                f"the VAE has {ours}{unit}, but {what} '{choice}' has {theirs}; choose the "
                f"format of the model that the prior is for: {_alternatives([*fitting, UNKNOWN])}"
            )
    return choice


def with_frames(name: str, latents: Tensor) -> Tensor:
    """Latents [N, C, h, w] as a VAE of the format `name` takes them: of clips, [N, C, 1, h, w]."""
    named = LATENT_FORMATS.get(name)
    return latents if named is None or named.dimensions == 2 else latents.unsqueeze(2)


def check_channels(name: str, channels: int) -> None:
    """Raise PriorError if latents of so many channels are not of the format `name`."""
    if named := LATENT_FORMATS.get(name):
        choose_format(name, replace(_shape(named), channels=channels))


def check_shape(name: str, channels: int, downscale_factor: int) -> None:
    """As `check_channels`, and of so many pixels per latent cell."""
    if named := LATENT_FORMATS.get(name):
        choose_format(name, VaeLatents(channels, named.dimensions, downscale_factor))


def check_model(
    latent_format: str, channels: int, downscale_factor: int, model: ModelLatents
) -> str | None:
    """Compare a prior's format, channels and pixels per cell with the model that samples from it.

    Returns a warning where what is known does not decide it, None where they belong together.
    Raises PriorError where they do not.
    """
    build = "load a prior that was built with this model's VAE"
    host_class = model.host_class
    if model.dimensions not in (2, 3) or host_class in _NO_PICTURES:
        raise PriorError(f"the model ({host_class}) is not one of pictures, but the prior is")
    if host_class in _WITH_SOUND:
        raise PriorError(
            f"the model ({host_class}) samples pictures and sound from one latent of both, and a "
            "prior is of pictures alone; take a model without sound"
        )
    if channels != model.channels:
        raise PriorError(
            f"the prior has {channels} latent channels and the model ({host_class}) "
            f"{model.channels}; {build}"
        )
    theirs = format_of_host_class(host_class)
    ours, known = LATENT_FORMATS.get(latent_format), LATENT_FORMATS[theirs]
    # Of a format that is known the table: the host's figure need not be the VAE's.
    factor = known.downscale_factor if known else model.downscale_factor
    if factor not in (None, downscale_factor):
        raise PriorError(
            f"the prior has {downscale_factor} pixels a latent cell and the model ({host_class}) "
            f"{factor}; {build}"
        )
    differ = ours is not None and (
        latent_format != theirs if known else ours.dimensions != model.dimensions
    )
    if differ:
        raise PriorError(
            f"the prior's latent format is {latent_format} and the model's is "
            f"{theirs if known else host_class}; {build}"
        )
    if ours is None or known is None:
        return (
            f"cannot tell whether the prior fits the model: the prior's latent format is "
            f"{latent_format}, the model's is {host_class}"
        )
    return None


def format_of_host_class(host_class: str) -> str:
    """The name of the format that ComfyUI has this class for, or UNKNOWN."""
    known = {c: name for name, f in LATENT_FORMATS.items() if f for c in f.host_classes}
    return known.get(host_class, UNKNOWN)


def _shape(found: LatentFormat) -> VaeLatents:
    return VaeLatents(found.channels, found.dimensions, found.downscale_factor)


def _alternatives(names: list[str]) -> str:
    """Names as in a sentence: "a, b or c"."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
