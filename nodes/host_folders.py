"""ComfyUI's folders, as this pack uses them: where priors lie and which datasets may be read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import folder_paths

from ..prior_tools.datasets.names import path_in
from ..prior_tools.errors import PriorError
from ..prior_tools.labels.palette_files import PALETTE_SUFFIXES
from .pack_files import DEMO_MODELS, DEMO_PRIORS

PRIORS = "scp_priors"
PALETTE_FILES = "scp_palettes"
MODELS = "scp_demo_models"
DATASETS = "scp_datasets"
# The host's own, since 0.3.78 or so.
HOST_DATASETS = "datasets"
SUFFIX = ".safetensors"
# The host's own mark of a path in its output folder.
OUTPUT_MARK = "[output]"

# Bytes; what nearly all file systems take.
_MOST_OF_A_NAME = 255
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def register_folders() -> None:
    """Make the pack's folders known to ComfyUI, beside paths that the user has configured."""
    models = Path(folder_paths.models_dir)
    for name in (PRIORS, PALETTE_FILES):
        (models / name).mkdir(parents=True, exist_ok=True)
    # The user's own first: there new priors go.
    _register(PRIORS, (SUFFIX,), models / PRIORS, DEMO_PRIORS)
    _register(PALETTE_FILES, PALETTE_SUFFIXES, models / PALETTE_FILES)
    _register(MODELS, (SUFFIX,), models / MODELS, DEMO_MODELS)


def _register(name: str, endings: tuple[str, ...], *folders: Path) -> None:
    for folder in folders:
        folder_paths.add_model_folder_path(name, str(folder))
    # The host leaves the set of suffixes empty, and so would list every file.
    paths, suffixes = folder_paths.folder_names_and_paths[name]
    folder_paths.folder_names_and_paths[name] = (paths, {*suffixes, *endings})


def prior_names() -> list[str]:
    """The priors that can be loaded."""
    return list(folder_paths.get_filename_list(PRIORS))


def prior_path(name: str) -> Path:
    """The file of a prior in the list; PriorError if it is not there."""
    path = folder_paths.get_full_path(PRIORS, name)
    if path is None:
        raise _no_prior(name)
    return Path(path)


def listed_prior_path(name: str) -> Path:
    """As `prior_path`, but only for names in the list: for what a page in the browser asks."""
    if name.replace("\\", "/") not in {known.replace("\\", "/") for known in prior_names()}:
        raise _no_prior(name)
    return prior_path(name)


def _no_prior(name: str) -> PriorError:
    return PriorError(
        f"there is no prior {name!r}; expected a file in {' or '.join(_shown(PRIORS))}, such as "
        "Build SCP Prior writes"
    )


def palette_file_names() -> list[str]:
    """The palette files that can be chosen."""
    return list(folder_paths.get_filename_list(PALETTE_FILES))


def palette_path(name: str) -> Path:
    """A palette file in the list; PriorError if it is not there."""
    path = folder_paths.get_full_path(PALETTE_FILES, name)
    if path is None or Path(path).suffix.lower() not in PALETTE_SUFFIXES:
        raise PriorError(
            f"there is no palette {name!r}; expected a built-in one, or a file in "
            f"{' or '.join(_shown(PALETTE_FILES))} that ends in {', '.join(PALETTE_SUFFIXES)}"
        )
    return Path(path)


def demo_model_names() -> list[str]:
    """The weights that Load SCP Demo Model can load, the pack's own first."""
    own = sorted(path.name for path in DEMO_MODELS.glob(f"*{SUFFIX}"))
    try:
        names = folder_paths.get_filename_list(MODELS)
    except OSError:
        # The host remembers folders, and fails if one of them was removed since.
        return own
    return own + sorted(set(names) - set(own))


def demo_model_path(name: str) -> Path:
    """The file of the demo's weights in the list; PriorError if it is not there."""
    path = folder_paths.get_full_path(MODELS, name)
    if path is None:
        raise PriorError(
            f"there are no weights {name!r}; expected a file in {' or '.join(_shown(MODELS))}. If "
            "the pack's own are missing, install it anew"
        )
    return Path(path)


def file_state(name: str, find: Callable[[str], Path]) -> str:
    """What changes when the file that `find` gives for this name does."""
    try:
        state = find(name).stat()
    except (PriorError, OSError):
        return "missing"
    return f"{name} {state.st_mtime_ns} {state.st_size}"


def new_prior_path(filename: str) -> Path:
    """Where a prior of this name is to be saved: always inside the folder of priors.

    A subfolder may be named; the suffix may be left out. Raises PriorError for anything else.
    """
    root = Path(folder_paths.get_folder_paths(PRIORS)[0]).resolve()
    name = filename.strip().replace("\\", "/")
    name = name if name.lower().endswith(SUFFIX) else name + SUFFIX
    parts = name.split("/")
    bad = (
        name == SUFFIX
        or _FORBIDDEN.search(name)
        or any(part in ("", ".", "..") or part.startswith(".") for part in parts)
        or any(_RESERVED.fullmatch(part) or part != part.strip() for part in parts)
        or any(len(part.encode()) > _MOST_OF_A_NAME for part in parts)
    )
    if bad or not (path := (root / name).resolve()).is_relative_to(root) or path.is_dir():
        raise PriorError(
            f"filename {filename!r} cannot be used; expected a plain name such as 'cityscapes' or "
            f"'streets/cityscapes', to be saved under {_shown(PRIORS)[0]}"
        )
    return path


