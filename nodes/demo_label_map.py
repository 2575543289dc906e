"""SCP Demo Label Map."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.v0_0_2 import io, ui
from PIL import Image

from ..prior_tools import PriorError
from .host_models import between_nodes
from .pack_files import DEMO_LABEL_MAPS, demo_label_maps
from .schema import CATEGORY, found_by


class DemoLabelMap(io.ComfyNode):
    """One of the label maps that come with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_DemoLabelMap",
            display_name="SCP Demo Label Map",
            category=CATEGORY,
            **found_by("example", "street"),
            description="A label map in the Cityscapes colors for Load SCP Demo Model, of a "
            "street that the model was not trained on. For your own, take Load SCP Label Map.",
            inputs=[
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=max(0, len(demo_label_maps()) - 1),
                    tooltip="Which one of those in the pack.",
                )
            ],
            outputs=[
                io.Image.Output(
                    "label_image", display_name="label_image", tooltip="288x144 pixels."
                )
            ],
            # Else the host shows no picture where it remembers the node's output.
            is_output_node=True,
        )

    @classmethod
    def execute(cls, index: int) -> io.NodeOutput:
        files = demo_label_maps()
        if not 0 <= index < len(files):
            raise PriorError(
                f"there is no label map {index}: the pack's folder {DEMO_LABEL_MAPS.name} holds "
                f"{len(files)}"
            )
        with Image.open(files[index]) as file:
            pixels = np.asarray(file.convert("RGB"), np.float32) / 255
        image = between_nodes(torch.from_numpy(pixels)[None])
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))
