"""The pack as others get it: a git repository, and an archive that a registry holds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.comfy_cli import ComfyCli
from dev.loopback_git import LoopbackGit, commit_worktree
from dev.registry_stub import Publication, RegistryStub

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def git_source(
    tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]
) -> Iterator[LoopbackGit]:
    """A served repository with the working tree as it is, committed or not."""
    require_program("git")
    bare = tmp_path_factory.mktemp("git") / "pack.git"
    with LoopbackGit(commit_worktree(REPOSITORY, bare)) as serving:
        yield serving


@pytest.fixture(scope="session")
def checkout(git_source: LoopbackGit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of it, in which one can pack and publish."""
    return git_source.clone(tmp_path_factory.mktemp("checkout") / "pack")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryStub]:
    """A registry, empty until `published` is asked for."""
    with RegistryStub(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def author(registry: RegistryStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyCli]:
    """comfy-cli of somebody who has no ComfyUI here, only the pack's repository."""
    home = tmp_path_factory.mktemp("author")
    with ComfyCli(home, environment=registry.environment) as comfy:
        yield comfy


@pytest.fixture(scope="session")
def published(author: ComfyCli, checkout: Path, registry: RegistryStub) -> Publication:
    """What the registry has after `comfy node publish`."""
    author.run("node", "publish", "--token", "none", cwd=checkout)
    (publication,) = registry.packs.values()
    return publication
