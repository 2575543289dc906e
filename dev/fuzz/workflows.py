"""Workflow files of both formats, on their way to the prompts of a run."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from prior_tools.generating.manifest import changes, describe_run
from prior_tools.generating.prepared_workflow import prepare_workflow
from prior_tools.generating.workflow_file import as_prompt, read_workflow

from .mutation import changed, flipped, nested, torn

EXAMPLE = Path(__file__).parents[2] / "example_workflows" / "SCP-Diff demo (no downloads).json"
OBJECT_INFO: dict[str, Any] = {
    "KSampler": {"input": {"required": {"steps": ["INT", {}], "cfg": ["FLOAT", {}]}}},
    "LoadImage": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}},
    "PrimitiveInt": {"input": {"required": {"value": ["INT", {}]}}},
    "SaveImage": {"input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}}},
}
PROMPT: dict[str, Any] = {
    "1": {
        "class_type": "LoadImage",
        "inputs": {"image": "old.png"},
        "_meta": {"title": "Label map"},
    },
    "2": {"class_type": "PrimitiveInt", "inputs": {"value": 5}, "_meta": {"title": "Seed"}},
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": ["2", 0], "steps": 20, "cfg": 8, "hint": ["1", 0]},
    },
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
}


def make(seed: int) -> bytes:
    """A damaged workflow file."""
    rng = random.Random(seed)
    if rng.random() < 0.05:
        return nested(rng).encode()
    workflow = changed(rng.choice((PROMPT, PROMPT, _saved(), _small())), rng)
    data = json.dumps(workflow).encode()
    return rng.choice((lambda data, rng: data,) * 3 + (flipped, torn))(data, rng)


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """It is read, converted, set, and compared with an earlier run."""
    path = folder / "workflow.json"
    path.write_bytes(data)

    def use() -> None:
        prompt = as_prompt(read_workflow(path), OBJECT_INFO)
        made = prepare_workflow(prompt, "Label map", "Seed", None, ["KSampler.cfg=7"], OBJECT_INFO)
        json.dumps(made.filled("a.png", 7)).encode()
        changes(describe_run(_prepared(), (), 0, 1), describe_run(made, (), 0, 1))

    yield use


@cache
def _prepared() -> Any:
    return prepare_workflow(PROMPT, "Label map", "Seed", None, [], OBJECT_INFO)


@cache
def _saved() -> dict[str, Any]:
    """What ComfyUI's Save wrote."""
    found: dict[str, Any] = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    return found


@cache
def _small() -> dict[str, Any]:
    """The prompt, as Save would write it, with a node in a subgraph."""

    def node(number: int, kind: str, title: str, values: list, inputs: list, outputs: list) -> dict:
        return {
            "id": number,
            "type": kind,
            "title": title,
            "mode": 0,
            "widgets_values": values,
            "inputs": [{"name": n, "type": "*", "link": link} for n, link in inputs],
            "outputs": [{"name": "o", "type": "*", "links": outputs}],
        }

    inner = node(7, "KSampler", "KSampler", [5, 20, 8], [("hint", 1)], [2])
    return {
        "nodes": [
            node(1, "LoadImage", "Label map", ["old.png"], [], [1]),
            node(2, "PrimitiveInt", "Seed", [5], [], []),
            node(3, "0b7e1e8e-0000-4000-8000-000000000001", "Sub", [], [("hint", 1)], [2]),
            node(4, "SaveImage", "SaveImage", ["x"], [("images", 2)], []),
        ],
        "links": [[1, 1, 0, 3, 0, "*"], [2, 3, 0, 4, 0, "*"]],
        "definitions": {
            "subgraphs": [
                {
                    "id": "0b7e1e8e-0000-4000-8000-000000000001",
                    "name": "Sub",
                    "inputNode": {"id": -10},
                    "outputNode": {"id": -20},
                    "inputs": [{"id": "i", "name": "hint", "type": "*", "linkIds": [1]}],
                    "outputs": [{"id": "o", "name": "o", "type": "*", "linkIds": [2]}],
                    "nodes": [inner],
                    "links": [
                        {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 7,
                         "target_slot": 0, "type": "*"},
                        {"id": 2, "origin_id": 7, "origin_slot": 0, "target_id": -20,
                         "target_slot": 0, "type": "*"},
                    ],
                }
            ]
        },
    }  # fmt: skip
