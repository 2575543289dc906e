"""Joint Prior Noise."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from torch import Tensor

from ..prior_tools import PRIOR_MODES, Prior, PriorError, draw_prior_sample
from ..prior_tools.draw import FALLBACKS, NOISES, coverage, noise_drawn
from ..prior_tools.errors import listing
from ..prior_tools.labels.tally import LabelTally
from ..prior_tools.latent_formats import with_frames
from .host_models import keeps_warnings, notify
from .host_sampling import as_empty_latents_are
from .label_images import PRIORS_OWN, labels_for
from .palettes import palette_names, palette_state
from .prior_note import KEY, prior_note
from .schema import ADVANCED, CATEGORY, MAX_SEED, PriorType, check_choices, found_by

SEPARATE, SHARED = "separate", "shared"
BATCH_NOISE = (SEPARATE, SHARED)

# Below these fractions of a label map nothing is said: borders of resized maps are always a little
# off, and rare cells fall back by design.
_WORTH_SAYING = 0.01
_EMPTY_WORTH_SAYING = 0.1

_NO_GRAIN = (
    "the prior has no grain, so the draw is of white noise, as with noise white; grain is measured "
    "when a prior is built, and `python -m prior_tools grain` adds it to one built with label maps"
)


class JointPriorNoise(io.ComfyNode):
    """Draws the clean latent that sampling starts from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_JointPriorNoise",
            display_name="Joint Prior Noise",
            category=CATEGORY,
            **found_by("start latent", "noise prior", "label map to latent"),
            description="Draws a latent from the prior for a label map: the start for Partial "
            "Denoise KSampler, which adds the noise. It also works in stock samplers that add "
            "noise, such as KSamplerAdvanced.",
            inputs=[
                PriorType.Input("prior", tooltip="From Load SCP Prior or Build SCP Prior."),
                io.Image.Input(
                    "label_image",
                    tooltip="The label map as a color image: the same one that feeds the "
                    "ControlNet. Its size is that of the image to be made. With a prior of images "
                    "alone any image of that size will do.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(PRIOR_MODES),
                    default="joint",
                    tooltip="joint: by class and place (the paper's best). spatial: by place, the "
                    "only one for priors of images alone. categorical: by class. mixture: spatial "
                    "and categorical averaged. normal: an empty latent, the plain start to "
                    "compare with.",
                ),
                io.Combo.Input(
                    "noise",
                    options=list(NOISES),
                    default=NOISES[0],
                    tooltip="The random part of the draw. grain: as in the dataset's own images, "
                    "each region (a house, a car, the sky) gets a tone of its own; it keeps the "
                    "variety between seeds. white: each latent cell on its own (the paper's way). "
                    "A prior without grain gives white.",
                ),
                io.Float.Input(
                    "deviation",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Scales the random part of the draw, for both kinds of noise. 1 is "
                    "the strength of grain chosen by measurement, and the paper's of white; 0 "
                    "gives the mean alone.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=True,
                    tooltip="Seed of the draw. It may be the same as the sampler's: the two "
                    "streams of random numbers are independent.",
                ),
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="Latents for each label map. With several label maps the images take "
                    "them in turn, as the ControlNet does with its hints.",
                ),
                io.Combo.Input(
                    "palette",
                    options=[PRIORS_OWN, *palette_names()],
                    default=PRIORS_OWN,
                    optional=True,
                    tooltip="Which color means which class in label_image. prior: the palette "
                    "that the prior was built with. ade20k is what segmentation preprocessors "
                    "draw; ade20k_base7 is that of the published SCP-Diff ControlNet. Files in "
                    "models/scp_palettes are listed as well.",
                ),
                io.Combo.Input(
                    "fallback",
                    options=list(FALLBACKS),
                    default="spatial",
                    optional=True,
                    **ADVANCED,
                    tooltip="What mode joint uses where no image of the dataset had the class at "
                    "that place: the prior of the place (the paper's way) or of the class.",
                ),
                io.Float.Input(
                    "mix",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    **ADVANCED,
                    tooltip="In mode mixture: the share of the spatial prior.",
                ),
                io.Combo.Input(
                    "batch_noise",
                    options=list(BATCH_NOISE),
                    default=SEPARATE,
                    optional=True,
                    **ADVANCED,
                    tooltip="separate: each image of a batch has random numbers of its own. "
                    "shared: all have the same ones, also in the noise that the sampler begins "
                    "with; for frames of a sequence, or one scene in several label maps. Samplers "
                    "that add noise in each step (ancestral, SDE) still add different noise there.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    "latent",
                    display_name="latent",
                    tooltip="A clean latent, without the sampler's noise.",
                )
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        mode: str | None,
        noise: str | None = None,
        palette: str | None = None,
        fallback: str | None = None,
        batch_noise: str | None = None,
    ) -> bool | str:
        return check_choices(
            ("mode", mode, PRIOR_MODES),
            ("noise", noise, NOISES),
            ("palette", palette, [PRIORS_OWN, *palette_names()]),
            ("fallback", fallback, FALLBACKS),
            ("batch_noise", batch_noise, BATCH_NOISE),
        )

    @classmethod
    def fingerprint_inputs(cls, palette: str | None = None, **_: object) -> str:
        """Changes when the palette's file does."""
        return palette_state(palette)

    @classmethod
    @keeps_warnings
    def execute(
        cls,
        prior: Prior,
        label_image: Tensor,
        mode: str,
        noise: str,
        deviation: float,
        seed: int,
        batch_size: int,
        palette: str = PRIORS_OWN,
        fallback: str = "spatial",
        mix: float = 0.5,
        batch_noise: str = SEPARATE,
    ) -> io.NodeOutput:
        if batch_noise not in BATCH_NOISE:
            raise PriorError(
                f"batch_noise is {batch_noise!r}; expected one of {', '.join(BATCH_NOISE)}"
            )
        labels, tally = labels_for(prior, label_image, palette)
        for kind, text in _warnings(prior, labels, tally, mode):
            notify(text, kind)
        if mode != "normal" and deviation and noise_drawn(prior, noise) != noise:
            notify(_NO_GRAIN, "a prior without grain")
        labels = labels.repeat(batch_size, 1, 1)
        shared = [0] * len(labels) if batch_noise == SHARED else None
        samples = draw_prior_sample(
            prior, labels, mode, seed, deviation, fallback, mix, shared, noise
        )
        samples = with_frames(prior.metadata.latent_format, as_empty_latents_are(samples))
        latent = {"samples": samples, KEY: prior_note(prior)}
        if shared:
            # By it samplers know which images share their first noise.
            latent["batch_index"] = shared
        return io.NodeOutput(latent)


def _warnings(prior: Prior, labels: Tensor, tally: LabelTally, mode: str) -> list[tuple[str, str]]:
    """What of the label maps the prior does not know: kind and text."""
    if mode in ("spatial", "normal") or not prior.labelled:
        return []
    found, warnings = coverage(prior, labels), []
    if found.unseen > _WORTH_SAYING:
        names = listing([f"{prior.class_name(i)} ({i})" for i in found.unseen_ids], 5)
        text = (
            f"{found.unseen:.1%} of the label map is of classes that the prior has never seen "
            f"({names}); these places take the spatial prior"
        )
        warnings.append(("classes that the prior has never seen", text))
    if found.unknown > _WORTH_SAYING and tally.share(tally.unknown) <= _WORTH_SAYING:
        text = (
            f"{found.unknown:.1%} of the label map is unlabelled; these places take the spatial "
            "prior"
        )
        warnings.append(("places without a class", text))
    if mode == "joint" and found.empty > _EMPTY_WORTH_SAYING:
        text = (
            f"{found.empty:.1%} of the label map has classes at places where the dataset never "
            "had them; these places take the fallback"
        )
        warnings.append(("classes at unusual places", text))
    return warnings
