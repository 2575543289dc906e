"""What a workflow needs and a server does not have."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .prepared_workflow import PreparedWorkflow
from .workflow_file import title_of

# A choice that looks so is the name of a file. Others are the node's own, and a server that does
# not know them says so of the first prompt.
_FILE = re.compile(r".*\.[A-Za-z0-9]{1,12}", re.DOTALL)
_UPLOAD = "_upload"


def missing(
    workflow: PreparedWorkflow,
    object_info: Mapping[str, Any],
    has_input: Callable[[str], bool],
) -> list[str]:
    """Classes of nodes, and files of models and of the input folder, that are not there.

    Files are known by their names: two models of one name are taken for the same.

    Args:
        object_info: the server's answer of that name.
        has_input: tells whether a file, such as "sub/a.png", is in the server's input folder.

    Returns a text for each, with the node's title.
    """
    found = []
    label = (workflow.label_image.node_id, workflow.label_image.name)
    for node_id, node in workflow.prompt.items():
        title, class_type = title_of(node), node["class_type"]
        if class_type not in object_info:
            found.append(f"node {title!r}: class {class_type} is not installed")
            continue
        for name, value in node["inputs"].items():
            choices, is_upload = _choices(object_info[class_type], name)
            if choices is None or not isinstance(value, str) or (node_id, name) == label:
                continue
            there = (
                has_input(value) if is_upload else value in choices or not _FILE.fullmatch(value)
            )
            if not there:
                found.append(f"node {title!r}: {name} {value!r} is not there")
    return found


def _choices(info: Mapping[str, Any], name: str) -> tuple[list[Any] | None, bool]:
    """What an input may be, None where it is no choice; and whether it is of the input folder."""
    for group in (info.get("input") or {}).values():
        spec = group.get(name) if isinstance(group, dict) else None
        if not isinstance(spec, list) or not spec:
            continue
        more = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
        choices = more.get("options") if spec[0] == "COMBO" else spec[0]
        is_upload = any(key.endswith(_UPLOAD) and value for key, value in more.items())
        return (choices if isinstance(choices, list) else None), is_upload
    return None, False
