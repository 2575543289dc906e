"""Merge SCP Priors."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from ..prior_tools import Prior, merge_priors
from ..prior_tools.merge import taken_on_trust
from .host_models import keeps_warnings, notify
from .saving import check_new, save_new
from .schema import CATEGORY, PriorType, found_by, overwrite_input


class MergePriors(io.ComfyNode):
    """Unites priors of parts of a dataset, or of several datasets."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_MergePriors",
            display_name="Merge SCP Priors",
            category=CATEGORY,
            **found_by("noise prior", "combine"),
            description="Makes one prior from several, as if built from all their images, and "
            "saves it if a name is given. They must be of one VAE, grid and set of classes; their "
            "images must differ.",
            inputs=[
                PriorType.Input("prior_a", tooltip="From Load SCP Prior or Build SCP Prior."),
                PriorType.Input("prior_b", tooltip="Of other images, on the same grid."),
                PriorType.Input("prior_c", optional=True, tooltip="A third one."),
                PriorType.Input("prior_d", optional=True, tooltip="A fourth one."),
                io.String.Input(
                    "filename",
                    default="",
                    optional=True,
                    placeholder="not saved",
                    tooltip="Saved under models/scp_priors; empty: not saved.",
                ),
                overwrite_input(),
            ],
            outputs=[
                PriorType.Output(
                    "prior", display_name="prior", tooltip="The prior of all their images."
                )
            ],
            is_output_node=True,
        )

    @classmethod
    @keeps_warnings
    def execute(
        cls,
        prior_a: Prior,
        prior_b: Prior,
        prior_c: Prior | None = None,
        prior_d: Prior | None = None,
        filename: str = "",
        overwrite: bool = False,
    ) -> io.NodeOutput:
        path = check_new(filename, overwrite) if filename.strip() else None
        inputs = {"prior_a": prior_a, "prior_b": prior_b, "prior_c": prior_c, "prior_d": prior_d}
        given = {name: prior for name, prior in inputs.items() if prior is not None}
        merged = merge_priors(list(given.values()))
        if path is not None:
            save_new(merged, path, overwrite)
        for text in taken_on_trust(list(given.values()), list(given)):
            notify(text, "priors of an unknown origin")
        return io.NodeOutput(merged)
