"""Workflow files of both formats, as the prompt that a server takes."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import PriorError

# Node id -> {"class_type", "inputs": {name: value or [node id, output]}, "_meta": {"title"}}.
Prompt = dict[str, dict[str, Any]]


def read_workflow(path: Path) -> dict[str, Any]:
    """The JSON object of a workflow file. Raises PriorError if it is of neither format."""
    try:
        workflow: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PriorError(f"--workflow {path} is no JSON file: {error}") from error
    if not (is_ui_format(workflow) or _is_api_format(workflow)):
        raise PriorError(
            f"--workflow {path} is no ComfyUI workflow; save one with Save or Export (API)"
        )
    return workflow


def is_ui_format(workflow: Any) -> bool:
    """Whether it is what ComfyUI's Save writes, rather than Export (API)."""
    return isinstance(workflow, dict) and all(
        isinstance(workflow.get(key), list) for key in ("nodes", "links")
    )


def as_prompt(workflow: dict[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """A workflow as a prompt: of API format as it is, of UI format converted.

    object_info: the server's answer of that name.

    Raises PriorError if comfy-cli, which converts, is missing or cannot.
    """
    if not is_ui_format(workflow):
        return workflow
    try:
        from comfy_cli.workflow_to_api import WorkflowConversionError, convert_ui_to_api
    except ImportError as error:
        raise PriorError(
            "the workflow is in the format of ComfyUI's Save, and comfy-cli, which converts it, "
            f"is missing ({error}); pip install 'scp-diff[generate]', or export the workflow with "
            "Export (API)"
        ) from error
    # Text such as {red|blue} is drawn by chance at conversion; a run that goes on must draw alike.
    state = random.getstate()
    random.seed(0)
    try:
        prompt: Prompt = convert_ui_to_api(workflow, dict(object_info))
        return prompt
    except WorkflowConversionError as error:
        raise PriorError(f"the workflow cannot be converted: {error}; use Export (API)") from error
    finally:
        random.setstate(state)


def title_of(node: Mapping[str, Any]) -> str:
    """The title of a node; without one that of its class."""
    return str((node.get("_meta") or {}).get("title") or node["class_type"])


def node_of(prompt: Prompt, node_id: str) -> dict[str, Any] | None:
    """The node of an id that a server tells; of "7.0.0.1" that which was expanded to it, "7"."""
    return prompt.get(node_id) or prompt.get(node_id.split(".")[0])


def _is_api_format(workflow: Any) -> bool:
    return (
        isinstance(workflow, dict)
        and bool(workflow)
        and all(
            isinstance(node, dict)
            and isinstance(node.get("class_type"), str)
            and isinstance(node.get("inputs"), dict)
            for node in workflow.values()
        )
    )
