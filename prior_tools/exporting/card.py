"""The card of a dataset: dataset.json for programs, README.md for people."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..atomic import write_bytes
from ..errors import counted
from .choosing import Choice
from .classes import Classes
from .forms.form import Form, Line
from .pictures import written_as
from .provenance import Provenance

CARD_NAME, DATA_NAME = "README.md", "dataset.json"

_GEOMETRY = (
    "each label has its image's size: of the label map the largest centred part of the image's "
    "shape, as a ControlNet's hint is cut, brought to it by nearest neighbor"
)


@dataclass
class Counts:
    """What is in a dataset, summed over the lines of its manifest.

    Attributes:
        images: by split.
        maps: names of the label maps by split.
        pixels, holding: (split, class id of the form) -> pixels, and images that hold the class.
        disagreeing: class id of the palette -> pixels marked as void, since a model sees another
            class there.
    """

    images: Counter[str] = field(default_factory=Counter)
    maps: dict[str, set[str]] = field(default_factory=dict)
    pixels: Counter[tuple[str, int]] = field(default_factory=Counter)
    holding: Counter[tuple[str, int]] = field(default_factory=Counter)
    void: Counter[str] = field(default_factory=Counter)
    disagreeing: Counter[int] = field(default_factory=Counter)
    written_anew: int = 0

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Counts:
        """Of the lines of a manifest."""
        counts = cls()
        for line in lines:
            split = line["split"]
            counts.images[split] += 1
            counts.maps.setdefault(split, set()).add(line["label_map"])
            counts.void[split] += line["void"]
            counts.written_anew += line["written_anew"]
            for class_id, pixels in line["pixels"].items():
                counts.pixels[split, int(class_id)] += pixels
                counts.holding[split, int(class_id)] += 1
            for class_id, pixels in line["disagreeing"].items():
                counts.disagreeing[int(class_id)] += pixels
        return counts

    @property
    def splits(self) -> list[str]:
        """Names of the splits that hold images."""
        return sorted(self.images)


def card_data(
    name: str,
    form: Form,
    classes: Classes,
    counts: Counts,
    choice: Choice,
    provenance: Provenance,
    license_text: str | None,
    chosen_by: Mapping[str, Any],
) -> dict[str, Any]:
    """What dataset.json holds.

    chosen_by: "keep", "least", "ignore_disagreement" and "segmenter" of the command.
    """
    present = sorted({class_id for _, class_id in counts.pixels})
    return {
        "name": name,
        "form": form.name,
        "note": form.note,
        "license": license_text,
        "images": {split: counts.images[split] for split in counts.splits},
        "label_maps": {split: len(counts.maps[split]) for split in counts.splits},
        "classes": [
            {
                "id": class_id,
                "name": classes.names.get(class_id, ""),
                "pixels": {s: counts.pixels[s, class_id] for s in counts.splits},
                "images": {s: counts.holding[s, class_id] for s in counts.splits},
            }
            for class_id in present
        ],
        "void": {"id": classes.void, "pixels": {s: counts.void[s] for s in counts.splits}},
        "palette_of_label_maps": classes.palette.name,
        "class_ids_by_palette_id": {str(i): other for i, other in classes.partners.items()},
        "geometry": _GEOMETRY,
        "images_written_anew": counts.written_anew,
        "images_written_anew_as": written_as(form.picture),
        "generator": {
            "name": "ComfyUI, by prior_tools generate" if provenance.workflow else None,
            "workflow_sha256": provenance.workflow,
            "models": list(provenance.models),
            "settings": dict(provenance.settings),
            "seed": provenance.seed,
            "image_seeds": "in manifest.jsonl" if provenance.seeds else None,
        },
        "segmenter": chosen_by["segmenter"],
        "chosen": {
            "keep": chosen_by["keep"],
            "least": chosen_by["least"],
            "of_images": len(choice.items) + len(choice.dropped),
            "dropped_images": len(choice.dropped),
            "dropped": choice.dropped,
            "dropped_by_class": [
                {
                    "id": class_id,
                    "name": classes.palette.names.get(class_id, ""),
                    "images": choice.images[class_id],
                    "dropped_images": choice.dropped_images[class_id],
                    "dropped_share_of_pixels": choice.dropped_pixels[class_id] / pixels,
                }
                for class_id, pixels in sorted(choice.pixels.items())
                if choice.dropped
            ],
        },
        "disagreement": {
            "ignored": chosen_by["ignore_disagreement"],
            "pixels_by_palette_id": {str(i): n for i, n in sorted(counts.disagreeing.items())},
        },
    }


def write_card(root: Path, data: Mapping[str, Any]) -> None:
    """Write README.md, then dataset.json: where that is, the dataset is whole."""
    write_bytes(root / CARD_NAME, _readme(data).encode(errors="replace"))
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(root / DATA_NAME, text.encode(errors="replace"))


def _readme(data: Mapping[str, Any]) -> str:
    splits = list(data["images"])
    lines = ["---"]
    if data["license"] and re.fullmatch(r"[a-z0-9.-]+", data["license"]):
        lines.append(f"license: {data['license']}")
    lines += ["task_categories:", "- image-segmentation", "tags:", "- synthetic", "---", ""]
    lines += [f"# {data['name']}", ""]
    lines += [f"Generated images with label maps, in the form {data['form']}. {data['note']}", ""]
    lines += _table(
        ["split", "images", "label maps"],
        [[s, data["images"][s], data["label_maps"][s]] for s in splits],
    )
    lines += [
        f"- License: {data['license'] or 'not stated'}",
        *_generator(data["generator"]),
        f"- Geometry: {data['geometry']}.",
    ]
    if data["images_written_anew"]:
        lines.append(
            f"- {counted(data['images_written_anew'], 'image was', 'images were')} written anew as "
            f"{data['images_written_anew_as']}."
        )
    lines += [*_chosen(data), "", "## Classes", ""]
    total = {
        s: sum(c["pixels"][s] for c in data["classes"]) + data["void"]["pixels"][s] for s in splits
    }
    heads = ["id", "class"] + [f"{what}, {s}" for s in splits for what in ("images", "pixels")]
    rows: list[list[object]] = []
    for c in data["classes"]:
        cells = [(c["images"][s], f"{c['pixels'][s] / (total[s] or 1):.2%}") for s in splits]
        rows.append([c["id"], c["name"], *(cell for pair in cells for cell in pair)])
    void = [f"{data['void']['pixels'][s] / (total[s] or 1):.2%}" for s in splits]
    rows.append([data["void"]["id"], "(no class)", *(cell for v in void for cell in ("", v))])
    lines += _table(heads, rows)
    return "\n".join(lines)


def _generator(generator: Mapping[str, Any]) -> Iterable[str]:
    if generator["name"] is None:
        yield "- Generator: not recorded"
        return
    models = ", ".join(generator["models"]) or "none named"
    yield f"- Generator: {generator['name']}; models: {models}"
    yield f"- Workflow: SHA-256 {generator['workflow_sha256']}"
    yield f"- Seeds: {generator['seed']} of the run; those of the images are in manifest.jsonl"


def _chosen(data: Mapping[str, Any]) -> Iterable[str]:
    chosen, segmenter = data["chosen"], data["segmenter"]
    if segmenter is None:
        return
    hashes = ", ".join(f"{name} {sha256}" for name, sha256 in segmenter["sha256"].items())
    yield f"- Segmenter: {segmenter['name']} (SHA-256: {hashes})"
    rules = [
        f"the best {chosen['keep']:.0%} of each label map" if chosen["keep"] else "",
        f"mIoU at least {chosen['least']:g}" if chosen["least"] else "",
    ]
    if any(rules):
        yield (
            f"- Chosen by the segmenter's mIoU ({', '.join(filter(None, rules))}): "
            f"left out: {chosen['dropped_images']} of {counted(chosen['of_images'], 'image')}."
        )
    if data["disagreement"]["ignored"]:
        pixels = sum(data["disagreement"]["pixels_by_palette_id"].values())
        told = counted(pixels, "pixel has", "pixels have")
        yield f"- {told} no class, since label map and segmenter disagree there."


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    cells = [list(heads), ["---"] * len(heads), *rows]
    text = [[str(cell).replace("|", "\\|") for cell in row] for row in cells]
    return [*(f"| {' | '.join(row)} |" for row in text), ""]
