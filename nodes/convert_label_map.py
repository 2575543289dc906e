"""Convert SCP Label Map."""

from __future__ import annotations

from comfy_api.v0_0_2 import io
from torch import Tensor

from ..prior_tools.errors import listing
from ..prior_tools.labels.class_matching import (
    convert_label_image,
    described,
    parse_changes,
)
from .host_models import between_nodes, keeps_warnings, notify
from .label_images import tell_labels
from .palettes import palette_named, palette_names, palette_state
from .schema import CATEGORY, check_choices, found_by


class ConvertLabelMap(io.ComfyNode):
    """Paints a label image in the colors of another palette."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_ConvertLabelMap",
            display_name="Convert SCP Label Map",
            category=CATEGORY,
            **found_by("palette", "ade20k", "cityscapes", "coco"),
            description="Repaints a label map of one palette, or of plain ids, in another "
            "palette's colors, so that any label map can feed any segmentation ControlNet. "
            "Classes are matched by name.",
            inputs=[
                io.Image.Input("label_image", tooltip="A label map as a color image."),
                io.Combo.Input(
                    "palette_from",
                    options=palette_names(),
                    default="cityscapes",
                    tooltip="The palette that the label map was drawn in. grey_ids: its grey "
                    "values are ids.",
                ),
                io.Combo.Input(
                    "palette_to",
                    options=palette_names(),
                    default="ade20k",
                    tooltip="The palette that the ControlNet was trained with. Most take ade20k.",
                ),
                io.String.Input(
                    "changes",
                    default="",
                    multiline=True,
                    optional=True,
                    placeholder="rider = person, 17 = none",
                    tooltip="Exceptions from matching by name, such as rider = person, 17 = none: "
                    "classes by name or id, separated by commas. none makes a class unlabelled.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "converted",
                    display_name="label_image",
                    tooltip="The label map in the other palette's colors. Classes that it lacks "
                    "get its color for unlabelled pixels.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, palette_from: str | None, palette_to: str | None) -> bool | str:
        return check_choices(
            ("palette_from", palette_from, palette_names()),
            ("palette_to", palette_to, palette_names()),
        )

    @classmethod
    def fingerprint_inputs(
        cls, palette_from: str | None = None, palette_to: str | None = None, **_: object
    ) -> str:
        """Changes when a palette's file does."""
        return palette_state(palette_from, palette_to)

    @classmethod
    @keeps_warnings
    def execute(
        cls, label_image: Tensor, palette_from: str, palette_to: str, changes: str = ""
    ) -> io.NodeOutput:
        source, target = palette_named(palette_from), palette_named(palette_to)
        image, found = convert_label_image(
            label_image, source, target, parse_changes(changes, source, target)
        )
        tell_labels(found.tally, source, source.ignore_ids)
        if found.lost:
            notify(
                f"{found.lost_share:.1%} of the label map is of classes that palette "
                f"'{target.name}' does not have and is unlabelled now: "
                f"{listing([described(i, source) for i in found.lost], 8)}. "
                "Name others in changes",
                "classes that the other palette does not have",
            )
        return io.NodeOutput(between_nodes(image))
