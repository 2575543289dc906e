"""What a prompt came to: its images, or what went wrong in words."""

from __future__ import annotations

import io
import json
from typing import Any

from PIL import Image

from ..errors import PriorError, counted
from .comfy_client import ComfyClient, ServerRefused
from .work import GenerationStopped
from .workflow_file import Prompt, node_of, title_of


def checked_result(
    prompt: Prompt, output: str, entry: dict[str, Any], job: str, expected: int
) -> list[dict[str, Any]]:
    """The images of a history entry, as the server names them.

    Args:
        prompt: for the titles of nodes.
        output: id of the node whose images are wanted.
        entry: of a prompt that has ended.
        job: what to call the prompt.
        expected: number of images.

    Raises GenerationStopped if a node failed, the prompt was cancelled, or there are more or fewer
    images.
    """
    status = entry["status"]
    messages = dict(status.get("messages", []))
    if "execution_error" in messages:
        data = messages["execution_error"]
        name = _node_name(prompt, str(data.get("node_id")), data.get("node_type"))
        kind, text = data.get("exception_type", "error"), data.get("exception_message", "")
        raise GenerationStopped(f"{job}: {name} failed: {kind}: {text.strip()}")
    if "execution_interrupted" in messages:
        raise GenerationStopped(f"{job}: the prompt was cancelled at the server")
    if status.get("status_str") != "success":
        raise GenerationStopped(f"{job}: the prompt failed: {json.dumps(status)[:500]}")
    images: list[dict[str, Any]] = entry.get("outputs", {}).get(output, {}).get("images", [])
    if len(images) != expected:
        raise GenerationStopped(
            f"{job}: {_node_name(prompt, output)} gave "
            f"{counted(len(images), 'image')} for {counted(expected, 'label map')} of one prompt; "
            "the workflow must give one image for each: set batch_size to 1 (Joint Prior Noise "
            "takes more label maps by itself; others learn their number from Get Image Size)"
        )
    return images


def output_images(client: ComfyClient, images: list[dict[str, Any]]) -> list[bytes]:
    """The files of images as PNG data.

    Raises PriorError if one is no picture, and what `ComfyClient` raises.
    """
    return [_as_png(client.view(image)) for image in images]


def rejection(prompt: Prompt, job: str, error: ServerRefused) -> str:
    """Why the server would not take a prompt, with the titles of nodes."""
    try:
        answer = json.loads(error.body)
        reasons = []
        for node_id, found in (answer.get("node_errors") or {}).items():
            name = _node_name(prompt, node_id, found.get("class_type"))
            texts = [f"{e['message']}: {e['details']}" for e in found["errors"]]
            reasons.append(f"{name}: {', '.join(texts)}")
        reasons = reasons or [str(answer["error"]["message"])]
    except (ValueError, KeyError, TypeError, AttributeError):
        reasons = [str(error)]
    return f"{job}: the server refused the prompt: {'; '.join(reasons)}"


def _node_name(prompt: Prompt, node_id: str, class_type: str | None = None) -> str:
    """Title and class of a node, or of the node that was expanded to it."""
    node = node_of(prompt, node_id)
    if node is None:
        return f"node {node_id} ({class_type})"
    return f"node {title_of(node)!r} ({node['class_type']})"


def _as_png(data: bytes) -> bytes:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            if picture.format == "PNG":
                return data
            converted = io.BytesIO()
            picture.save(converted, format="PNG")
            return converted.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PriorError(f"the server's image cannot be read: {error}") from error
