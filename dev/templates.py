"""The example workflows: as files, and as prompts for a server."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# The host's modes of a node; what is set to never is muted.
ALWAYS, NEVER = 0, 2
FOLDER = Path(__file__).resolve().parent.parent / "example_workflows"


def template_names() -> list[str]:
    """As the template browser shows them."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_template(name: str) -> dict[str, Any]:
    """The workflow as the browser reads it."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def thumbnail_of(name: str) -> Path:
    """Its picture for the template browser, which shows it as a square."""
    return FOLDER / f"{name}.jpg"


def template_prompt(name: str, object_info: dict[str, Any], only: str = "") -> dict[str, Any]:
    """The prompt that comfy-cli makes of it. object_info: of the server that is to run it.

    only: the title of one of the groups that are run in turns; the others of them are muted.
    """
    with _own_home():
        from comfy_cli.workflow_to_api import convert_ui_to_api

    workflow = load_template(name)
    if only:
        _take_turn(workflow, only)
    return convert_ui_to_api(workflow, object_info)


def _take_turn(workflow: dict[str, Any], only: str) -> None:
    """As "Set Group Nodes to Always" and "to Never" do it. Groups of turns begin with a number."""
    for group in workflow["groups"]:
        if not group["title"][0].isdigit():
            continue
        left, top, width, height = group["bounding"]
        for node in workflow["nodes"]:
            x, y = node["pos"]
            if left <= x < left + width and top <= y < top + height:
                node["mode"] = ALWAYS if group["title"] == only else NEVER


@contextmanager
def _own_home() -> Iterator[None]:
    """comfy-cli makes a folder for its settings when it is imported."""
    before = {name: os.environ.get(name) for name in ("HOME", "DO_NOT_TRACK")}
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, DO_NOT_TRACK="1")
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
