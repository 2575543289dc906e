"""docs/full_chain.sh: from a labelled dataset to what generated images are worth."""

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from dev.comfyui import REPOSITORY

SCRIPT = REPOSITORY / "docs" / "full_chain.sh"
# Of the script's own, so few that all of it takes a minute: sizes, and the trainings of `utility`.
SMALLER = {
    '"train 2400 ': '"train 24 ',
    '"val 200 ': '"val 8 ',
    '"asked 300 ': '"asked 12 ',
    "--size 144x80": "--size 64x32 --steps 4 --batch 4 --seeds 2",
}


@pytest.fixture
def comfyui(server, tmp_path) -> Path:
    """A ComfyUI's folder as a user has it, with the models of the server that runs."""
    folder = tmp_path / "comfyui"
    folder.mkdir()
    for entry in server.comfy_dir.iterdir():
        if entry.name != "models":
            (folder / entry.name).symlink_to(entry)
    (folder / "models").symlink_to(server.base / "models")
    return folder


def written(out: Path) -> dict[Path, int]:
    """When the scenes, images and trainings were written."""
    found = [*out.rglob("*.png"), *out.rglob("*.counts.safetensors")]
    return {path: path.stat().st_mtime_ns for path in found}


@pytest.mark.skipif(shutil.which("sh") is None, reason="a shell script")
def test_the_script_of_the_whole_chain_runs_and_goes_on_where_it_was(server, comfyui, tmp_path):
    text = SCRIPT.read_text("utf-8")
    for whole, small in SMALLER.items():
        assert text.count(whole) == 1
        text = text.replace(whole, small)
    script, out = tmp_path / "small.sh", tmp_path / "out"
    script.write_text(text, "utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run() -> None:
        command = ["sh", str(script), str(comfyui), server.url, str(out)]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "2"},
            capture_output=True,
            text=True,
            timeout=570,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]

    run()
    worth = json.loads((out / "worth" / "utility.json").read_text("utf-8"))
    trained = {(row["kind"], row["generated"]) for row in worth["trainings"]}
    made = ("stock", "paper", "prior", "kept")
    assert trained == {("real", None), *product(("generated", "both"), made)}
    before = written(out)
    assert sum(path.parent.name in made and path.suffix == ".png" for path in before) == 3 * 12
    assert sum(path.name.endswith(".counts.safetensors") for path in before) == 2 * len(trained)
    run()
    assert written(out) == before
