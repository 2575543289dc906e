"""What the registry gets: a valid description and an archive with the pack and nothing else."""

import io
import json
import posixpath
import re
import zipfile
from pathlib import Path

import pytest
import toml
from PIL import Image

from dev.loopback_git import tracked_files

# The pack needs these to work, and its user reads the rest.
FOLDERS = {
    *("nodes", "prior_tools", "web", "locales"),
    *("example_workflows", "subgraphs", "weights"),
}
FILES = {
    *("__init__.py", "pyproject.toml", "requirements.txt"),
    *("README.md", "LICENSE", "CHANGELOG.md"),
}
# The demo's model is 24 MB, and hardly shrinks. A quarter more leaves room for pictures; a second
# model, a folder of tests or a cache would not go unnoticed.
LARGEST = 32_000_000


@pytest.fixture(scope="module")
def archive(author, checkout) -> Path:
    """The file that `comfy node pack` makes."""
    author.run("node", "pack", cwd=checkout)
    return checkout / "node.zip"


@pytest.fixture(scope="module")
def project(checkout) -> dict:
    """pyproject.toml, by the parser that ComfyUI-Manager reads installed packs with."""
    return toml.loads((checkout / "pyproject.toml").read_text("utf-8"))


def test_validation_has_no_finding(author, checkout):
    said = author.run("node", "validate", cwd=checkout)
    # It ends with exit code 0 all the same when it has something to say.
    assert "All validation checks passed successfully" in said
    assert not re.search("warning|error|invalid", said, re.IGNORECASE), said


def test_the_artwork_suits_the_registry(checkout):
    """An icon of at most 400x400 pixels, square; a banner of 21:9; quick to load."""
    docs = checkout / "docs"
    with Image.open(docs / "icon.png") as icon, Image.open(docs / "banner.png") as banner:
        assert icon.width == icon.height <= 400
        assert banner.width * 9 == banner.height * 21
    assert (docs / "icon.png").stat().st_size < 150_000
    assert (docs / "banner.png").stat().st_size < 600_000


def test_the_archive_holds_the_pack_and_nothing_else(archive, git_source, checkout):
    documents = linked_documents(checkout, "README.md")
    wanted = [
        name
        for name in tracked_files(git_source.bare)
        if name.split("/")[0] in FOLDERS or name in FILES or name in documents
    ]
    with zipfile.ZipFile(archive) as packed:
        found = packed.namelist()
        assert set(found) - set(wanted) == set(), "not to be packed: see .comfyignore"
        assert sorted(found) == sorted(wanted)
        for name in wanted:
            assert packed.read(name) == (checkout / name).read_bytes(), name
    assert {name.split("/")[0] for name in wanted} >= FOLDERS | FILES
    assert documents <= set(wanted)


def linked_documents(checkout: Path, first: str) -> set[str]:
    """The files in docs/ that a page shows or leads to, and what these do."""
    found, pages = set(), [first]
    while pages:
        page = pages.pop()
        folder = page.rpartition("/")[0]
        text = (checkout / page).read_text("utf-8")
        for name in re.findall(r'(?:\]\(|\s(?:src|href)=")(?!https?:)([^)\s"#:]+)', text):
            path = posixpath.normpath(posixpath.join(folder, name))
            if path.startswith("docs/") and path not in found:
                found.add(path)
                pages += [path] if path.endswith(".md") else []
    return found


def test_the_archive_is_small(archive):
    assert archive.stat().st_size < LARGEST


def test_publishing_sends_what_packing_makes(archive, published):
    with zipfile.ZipFile(archive) as packed, zipfile.ZipFile(io.BytesIO(published.archive)) as sent:
        assert {i.filename: i.CRC for i in sent.infolist()} == {
            i.filename: i.CRC for i in packed.infolist()
        }


def test_the_registry_gets_all_that_its_page_shows(published, project):
    table = project["tool"]["comfy"]
    assert published.publisher == table["PublisherId"]
    assert published.node == {
        "id": project["project"]["name"],
        "name": table["DisplayName"],
        "description": project["project"]["description"],
        "icon": table["Icon"],
        "banner_url": table["Banner"],
        "license": json.dumps(project["project"]["license"]),
        "repository": project["project"]["urls"]["Repository"],
        "supported_os": ["Microsoft :: Windows", "POSIX :: Linux", "MacOS"],
        "supported_accelerators": [
            *("GPU :: NVIDIA CUDA", "GPU :: AMD ROCm", "GPU :: Intel Arc"),
            *("GPU :: Apple Metal", "NPU :: Huawei Ascend"),
        ],
        "supported_comfyui_version": table["requires-comfyui"],
        # Whatever frontend a ComfyUI brings will do.
        "supported_comfyui_frontend_version": "",
    }
    assert all(published.node[key] for key in published.node if "frontend" not in key)
    assert published.version["version"] == project["project"]["version"]
    # An install must never touch what a user's ComfyUI runs on.
    assert published.version["dependencies"] == []


def test_the_license_that_the_registry_names_is_the_one_in_the_archive(published):
    assert json.loads(published.node["license"]) == {"text": "Apache-2.0"}
    with zipfile.ZipFile(io.BytesIO(published.archive)) as packed:
        text = packed.read("LICENSE").decode()
    assert "Apache License" in text and "Version 2.0" in text


@pytest.mark.parametrize("key", ["icon", "banner_url"])
def test_the_pictures_of_the_registry_are_files_of_the_repository(published, git_source, key):
    repository = published.node["repository"].removeprefix("https://github.com/")
    start = f"https://raw.githubusercontent.com/{repository}/main/"
    assert published.node[key].startswith(start)
    assert published.node[key].removeprefix(start) in tracked_files(git_source.bare)
