"""The other half of `dev.host`: runs as a script of its own, never imported.

    python host_child.py COMFYUI_FOLDER BASE_DIRECTORY [PACK_FOLDER]

Reads tasks from standard input, one JSON object a line: {"script", "args", "answer"}.
"""

import importlib
import importlib.util
import json
import runpy
import sys
import traceback
from pathlib import Path
from types import ModuleType


def import_pack(folder: str) -> ModuleType:
    """As ComfyUI's `nodes.load_custom_node` does it, the module's odd name included."""
    name = folder.replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, str(Path(folder) / "__init__.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def answer(task: dict, given: dict) -> dict:
    import torch

    try:
        with torch.inference_mode():
            scope = runpy.run_path(task["script"], init_globals={**given, "args": task["args"]})
        if "result" not in scope:
            raise NameError("the snippet did not set `result`")
        json.dumps(scope["result"])
        return {"result": scope["result"]}
    # A snippet that calls sys.exit ends itself, not us.
    except (Exception, SystemExit):
        return {"error": traceback.format_exc()}


def main() -> None:
    comfy_dir, base, *packs = sys.argv[1:]
    # Our own folder is first on the path now, and must not be there at all.
    sys.path[0] = comfy_dir
    # `folder_paths` makes folders where it is told that the models are.
    sys.argv = ["main.py", "--cpu", "--base-directory", base]
    import comfy.options

    comfy.options.enable_args_parsing()
    # In main.py's order: `nodes` puts `comfy/` on the path, where there is another `utils`.
    import utils.extra_config  # noqa: F401, I001
    import comfy.utils
    import execution  # noqa: F401
    import server  # noqa: F401

    pack = import_pack(packs[0]) if packs else None

    def pack_module(name: str) -> ModuleType:
        return importlib.import_module("." + name, pack.__name__)

    for line in sys.stdin:
        task = json.loads(line)
        target = Path(task["answer"])
        draft = target.with_suffix(".new")
        said = answer(task, {"pack": pack, "pack_module": pack_module})
        draft.write_text(json.dumps(said), encoding="utf-8")
        # The reader must not see half an answer.
        draft.replace(target)


if __name__ == "__main__":
    main()