def input_pictures() -> list[str]:
    """The picture files in ComfyUI's input folder, as Load Image lists them."""
    folder = folder_paths.get_input_directory()
    files = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    return sorted(folder_paths.filter_files_content_types(files, ["image"]))


def input_picture(name: str) -> Path:
    """A file by its name as Load Image takes it: below the input folder, or "name [output]".

    Raises PriorError if it is missing or, after resolving links, outside that folder.
    """
    plain, folder = folder_paths.annotated_filepath(name)
    root = Path(folder or folder_paths.get_input_directory()).resolve()
    try:
        path = path_in(root, plain).resolve()
        found = path.is_relative_to(root) and path.is_file()
    except (OSError, ValueError):
        # Names that no file system takes.
        found = False
    if not found:
        raise PriorError(
            f"there is no label file {plain!r} in ComfyUI's {root.name} folder; choose one of the "
            "list, upload one, or put it there"
        )
    return path


def dataset_roots() -> list[Path]:
    """The folders that datasets may lie in."""
    roots = [folder_paths.get_input_directory()]
    for name in (DATASETS, HOST_DATASETS):
        if name in folder_paths.folder_names_and_paths:
            roots += folder_paths.get_folder_paths(name)
    return [Path(root).resolve() for root in roots]


def dataset_folder(text: str, what: str) -> Path:
    """The folder that a text input names, relative to one of the allowed roots.

    "name [output]" is one in ComfyUI's output folder, which no other name is looked for in.
    Raises PriorError if it is missing or, after resolving links, outside all of them.
    """
    text = text.strip()
    name = text.removesuffix(OUTPUT_MARK).rstrip()
    if name == text:
        return _folder(text, what)
    return _folder(name, what, shown=text, only=_output_root())


def _folder(name: str, what: str, shown: str = "", only: Path | None = None) -> Path:
    """A folder by its name in the roots of datasets, or in `only`; shown: its name in messages."""
    name = name.strip()
    shown = shown or name
    if not name:
        raise PriorError(
            f"no {what} folder is given; expected one in ComfyUI's input folder or in a folder "
            f"registered as {DATASETS} in extra_model_paths.yaml"
        )
    roots = dataset_roots()
    allowed = roots if only is None else [only, *roots]
    try:
        found = [path_in(root, name).resolve() for root in ([only] if only else roots)]
    except (OSError, ValueError):
        # Names that no file system takes.
        found = []
    inside = [path for path in found if any(path.is_relative_to(root) for root in allowed)]
    if found and not inside:
        raise PriorError(
            f"the {what} folder {shown!r} lies outside the folders that may be read. Put the "
            "dataset into ComfyUI's input folder, or register its folder as "
            f"{DATASETS} in extra_model_paths.yaml"
        )
    for path in inside:
        # Of names that are too long Path.is_dir raises.
        if os.path.isdir(path):  # noqa: PTH112
            return path
    where = "input" if only is None else "output"
    raise PriorError(
        f"the {what} folder {shown!r} does not exist; looked in ComfyUI's {where} folder"
        + (
            f" and in the folders registered as {_registered()}"
            if only is None and len(roots) > 1
            else ""
        )
    )


def _output_root() -> Path:
    return Path(folder_paths.get_output_directory()).resolve()


def dataset_file(text: str, what: str) -> Path:
    """The file that a text input names, in one of the folders that datasets may lie in.

    Raises PriorError if it is missing or, after resolving links, outside all of them.
    """
    path = Path(text.strip())
    if not path.name:
        raise PriorError(f"no {what} file is given; expected one in ComfyUI's input folder")
    folder = _folder(str(path.parent), what)
    file = path_in(folder, path.name)
    if not os.path.isfile(file):  # noqa: PTH113
        raise PriorError(
            f"there is no {what} file {text.strip()!r}; looked in ComfyUI's input folder and in "
            f"the folders registered as {_registered()}"
        )
    inside_roots()(path.name, str(file))
    return file


def inside_roots() -> Callable[[str, str], None]:
    """A check of files and folders for `visible_files`, called as check(name, path).

    PriorError if, after resolving links, the path lies outside of the allowed roots. What lies in
    ComfyUI's output folder is there because its folder was named so, and may link to it.
    """
    roots, output = dataset_roots(), _output_root()

    def within(path: Path) -> bool:
        return any(path.is_relative_to(root) for root in roots)

    def check(name: str, path: str) -> None:
        # On strings: a dataset may be a hundred thousand links.
        real = Path(os.path.realpath(path))
        named_so = real.is_relative_to(output) and Path(path).is_relative_to(output)
        if not within(real) and (not named_so or within(Path(path))):
            kind = "folder" if real.is_dir() else "file"
            raise PriorError(
                f"{name} is a link to a {kind} outside the folders that may be read; copy the "
                f"{kind}, or register the folder that it lies in as {DATASETS} in "
                "extra_model_paths.yaml"
            )

    return check


def _registered() -> str:
    names = [n for n in (DATASETS, HOST_DATASETS) if n in folder_paths.folder_names_and_paths]
    return " or ".join(names or [DATASETS])


def _shown(folder: str) -> list[str]:
    return [f"'{'/'.join(Path(p).parts[-2:])}'" for p in folder_paths.get_folder_paths(folder)]
