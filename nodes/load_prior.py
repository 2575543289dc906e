"""Load SCP Prior."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..prior_tools import load_prior
from .host_folders import file_state, prior_names, prior_path
from .schema import CATEGORY, PriorType, found_by


class LoadPrior(io.ComfyNode):
    """Reads a prior from `models/scp_priors`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_LoadPrior",
            display_name="Load SCP Prior",
            category=CATEGORY,
            **found_by("noise prior"),
            description="Loads a dataset's noise prior from models/scp_priors. Build SCP Prior "
            "makes one from a folder of images, with or without label maps.",
            inputs=[
                io.Combo.Input(
                    "prior_name",
                    options=prior_names(),
                    tooltip="A prior in models/scp_priors. Press R to refresh the list.",
                ),
            ],
            outputs=[
                PriorType.Output(
                    "prior",
                    display_name="prior",
                    tooltip="Mean and deviation of the dataset's latents per place, per class, and "
                    "per class and place; of images alone per place.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, prior_name: str) -> str:
        return file_state(prior_name, prior_path)

    @classmethod
    def execute(cls, prior_name: str) -> io.NodeOutput:
        # A missing file is told here, not when the graph is queued: there the host says nothing
        # as long as some other output of the graph can run.
        return io.NodeOutput(load_prior(prior_path(prior_name)))
