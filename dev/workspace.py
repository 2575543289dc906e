"""A ComfyUI base directory of our own, so that ComfyUI's folder itself stays untouched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PACK_FOLDER = "ComfyUI-SCP-Diff"
MODEL_FOLDERS = (
    "checkpoints",
    "clip",
    "clip_vision",
    "configs",
    "controlnet",
    "diffusion_models",
    "embeddings",
    "loras",
    "scp_priors",
    "text_encoders",
    "unet",
    "upscale_models",
    "vae",
    "vae_approx",
)
OTHER_FOLDERS = ("custom_nodes", "input", "output", "temp", "user")


def make_workspace(base: Path, pack: Path) -> Path:
    """Fill `base` with the folders that ComfyUI's `--base-directory` expects; returns it resolved.

    The pack's folder is linked into `custom_nodes`, so that ComfyUI loads the working copy.
    May be called again on the same folder; a link to another pack is replaced.
    """
    base = Path(base).resolve()
    for name in MODEL_FOLDERS:
        (base / "models" / name).mkdir(parents=True, exist_ok=True)
    for name in OTHER_FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    _link_folder(Path(pack).resolve(), base / "custom_nodes" / PACK_FOLDER)
    return base


def link_model(base: Path, folder: str, file: Path, name: str | None = None) -> str:
    """Make `file` appear as `models/<folder>/<name>`; returns the name for the loader node.

    `name` defaults to the file's own. A name that is taken by another file is replaced.
    """
    file = Path(file).resolve()
    link = Path(base) / "models" / folder / (name or file.name)
    if link.exists() and link.samefile(file):
        return link.name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(file)
    except OSError:
        # Windows without the right to make symlinks.
        shutil.copy2(file, link)
    return link.name


def _link_folder(target: Path, link: Path) -> None:
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        if link.samefile(target):
            return
        shutil.rmtree(link)
    try:
        link.symlink_to(target, target_is_directory=True)
    except OSError:
        if os.name != "nt":
            raise
        _junction_or_copy(target, link)


def _junction_or_copy(target: Path, link: Path) -> None:
    try:
        import _winapi

        _winapi.CreateJunction(str(target), str(link))
    except OSError:
        unwanted = shutil.ignore_patterns(".git", ".venv", ".cache", "__pycache__")
        shutil.copytree(target, link, ignore=unwanted)
