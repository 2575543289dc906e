"""The pack installed as users install it: comfy-cli, ComfyUI-Manager, a ComfyUI without the pack.

Each test is the story of one install. The registry and the repository are on this machine, and
nothing else can be reached, see `dev/registry_stub.py`.
"""

import contextlib
import importlib.metadata
import io
import json
import os
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toml
from PIL import Image

from dev.comfy_cli import ComfyCli, copy_comfyui
from dev.loopback_git import tracked_files
from dev.registry_stub import RegistryStub

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="dev.comfy_cli ends servers by process group"),
]

DEMO = "SCP-Diff demo (no downloads).json"


@pytest.fixture
def user(comfy_dir: Path, tmp_path: Path) -> Iterator[Callable[..., ComfyCli]]:
    """`user(registry, environment)`: comfy-cli with a ComfyUI that has no packs."""
    with contextlib.ExitStack() as stack:

        def start(registry: RegistryStub, environment: dict[str, str] | None = None) -> ComfyCli:
            workspace = copy_comfyui(comfy_dir, tmp_path / "ComfyUI")
            settings = {**registry.environment, **(environment or {})}
            return stack.enter_context(ComfyCli(tmp_path / "home", workspace, settings))

        yield start


@pytest.fixture
def empty_registry(tmp_path: Path) -> Iterator[RegistryStub]:
    with RegistryStub(tmp_path) as running:
        yield running


def test_from_git_the_demo_runs_and_the_pack_can_be_disabled_enabled_and_uninstalled(
    user, empty_registry, git_source, checkout
):
    project = toml.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    address = project["urls"]["Repository"]
    comfy = user(empty_registry, git_source.standing_in_for(address))
    name = address.rpartition("/")[2]
    packs = comfy.workspace / "custom_nodes"
    packages = installed_packages()
    assert list(packs.iterdir()) == []

    comfy.run("node", "install", "--exit-on-fail", "--mode", "local", address)
    committed = {name: (checkout / name).read_bytes() for name in tracked_files(git_source.bare)}
    assert contents(packs / name) == committed
    assert installed_packages() == packages

    comfy.launch()
    assert_served(comfy, packs / name)
    pictures = run_workflow(comfy, packs / name / "example_workflows" / DEMO)
    assert len(pictures) >= 8
    for picture in pictures:
        assert picture.std() > 1, "a picture of one color"
    comfy.stop()

    comfy.run("node", "disable", "--mode", "local", name)
    assert not (packs / name).exists()
    comfy.launch()
    assert own_nodes(comfy) == {}
    comfy.stop()

    comfy.run("node", "enable", "--mode", "local", name)
    assert contents(packs / name) == committed

    comfy.run("node", "uninstall", "--mode", "local", name)
    assert contents(packs) == {}


def test_from_the_registry_comfyui_manager_installs_disables_enables_and_uninstalls_the_archive(
    user, registry, published
):
    comfy = user(registry)
    name = published.node["id"]
    packs = comfy.workspace / "custom_nodes"
    packages = installed_packages()
    # Without this mode the Manager asks the registry for nothing that it has not asked before.
    by_manager = ("--mode", "remote", name)

    comfy.run("node", "install", "--exit-on-fail", *by_manager)
    # The Manager adds a list of what it has written.
    archive = unpacked(published.archive)
    tracking = "\n".join(archive).encode()
    assert contents(packs / name) == {**archive, ".tracking": tracking}
    assert installed_packages() == packages

    comfy.launch()
    assert_served(comfy, packs / name)
    comfy.stop()

    comfy.run("node", "disable", *by_manager)
    assert not (packs / name).exists()
    comfy.run("node", "enable", *by_manager)
    assert contents(packs / name) == {**archive, ".tracking": tracking}
    comfy.run("node", "uninstall", *by_manager)
    assert contents(packs) == {}


def test_from_the_registry_comfy_cli_alone_installs_the_archive(user, registry, published):
    comfy = user(registry)
    comfy.run("node", "registry-install", published.node["id"])
    folder = comfy.workspace / "custom_nodes" / published.node["id"]
    assert contents(folder) == unpacked(published.archive)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder but for git's and compiled modules."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {".git", "__pycache__"} & set(path.relative_to(folder).parts)
    }


def unpacked(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def installed_packages() -> dict[str, str]:
    """Version by name of all that is installed beside ComfyUI: an install must change nothing."""
    return {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}


def own_nodes(comfy: ComfyCli) -> dict[str, str]:
    """The pack's nodes that the server lists, each with the module that it came from."""
    listed = comfy.get("/object_info")
    return {i: node["python_module"] for i, node in listed.items() if i.startswith("SCP_")}


def assert_served(comfy: ComfyCli, folder: Path) -> None:
    """The server has the nodes, scripts, help pages, templates and subgraphs of the folder."""
    module = f"custom_nodes.{folder.name}"
    texts = json.loads((folder / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))
    assert own_nodes(comfy) == dict.fromkeys(texts, module)

    listed = comfy.get("/extensions")
    for file in filter(Path.is_file, (folder / "web").rglob("*")):
        address = f"/extensions/{folder.name}/{file.relative_to(folder / 'web').as_posix()}"
        assert comfy.read(urllib.parse.quote(address)) == file.read_bytes()
        assert file.suffix != ".js" or address in listed

    assert set(comfy.get("/api/workflow_templates")[folder.name]) == stems(
        folder, "example_workflows"
    )
    blueprints = comfy.get("/global_subgraphs").values()
    ours = {each["name"] for each in blueprints if each["info"]["node_pack"] == module}
    assert ours == stems(folder, "subgraphs")


def stems(folder: Path, name: str) -> set[str]:
    """The names of a folder's workflow files, without their endings; at least one."""
    found = {path.stem for path in (folder / name).glob("*.json")}
    assert found
    return found


def run_workflow(comfy: ComfyCli, workflow: Path) -> list[np.ndarray]:
    """The pictures that `comfy run` leaves, after it has converted a workflow of the browser's."""
    done: dict[str, Any] = comfy.run_json(
        "run", "--workflow", str(workflow), "--wait", "--port", str(comfy.port)
    )
    assert done["status"] == "completed"
    return [np.asarray(Image.open(path)) for path in done["outputs"]]
