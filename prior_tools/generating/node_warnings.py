"""What nodes of this pack warn of, on its way from the server into the record of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .titled_inputs import is_link
from .workflow_file import Prompt, node_of, title_of

# In what a node shows, which the server keeps in its history: a list of [kind, text].
UI_KEY = "scp_warnings"

OWN_CLASSES = "SCP_"
_MOST_OF_A_TEXT = 1000


@dataclass(frozen=True)
class NodeWarning:
    """A warning of one image.

    Attributes:
        node: title of the node.
        kind: what the warnings of several images have in common.
        text: with the image's own figures.
    """

    node: str
    kind: str
    text: str


def warnings_of(prompt: Prompt, entry: Mapping[str, Any]) -> list[NodeWarning]:
    """The warnings in a history entry; what is none is left out.

    prompt: for the titles of nodes.
    """
    found = []
    for node_id, shown in (entry.get("outputs") or {}).items():
        warned = shown.get(UI_KEY) if isinstance(shown, dict) else None
        node = node_of(prompt, node_id)
        title = title_of(node) if node else node_id
        for item in warned if isinstance(warned, list) else []:
            if isinstance(item, list) and len(item) == 2 and all(isinstance(x, str) for x in item):
                found.append(NodeWarning(title, *(text[:_MOST_OF_A_TEXT] for text in item)))
    return list(dict.fromkeys(found))


def warning_nodes(prompt: Prompt, label_node: str) -> tuple[str, ...]:
    """Ids of this pack's nodes that see the label map, so that they may warn of each."""
    reached = {label_node}
    growing = True
    while growing:
        more = {
            node_id
            for node_id, node in prompt.items()
            if any(is_link(v) and v[0] in reached for v in node["inputs"].values())
        }
        growing = not more <= reached
        reached |= more
    own = (i for i in prompt if prompt[i]["class_type"].startswith(OWN_CLASSES))
    return tuple(node_id for node_id in own if node_id in reached)


class WarningCounts:
    """Of how many images each node warned, by kind, with one of them as an example."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, file: str, warnings: Iterable[NodeWarning]) -> None:
        """Count those of an image that is new."""
        seen = set()
        for warning in warnings:
            key = (warning.node, warning.kind)
            if key not in seen:
                seen.add(key)
                first = {"file": file, "text": warning.text}
                count = self._counts.setdefault(key, {"images": 0, "example": first})
                count["images"] += 1

    def summary(self) -> list[dict[str, Any]]:
        """The counts as JSON data, the most frequent first."""
        # Copied at once: threads may count on.
        counts = list(self._counts.items())
        found = [{"node": n, "kind": k, **count} for (n, k), count in counts]
        return sorted(found, key=lambda count: -count["images"])
