"""Load SCP Demo Model."""

from __future__ import annotations

from comfy_api.v0_0_2 import io

from .host_demo_model import load_demo_model
from .host_folders import demo_model_names, demo_model_path, file_state
from .schema import CATEGORY, found_by


class LoadDemoModel(io.ComfyNode):
    """Loads the small model that comes with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SCP_LoadDemoModel",
            display_name="Load SCP Demo Model",
            category=CATEGORY,
            **found_by("example", "controlnet"),
            description="Loads a small latent diffusion model, its segmentation ControlNet and "
            "its autoencoder, all in the pack: nothing is downloaded. It makes pictures of "
            "streets like the computer-drawn ones that it was trained on, at 288x144 pixels, and "
            "takes no prompts. Guide it by applying the ControlNet to the positive conditioning "
            "only.",
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=demo_model_names(),
                    tooltip="The pack's own, and files in models/scp_demo_models that the "
                    "repository's training command wrote.",
                )
            ],
            outputs=[
                io.Model.Output(
                    "model",
                    display_name="MODEL",
                    tooltip="Predicts noise, in 1000 steps; best at 288x144 pixels.",
                ),
                io.ControlNet.Output(
                    "control_net",
                    display_name="CONTROL_NET",
                    tooltip="For label maps in the Cityscapes colors.",
                ),
                io.Vae.Output(
                    "vae",
                    display_name="VAE",
                    tooltip="4 channels, 8 pixels a cell. Priors of other VAEs do not fit it.",
                ),
                io.Conditioning.Output(
                    "positive",
                    display_name="positive",
                    tooltip="Empty. Apply the ControlNet to this one.",
                ),
                io.Conditioning.Output(
                    "negative",
                    display_name="negative",
                    tooltip="The same. Leave it without the ControlNet: then it stands for any "
                    "street, and cfg above 1 strengthens the label map.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, weights: str) -> str:
        return file_state(weights, demo_model_path)

    @classmethod
    def execute(cls, weights: str) -> io.NodeOutput:
        path = demo_model_path(weights)
        model, control_net, vae, conditioning = load_demo_model(path)
        return io.NodeOutput(model, control_net, vae, conditioning, conditioning)
