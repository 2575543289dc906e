"""The nodes of SCP-Diff: thin wrappers around `prior_tools`."""

from comfy_api.v0_0_2 import ComfyExtension, io

from .build_prior import BuildPrior
from .convert_label_map import ConvertLabelMap
from .demo_label_map import DemoLabelMap
from .host_folders import register_folders
from .host_routes import register_routes
from .import_prior import ImportPrior
from .joint_prior_noise import JointPriorNoise
from .load_demo_model import LoadDemoModel
from .load_label_map import LoadLabelMap
from .load_prior import LoadPrior
from .masks_to_label_map import MasksToLabelMap
from .merge_priors import MergePriors
from .partial_denoise_ksampler import PartialDenoiseKSampler
from .partial_denoise_scheduler import PartialDenoiseScheduler
from .preview_prior import PreviewPrior

# At import: the host never calls an extension's `on_load`.
register_folders()
register_routes()


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
            PreviewPrior,
            ImportPrior,
            MergePriors,
            LoadLabelMap,
            ConvertLabelMap,
            MasksToLabelMap,
            LoadDemoModel,
            DemoLabelMap,
        ]


async def comfy_entrypoint() -> ScpDiffExtension:
    """Called once by ComfyUI when it loads the pack."""
    return ScpDiffExtension()
