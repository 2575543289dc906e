"""Masks to SCP Label Map."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from torch import Tensor

from ..prior_tools.labels.masks import label_image_of_masks, mask_findings
from .host_models import between_nodes, keeps_warnings, notify
from .palettes import palette_named, palette_names, palette_state
from .schema import CATEGORY, check_choices, found_by


class MasksToLabelMap(io.ComfyNode):
    """Paints masks, each of one class, as one label image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_MasksToLabelMap",
            display_name="Masks to SCP Label Map",
            category=CATEGORY,
            **found_by("combine masks", "palette", "ade20k", "cityscapes"),
            description="Paints masks, each of one class, on top of each other as a label map in "
            "a palette's colors, for any segmentation ControlNet and for Joint Prior Noise.",
            inputs=[
                io.Mask.Input(
                    "masks",
                    tooltip="A batch of masks, one for each class or thing. Later ones cover "
                    "earlier ones. A pixel is inside where the mask is 0.5 or more.",
                ),
                io.String.Input(
                    "classes",
                    default="",
                    multiline=True,
                    placeholder="road\ncar\n# lines like this name no class",
                    tooltip="The classes of the masks in their order, one a line, by name or id. "
                    "none is no class.",
                ),
                io.Combo.Input(
                    "palette",
                    options=palette_names(),
                    default="ade20k",
                    tooltip="The palette that the ControlNet was trained with. Most take ade20k.",
                ),
                io.String.Input(
                    "background",
                    default="none",
                    optional=True,
                    tooltip="The class of pixels in no mask, by name or id. none leaves them "
                    "unlabelled.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "label_image",
                    display_name="label_image",
                    tooltip="One label map, of the size of the masks.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, palette: str | None) -> bool | str:
        return check_choices(("palette", palette, palette_names()))

    @classmethod
    def fingerprint_inputs(cls, palette: str | None = None, **_: object) -> str:
        """Changes when the palette's file does."""
        return palette_state(palette)

    @classmethod
    @keeps_warnings
    def execute(
        cls, masks: Tensor, classes: str, palette: str, background: str = "none"
    ) -> io.NodeOutput:
        painted_in = palette_named(palette)
        image, layers = label_image_of_masks(masks, classes, painted_in, background)
        for kind, text in mask_findings(layers, painted_in):
            notify(text, kind)
        return io.NodeOutput(between_nodes(image))
