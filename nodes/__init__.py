"""The nodes of SCP-Diff: thin wrappers around `prior_tools`."""

from comfy_api.v0_0_2 import ComfyExtension, io

from .build_prior import BuildPrior
from .host_folders import register_folders
from .joint_prior_noise import JointPriorNoise
from .load_prior import LoadPrior
from .partial_denoise_ksampler import PartialDenoiseKSampler
from .partial_denoise_scheduler import PartialDenoiseScheduler

# At import: the host never calls an extension's `on_load`.
register_folders()


class ScpDiffExtension(ComfyExtension):
    """What ComfyUI asks for the pack's nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of the pack."""
        return [
            BuildPrior,
            LoadPrior,
            JointPriorNoise,
            PartialDenoiseKSampler,
            PartialDenoiseScheduler,
        ]


async def comfy_entrypoint() -> ScpDiffExtension:
    """Called once by ComfyUI when it loads the pack."""
    return ScpDiffExtension()
