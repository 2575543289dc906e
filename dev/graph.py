"""Builds ComfyUI prompts (the API format) in Python."""

from __future__ import annotations

from typing import Any


class Node:
    """One node of a Graph; `out(i)` is a link to its i-th output."""

    def __init__(self, node_id: str) -> None:
        self.id = node_id

    def out(self, index: int = 0) -> list[Any]:
        """The link that an input of another node takes."""
        return [self.id, index]


class Graph:
    """A prompt under construction.

    >>> g = Graph()
    >>> ckpt = g.add("CheckpointLoaderSimple", ckpt_name="model.safetensors")
    >>> _ = g.add("CLIPTextEncode", clip=ckpt.out(1), text="a street")
    >>> g.prompt["2"]["inputs"]["clip"]
    ['1', 1]
    """

    def __init__(self) -> None:
        self.prompt: dict[str, dict[str, Any]] = {}

    def add(self, class_type: str, *, title: str | None = None, **inputs: Any) -> Node:
        """Add a node of this class; a Node given as input stands for its first output.

        For inputs whose names are not Python names use `**{"name.with.dots": value}`.
        """
        values = {key: v.out() if isinstance(v, Node) else v for key, v in inputs.items()}
        entry: dict[str, Any] = {"class_type": class_type, "inputs": values}
        if title is not None:
            entry["_meta"] = {"title": title}
        node = Node(str(len(self.prompt) + 1))
        self.prompt[node.id] = entry
        return node
