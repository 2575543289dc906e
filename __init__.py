"""SCP-Diff for ComfyUI: start a segmentation ControlNet from a dataset's own noise prior."""

from .nodes import comfy_entrypoint

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
