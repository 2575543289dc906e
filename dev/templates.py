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


def template_prompt(name: str, object_info: dict[str, Any]) -> dict[str, Any]:
    """The prompt that comfy-cli makes of it. object_info: of the server that is to run it."""
    with _own_home():
        from comfy_cli.workflow_to_api import convert_ui_to_api

    return convert_ui_to_api(load_template(name), object_info)


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
