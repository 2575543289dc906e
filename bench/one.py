"""One measurement in a process of its own, untouched by what others left in memory.

    python -m bench.one NAME OPTIONS RESULT

OPTIONS is a JSON object of `Options`; RESULT is the JSON file to write: title and figures.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.figure import Figure
from bench.options import Options
from dev.comfyui import REPOSITORY


class MeasurementFailed(RuntimeError):
    """The process ended with an error, which it has printed."""


def measure_alone(name: str, options: Options) -> tuple[str, list[Figure]]:
    """Title and figures of the measurement of this name; raises MeasurementFailed."""
    with tempfile.TemporaryDirectory(prefix="scp-bench-") as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "bench.one", name]
        command += [json.dumps(asdict(options), default=str), str(result)]
        code = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
        if code != 0:
            raise MeasurementFailed(f"its process ended with exit code {code}")
        said = json.loads(result.read_text(encoding="utf-8"))
    return said["title"], [Figure(**figure) for figure in said["figures"]]


def main() -> None:
    """Measure and write."""
    name, given, result = sys.argv[1:]
    fields = json.loads(given)
    for folder in ("camvid", "cache"):
        fields[folder] = Path(fields[folder]) if fields[folder] else None
    module = importlib.import_module(f"bench.{name}")
    figures = [asdict(figure) for figure in module.measure(Options(**fields))]
    said = {"title": module.TITLE, "figures": figures}
    Path(result).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
