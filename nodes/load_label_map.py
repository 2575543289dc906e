"""Load SCP Label Map."""

from __future__ import annotations

import hashlib

import torch
from comfy_api.v0_0_2 import io, ui

from ..prior_tools import PriorError
from ..prior_tools.datasets.label_files import read_label_frames
from ..prior_tools.labels.label_picture import describe_labels, without_class
from ..prior_tools.labels.reading import LabelRules
from .host_folders import input_picture, input_pictures
from .host_models import between_nodes, keeps_warnings
from .label_images import tell_labels
from .palettes import palette_named, palette_names, palette_state
from .schema import CATEGORY, check_choices, found_by

# What names ignored ids otherwise than a built-in palette does.
_OPTION = "a palette file in models/scp_palettes"


class LoadLabelMap(io.ComfyNode):
    """Reads a label file as Build SCP Prior does."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_LoadLabelMap",
            display_name="Load SCP Label Map",
            category=CATEGORY,
            **found_by("load image", "palette", "ids"),
            description="Loads a label file, whether it holds colors or class ids, and paints it "
            "in the palette's colors, for Joint Prior Noise and for any ControlNet. Load Image of "
            "newer ComfyUI changes ids above 128 and files of 16 bits.",
            inputs=[
                io.Combo.Input(
                    "image",
                    options=input_pictures(),
                    upload=io.UploadType.image,
                    tooltip="A label map: in the palette's colors, or with class ids as pixel "
                    "values, such as datasets and annotation tools write. No JPEG.",
                ),
                io.Combo.Input(
                    "palette",
                    options=palette_names(),
                    default="ade20k",
                    tooltip="The file's classes and their colors: built-in, or a file in "
                    "models/scp_palettes. grey_ids takes ids up to 255 and gives them as grey "
                    "levels.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "label_image",
                    display_name="label_image",
                    tooltip="In the palette's colors, for the ControlNet and Joint Prior Noise.",
                ),
                io.Mask.Output(
                    "unknown",
                    display_name="unknown",
                    tooltip="1 where there is no class: unknown colors, what is unlabelled, ids "
                    "that the palette ignores.",
                ),
            ],
            # Else the host shows no picture where it remembers the node's output.
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, image: str | None, palette: str | None) -> bool | str:
        if image is not None:
            try:
                input_picture(image)
            except PriorError as error:
                return str(error)
        return check_choices(("palette", palette, palette_names()))

    @classmethod
    def fingerprint_inputs(cls, image: str | None = None, palette: str | None = None) -> str:
        """Changes when the content of the file does, or the palette's file."""
        try:
            content = hashlib.sha256(input_picture(image or "").read_bytes()).hexdigest()
        except (PriorError, OSError):
            content = "missing"
        return f"{content} {palette_state(palette)}"

    @classmethod
    @keeps_warnings
    def execute(cls, image: str, palette: str) -> io.NodeOutput:
        path, colors = input_picture(image), palette_named(palette)
        reading = read_label_frames(path, LabelRules(colors, colors.ignore_ids))
        tell_labels(reading.tally, colors, colors.ignore_ids, _OPTION)
        painted = colors.paint(reading.ids).to(torch.float32) / 255
        unknown = without_class(reading.ids, colors)
        shown = describe_labels(reading, colors, path.name)
        return io.NodeOutput(
            between_nodes(painted),
            between_nodes(unknown.to(torch.float32)),
            ui=ui.PreviewImage(shown[None], cls=cls),
        )
