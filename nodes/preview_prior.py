"""Preview SCP Prior."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.v0_0_2 import io, ui
from torch import Tensor

from ..prior_tools import PRIOR_MODES, Prior, draw_prior_sample
from ..prior_tools.picture import describe_prior, latents_as_picture, paint_labels
from .host_models import between_nodes, keeps_warnings, vae_decode
from .label_images import PRIORS_OWN, labels_for
from .palettes import palette_names, palette_state
from .schema import ADVANCED, CATEGORY, MAX_SEED, PriorType, check_choices, found_by


class PreviewPrior(io.ComfyNode):
    """Shows what is in a prior, and what it makes of a label map."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_PreviewPrior",
            display_name="Preview SCP Prior",
            category=CATEGORY,
            **found_by("noise prior", "show"),
            description="Shows a prior: mean image, classes and where they were seen. With a label "
            "map also that map as the prior understands it, and the start that is drawn for it.",
            inputs=[
                PriorType.Input("prior", tooltip="From Load SCP Prior or Build SCP Prior."),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Decodes mean and draw. Without it their first latent channels are "
                    "shown as colors.",
                ),
                io.Image.Input(
                    "label_image",
                    optional=True,
                    tooltip="A label map. Where it has no class it is hatched in white, where it "
                    "has a class that the prior never saw, in red.",
                ),
                io.Combo.Input(
                    "mode",
                    options=[mode for mode in PRIOR_MODES if mode != "normal"],
                    default="joint",
                    optional=True,
                    tooltip="Mode of the draw, as in Joint Prior Noise. A prior of images alone is "
                    "drawn as spatial.",
                ),
                io.Float.Input(
                    "deviation",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    optional=True,
                    **ADVANCED,
                    tooltip="Scales the random part of the draw; 0 shows the mean alone. Its noise "
                    "is grain, as in Joint Prior Noise, or white if the prior has no grain.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=False,
                    optional=True,
                    **ADVANCED,
                    tooltip="Seed of the draw.",
                ),
                io.Combo.Input(
                    "palette",
                    options=[PRIORS_OWN, *palette_names()],
                    default=PRIORS_OWN,
                    optional=True,
                    tooltip="Which color means which class in label_image.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "overview", display_name="overview", tooltip="Maps and table of the prior."
                ),
                io.Image.Output(
                    "mean", display_name="mean", tooltip="The mean of all images, place by place."
                ),
                io.Image.Output(
                    "labels",
                    display_name="labels",
                    tooltip="The label map on latent cells; the most frequent classes without one.",
                ),
                io.Image.Output(
                    "draw",
                    display_name="draw",
                    tooltip="The start drawn for the label map, before noise is added.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, mode: str | None = None, palette: str | None = None) -> bool | str:
        return check_choices(
            ("mode", mode, PRIOR_MODES), ("palette", palette, [PRIORS_OWN, *palette_names()])
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
        vae: Any = None,
        label_image: Tensor | None = None,
        mode: str = "joint",
        deviation: float = 1.0,
        seed: int = 0,
        palette: str = PRIORS_OWN,
    ) -> io.NodeOutput:
        def decoded(latents: Tensor) -> Tensor:
            if vae is None:
                return _enlarged(latents_as_picture(latents), prior)
            return vae_decode(vae, latents).cpu()

        mean = decoded(prior.spatial_mean[None])
        if label_image is None:
            labels = prior.most_frequent_classes()[None]
        else:
            labels, _ = labels_for(prior, label_image, palette)
        # Of images alone there is no other draw to show.
        mode = mode if prior.labelled else "spatial"
        drawn = decoded(draw_prior_sample(prior, labels, mode, seed, deviation))
        title = prior.metadata.dataset_name
        overview = describe_prior(prior, mean[0] if vae is not None else None, title)[None]
        painted = _enlarged(paint_labels(prior, labels), prior)
        pictures = [between_nodes(picture) for picture in (overview, mean, painted, drawn)]
        shown = [entry for p in pictures for entry in ui.PreviewImage(p, cls=cls).values]
        return io.NodeOutput(*pictures, ui={"images": shown})


def _enlarged(cells: Tensor, prior: Prior) -> Tensor:
    """[N, h, w, 3] with each cell as a square of its size in pixels."""
    factor = prior.metadata.downscale_factor
    return torch.repeat_interleave(torch.repeat_interleave(cells, factor, 1), factor, 2)
