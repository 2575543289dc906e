"""Workflow files of both formats, as the prompt that a server takes."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import PriorError, reason
from ..json_values import parsed

# Node id -> {"class_type", "inputs": {name: value or [node id, output]}, "_meta": {"title"}}.
Prompt = dict[str, dict[str, Any]]


def read_workflow(path: Path) -> dict[str, Any]:
    """The JSON object of a workflow file. Raises PriorError if it is of neither format."""
    try:
        workflow: dict[str, Any] = parsed(path.read_bytes(), constants=True)
    except ValueError as error:
        raise PriorError(f"--workflow {path} is no JSON file to be read: {error}") from error
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
        from comfy_cli.workflow_to_api import convert_ui_to_api
    except ImportError as error:
        raise PriorError(
            "the workflow is in the format of ComfyUI's Save, and comfy-cli, which converts it, "
            f'is missing ({error}); pip install ".[generate]" in the '
            "pack's folder, or export the workflow with Export (API)"
        ) from error
    # Text such as {red|blue} is drawn by chance at conversion; a run that goes on must draw alike.
    state = random.getstate()
    random.seed(0)
    try:
        with _nothing_left_out():
            converted = convert_ui_to_api(workflow, dict(object_info))
        # As it comes to the server: names of inputs that are no texts become texts.
        prompt: Prompt = parsed(json.dumps(converted), constants=True)
        return prompt
    except Exception as error:
        # A damaged workflow ends in many kinds of errors besides WorkflowConversionError.
        raise PriorError(
            f"the workflow cannot be converted: {reason(error)}; use Export (API)"
        ) from error
    finally:
        random.setstate(state)


@contextmanager
def _nothing_left_out() -> Iterator[None]:
    """ValueError for a node that comfy-cli cannot convert: it logs that and leaves the node out."""
    logger = logging.getLogger("comfy_cli.workflow_to_api")
    told: list[str] = []

    def filtered(record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return True
        told.append(record.getMessage())
        return False

    logger.addFilter(filtered)
    try:
        yield
    finally:
        logger.removeFilter(filtered)
    if told:
        raise ValueError(told[0])


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
            and isinstance(node.get("_meta", {}), dict)
            for node in workflow.values()
        )
    )
