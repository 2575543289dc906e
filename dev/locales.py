"""`python -m dev.locales` writes locales/en/nodeDefs.json from the nodes of a running server.

The English texts stand in the nodes' schemas alone. The other languages are translated by hand;
`tests/graph/test_locales.py` compares them with what the server lists.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from dev.comfyui import ensure_comfyui
from dev.server import ComfyServer
from dev.workspace import PACK_FOLDER, make_workspace

REPOSITORY = Path(__file__).resolve().parent.parent
LOCALES = REPOSITORY / "locales"
FILE_NAME = "nodeDefs.json"
# The frontend gives these a meaning in texts (placeholders, links, plurals), and dots in keys.
SPECIAL = "{}@|"


def own_nodes(object_info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The pack's nodes of a server's `/object_info`, in its order."""
    module = f"custom_nodes.{PACK_FOLDER}"
    return {name: node for name, node in object_info.items() if node.get("python_module") == module}


def inputs_of(node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of a node's visible inputs by name, in the node's order."""
    groups = [node["input"].get(group, {}) for group in ("required", "optional")]
    return {
        name: spec[1] if len(spec) > 1 else {} for group in groups for name, spec in group.items()
    }


def english(object_info: dict[str, Any]) -> dict[str, Any]:
    """The English nodeDefs.json: the schemas' own texts in the frontend's layout.

    Raises ValueError where the frontend would not show a text or find a key as it is.
    """
    texts = {name: _node_texts(node) for name, node in own_nodes(object_info).items()}
    _check(texts)
    return texts


def dump(texts: dict[str, Any]) -> str:
    """The content of a locale file."""
    return json.dumps(texts, ensure_ascii=False, indent=2) + "\n"


def path_of(language: str) -> Path:
    return LOCALES / language / FILE_NAME


def _node_texts(node: dict[str, Any]) -> dict[str, Any]:
    inputs = {
        name: _texts(options.get("display_name") or name, options.get("tooltip"))
        for name, options in inputs_of(node).items()
    }
    tips = node.get("output_tooltips") or [None] * len(node["output"])
    outputs = {
        str(index): _texts(name, tip)
        for index, (name, tip) in enumerate(zip(node["output_name"], tips, strict=True))
    }
    texts = {"display_name": node["display_name"], "description": node["description"]}
    return {**texts, "inputs": inputs, "outputs": outputs}


def _texts(name: str, tooltip: str | None) -> dict[str, str]:
    return {"name": name, "tooltip": tooltip} if tooltip else {"name": name}


def _check(texts: dict[str, Any], where: str = "") -> None:
    for key, value in texts.items():
        if "." in key:
            raise ValueError(f"{where}{key}: a dot in a name")
        if isinstance(value, dict):
            _check(value, f"{where}{key}.")
        elif found := set(value) & set(SPECIAL):
            raise ValueError(f"{where}{key}: {' '.join(sorted(found))} in the text")


def main() -> None:
    argparse.ArgumentParser(prog="python -m dev.locales", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = make_workspace(Path(folder), REPOSITORY)
        with ComfyServer(ensure_comfyui(), base) as server:
            texts = english(server.object_info())
    path = path_of("en")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump(texts), encoding="utf-8", newline="\n")
    print(f"{path.relative_to(REPOSITORY)}: {len(texts)} nodes")


if __name__ == "__main__":
    main()
