"""A built wheel ships the command line alone: a top-level `nodes` would hide ComfyUI's own."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_wheel_holds_prior_tools_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("prior_tools", "nodes", "dev", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(tmp_path), str(source)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("scp_diff-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"prior_tools"}
    assert {"prior_tools/cli/build.py", "prior_tools/evaluation/frechet.py"} <= set(names)
    # Without it a type checker takes nothing from the package.
    assert "prior_tools/py.typed" in names
    (entry,) = [n for n in names if n.endswith("entry_points.txt")]
    assert "scp-prior = prior_tools.cli:main" in zipfile.ZipFile(wheel).read(entry).decode()
