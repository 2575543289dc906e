"""Fixtures shared by all tests: folders, a real ComfyUI server, and code run inside ComfyUI."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# Tests import `prior_tools`, `dev` and `demo` from the repository. Its root goes to the END of the
# path (`python -m pytest` has put it first), and only in this process: the root also holds a
# package `nodes`, which must never hide ComfyUI's module of that name. ComfyUI is not imported
# here; it runs in processes of its own (fixtures `server` and `run_in_host`), whose path does not
# hold the root.
sys.path[:] = [p for p in sys.path if Path(p).resolve() != REPOSITORY] + [str(REPOSITORY)]

from dev.comfyui import ensure_comfyui  # noqa: E402
from dev.host import Host  # noqa: E402
from dev.server import ComfyServer  # noqa: E402
from dev.workspace import make_workspace  # noqa: E402

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


class RootIsNoTestPackage:
    """Keeps pytest from importing the root's `__init__.py`, which only ComfyUI can import.

    pytest takes every folder with an `__init__.py` above a test for a package of tests.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == REPOSITORY else None


def pytest_configure(config: pytest.Config) -> None:
    # Registered by hand: pytest does not ask a conftest about the folders above it.
    config.pluginmanager.register(RootIsNoTestPackage())


def require_program(name: str) -> str:
    """The path of a program, or skip; with SCP_REQUIRE_ALL=1 its absence is a failure."""
    path = shutil.which(name)
    if path is not None:
        return path
    message = f"the program {name!r} is not installed"
    if os.environ.get("SCP_REQUIRE_ALL") == "1":
        pytest.fail(f"{message}, and SCP_REQUIRE_ALL=1 asks for it")
    pytest.skip(message)


@pytest.fixture(scope="session", name="require_program")
def require_program_fixture() -> Callable[[str], str]:
    """`require_program(name)`, for tests: they cannot import from a conftest."""
    return require_program


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder `shared` beside the repository, with the CamVid data; skips without it."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder.name!r} beside the repository: its data is not here")
    return folder


@pytest.fixture(scope="session")
def comfy_dir() -> Path:
    """The folder of a runnable ComfyUI."""
    return ensure_comfyui()


@pytest.fixture(scope="session")
def server(comfy_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """One ComfyUI server for the whole session, with the pack in its custom nodes.

    It starts without models: a test adds those it needs, most easily with `add_model` and
    `add_controlnet` of `dev.weights`, which link the files and add the loader nodes to a graph.
    """
    base = make_workspace(tmp_path_factory.mktemp("comfyui"), REPOSITORY)
    with ComfyServer(comfy_dir, base) as running:
        yield running


@pytest.fixture(scope="session")
def run_in_host(comfy_dir: Path) -> Iterator[Callable[..., Any]]:
    """`run_in_host(code_or_path, *args, timeout=120)`, with the pack: see `dev.host.Host.run`.

    All tests share one process, which starts with the first call.
    """
    with Host(comfy_dir, REPOSITORY) as host:
        yield host.run
