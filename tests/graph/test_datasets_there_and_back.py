"""Datasets in their own layouts, from label files through a real server and back."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dev import weights
from dev.comfyui import REPOSITORY
from dev.dataset_trees import WRITERS, find_tree
from dev.graph import Graph
from dev.server import host_environment
from prior_tools import load_prior
from prior_tools.cli import main
from prior_tools.datasets.label_files import read_label_file
from prior_tools.evaluation.files import match_generated
from prior_tools.labels.geometry import fit_labels

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("layout", ["cityscapes", "voc", "coco-panoptic"])
def test_a_dataset_goes_through_a_server_once_an_image_and_is_found_again(server, tmp_path, layout):
    root = WRITERS[layout](tmp_path / "data")
    graph = Graph()
    label = graph.add("LoadImage", title="Label map", image="none.png")
    graph.add("PrimitiveInt", title="Seed", value=1)
    graph.add("SaveImage", title="Save", images=label, filename_prefix="generate/whole")
    workflow, out = tmp_path / "workflow.json", tmp_path / "out"
    workflow.write_text(json.dumps(graph.prompt))
    argv = ["generate", "--workflow", workflow, "--out", out, "--server", server.url]
    assert main([str(a) for a in (*argv, "--dataset", layout, "--root", root)]) == 0
    found = find_tree(layout, root)
    images = match_generated(out, {pair.name: pair.label for pair in found.pairs})
    for pair, image in zip(found.pairs, images, strict=True):
        painted = found.palette.paint(read_label_file(pair.label, found.rules).ids)
        assert np.array_equal(np.array(Image.open(image.image)), painted.numpy())


class SeesColors(torch.nn.Module):
    """Scores of classes that are highest for the color nearest to a pixel's."""

    def __init__(self, colors: np.ndarray) -> None:
        super().__init__()
        self.colors = torch.from_numpy(colors).float() / 255

    def forward(self, x):
        return -(x[:, None] - self.colors[None, :, :, None, None]).abs().sum(2)


# Layout -> folder of what `export` writes in which it lies.
INNER = {"cityscapes": "", "voc": "VOCdevkit/VOC2012", "coco-panoptic": ""}


@pytest.mark.parametrize("layout", INNER)
def test_a_dataset_is_built_generated_from_evaluated_exported_and_built_again(
    server, comfy_dir, street, start, tmp_path, layout
):
    root = WRITERS[layout](tmp_path / "data")
    dataset = ["--dataset", layout, "--root", str(root)]
    found = find_tree(layout, root)

    def build(name: str, tree: Path) -> Path:
        argv = ["build", "--dataset", layout, "--root", str(tree), "--comfyui", str(comfy_dir)]
        argv += ["--vae", str(weights.tiny_vae(4)), "--latent-format", "sd15", "--workers", "0"]
        out = server.base / "models" / "scp_priors" / f"{name}.safetensors"
        argv += ["--size", "64x64", "--out", str(out)]
        argv = [sys.executable, "-m", "prior_tools", *argv]
        subprocess.run(argv, cwd=REPOSITORY, env=host_environment(), check=True)
        return out

    built = build(f"there_{layout}", root)
    ready = start(replace(street, prior=built.name))
    prompt = ready.graph.prompt
    (label,) = [n for n in prompt.values() if n["class_type"] == "LoadImage"]
    label["_meta"] = {"title": "Label map"}
    (draw,) = [n for n in prompt.values() if n["class_type"] == "SCP_JointPriorNoise"]
    draw["inputs"]["seed"] = ready.graph.add("PrimitiveInt", title="Seed", value=0).out()
    image = ready.graph.add("VAEDecode", vae=ready.model.vae, samples=ready.sampler(steps=2))
    ready.graph.add("PreviewImage", title="Images", images=image)
    workflow, images = tmp_path / "workflow.json", tmp_path / "images"
    workflow.write_text(json.dumps(prompt))
    argv = ["generate", "--workflow", str(workflow), "--server", server.url, *dataset]
    assert main([*argv, "--out", str(images)]) == 0
    # What was sent is of the prior's classes; the trees leave much unlabelled.
    told = json.loads((images / "generate.json").read_text())["warnings"]
    assert {warning["kind"] for warning in told} <= {"places without a class"}

    colors = np.full((max(found.palette.colors) + 1, 3), -1000)
    for class_id, color in found.palette.colors.items():
        colors[class_id] = color
    segmenter = tmp_path / "segmenter.pt"
    torch.jit.script(SeesColors(colors)).save(str(segmenter))
    of_images = ["--generated", str(images), *dataset]
    scores = ["--scores", str(tmp_path / "scores")]
    argv = ["evaluate", *of_images, "--segmenter", str(segmenter), "--trust-torchscript"]
    assert main([*argv, *scores, "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["generated_images"] == figures["label_maps"] == len(found.pairs)

    out = tmp_path / "exported"
    assert main(["export", *of_images, *scores, "--format", layout, "--out", str(out)]) == 0
    again = find_tree(layout, out / INNER[layout])
    written = map(json.loads, (out / "manifest.jsonl").read_text().splitlines())
    lines = {line["files"][0]: line for line in written}
    labels = {pair.name: pair.label for pair in found.pairs}
    assert len(again.pairs) == len(lines) == len(labels) and not again.unpaired
    for pair in again.pairs:
        line = lines.pop(pair.image.relative_to(out).as_posix())
        assert line["miou"] is not None
        whole = read_label_file(labels[line["label_map"]], found.rules).ids
        wanted = fit_labels(whole, Image.open(pair.image).size)
        wanted = torch.where(torch.isin(wanted, torch.tensor(found.ignore_ids)), -1, wanted)
        ids = read_label_file(pair.label, again.rules).ids
        ids = torch.where(torch.isin(ids, torch.tensor(again.ignore_ids)), -1, ids)
        assert torch.equal(ids, wanted)

    first, second = load_prior(built), load_prior(build(f"back_{layout}", out / INNER[layout]))
    assert second.num_images == first.num_images == len(found.pairs)
    assert torch.equal(second.class_ids, first.class_ids)
    names = first.metadata.class_names
    assert {i: second.metadata.class_names[i] for i in names} == names
