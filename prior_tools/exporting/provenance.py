"""What generated the images of a folder, as `generate` recorded it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import PriorError
from ..generating.manifest import MANIFEST_NAME, RUN_NAME
from ..json_values import integer, parsed, text

_MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


@dataclass(frozen=True)
class Provenance:
    """Where images are from.

    Attributes:
        workflow: SHA-256 of the workflow with its settings, in hex; None where it is not known.
        models: names of the model files in it, ascending.
        settings: that were made in it, by "title.input".
        seed: of the run.
        seeds: name of an image -> its seed.
    """

    workflow: str | None = None
    models: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)


def read_provenance(folder: Path) -> Provenance:
    """Of a folder of images; empty where `generate` did not make them.

    Raises PriorError for records that cannot be read.
    """
    run_path, manifest_path = folder / RUN_NAME, folder / MANIFEST_NAME
    if not run_path.is_file():
        return Provenance()
    try:
        run = parsed(run_path.read_bytes(), constants=True)
        workflow, seed = run["workflow"], run["seed"]
        models = sorted({*_model_names(workflow)})
        seeds, settings = {}, {}
        if manifest_path.is_file():
            with manifest_path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        entry = parsed(line)
                        name = text(entry["file"], "file")
                        seeds[name] = integer(entry["seed"], 0, 2**64, "seed")
                        settings = entry["settings"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PriorError(
            f"{run_path} or {MANIFEST_NAME} beside it is not as generate writes it ({error})"
        ) from error
    digest = hashlib.sha256(json.dumps(workflow, sort_keys=True).encode()).hexdigest()
    return Provenance(digest, tuple(models), settings, seed, seeds)


def _model_names(workflow: Mapping[str, Any]) -> Iterator[str]:
    for node in workflow.values():
        for value in node["inputs"].values():
            if isinstance(value, str) and value.lower().endswith(_MODEL_SUFFIXES):
                yield value
