"""A label file means the same to `build`, to `generate` on a server and to `evaluate`."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dev import weights
from dev.comfyui import REPOSITORY
from dev.dataset_trees import blocks
from dev.graph import Graph
from dev.server import host_environment
from prior_tools import load_prior
from prior_tools.labels.id_maps import CITYSCAPES_TRAIN_IDS
from prior_tools.labels.palette_colors import bit_color
from prior_tools.labels.palette_files import load_palette

pytestmark = pytest.mark.slow

CVAT = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:61,61,245::\nroad:128,64,128::\n"
SIDE = 64


def run(*arguments: object, code: int = 0) -> str:
    """Standard error of a command of `prior_tools`."""
    ended = subprocess.run(
        [sys.executable, "-m", "prior_tools", *map(str, arguments)],
        cwd=REPOSITORY,
        env=host_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stderr


class Scores256(torch.nn.Module):
    def forward(self, x):
        return x[:, :1, ::4, ::4].expand(-1, 256, -1, -1)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "scores.pt"
    torch.jit.script(Scores256()).save(str(path))
    return path


def voc(ids: np.ndarray) -> Image.Image:
    picture = Image.fromarray(ids.astype(np.uint8))
    picture.putpalette([level for i in range(256) for level in bit_color(i)])
    return picture


@pytest.fixture
def folder(request, server, tmp_path) -> tuple[Path, list[str], str, Counter]:
    """(dataset, options, palette in the graph, classes) of one kind of label files."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    options, in_graph, map_of = [], "", dict
    if request.param == "VOC with a color table":
        values, in_graph, suffix = [0, 1, 15, 20, 255], "pascal_voc", ""
        save = voc
    elif request.param == "CVAT's colors":
        path = server.base / "models" / "scp_palettes" / "labelmap.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(CVAT)
        palette, options = load_palette(path), ["--palette", path]
        values, in_graph, suffix = [0, 1, 2], "labelmap.txt", ""
        save = lambda ids: Image.fromarray(palette.paint(torch.from_numpy(ids)).numpy())  # noqa: E731
    elif request.param == "Cityscapes' labelIds":
        values, in_graph, suffix = [0, 7, 11, 26, 33], "cityscapes", "_gtFine_labelIds"
        options = ["--id-map", "cityscapes_labelids_to_trainids"]
        save = lambda ids: Image.fromarray(ids.astype(np.uint8))  # noqa: E731
        map_of = lambda ids: np.vectorize(CITYSCAPES_TRAIN_IDS.get)(ids)  # noqa: E731
    else:
        values, in_graph, suffix = [0, 3, 129, 200, 254], "grey_ids", ""
        save = lambda ids: Image.fromarray(ids.astype(np.uint16))  # noqa: E731
    if "--palette" not in options:
        options += ["--palette", in_graph]
    classes: Counter = Counter()
    for i in range(2):
        ids = blocks(values[i:] + values[:i], 4, 16)[:, :SIDE]
        ids = np.resize(ids, (SIDE, SIDE))
        save(ids).save(tmp_path / "labels" / f"{i}{suffix}.png")
        Image.new("RGB", (SIDE, SIDE), (50 * i, 90, 20)).save(
            tmp_path / "images" / f"{i}{suffix}.png"
        )
        meant = ids if map_of is dict else map_of(ids)
        classes.update(meant.ravel().tolist())
    classes.pop(255, None)
    return tmp_path, options, in_graph, classes


def ids_graph(palette: str) -> Graph:
    """Saves the class ids that the graph reads as grey levels."""
    graph = Graph()
    label = graph.add("LoadImage", title="Label map", image="none.png")
    seed = graph.add("PrimitiveInt", title="Seed", value=1)
    ids = graph.add(
        "SCP_ConvertLabelMap", label_image=label, palette_from=palette, palette_to="grey_ids"
    )
    one = graph.add("RepeatImageBatch", image=ids, amount=1)
    graph.add("PreviewAny", title="Seed shown", source=seed)
    graph.add("SaveImage", title="Save", images=one, filename_prefix="meaning")
    return graph


KINDS = ("VOC with a color table", "CVAT's colors", "Cityscapes' labelIds", "16 bits")


@pytest.mark.parametrize("folder", KINDS, indirect=True, ids=KINDS)
def test_the_classes_are_equal_in_build_generate_and_evaluate(server, comfy_dir, segmenter, folder):
    root, options, in_graph, classes = folder
    out = root / "p.safetensors"
    vae = ("--vae", weights.tiny_vae(4), "--comfyui", comfy_dir, "--latent-format", "sd15")
    size = ("--size", f"{SIDE}x{SIDE}", "--workers", 0)
    run("build", "--dataset", "pairs", "--root", root, *options, *vae, *size, "--out", out)
    prior = load_prior(out)
    assert prior.class_ids.tolist() == sorted(classes)

    workflow = root / "workflow.json"
    workflow.write_text(json.dumps(ids_graph(in_graph).prompt))
    where = ("--labels", root / "labels", "--server", server.url, "--output-node", "Save")
    run("generate", "--workflow", workflow, *where, *options, "--out", root / "made")
    made: Counter = Counter()
    for path in (root / "made").glob("*.png"):
        levels = np.asarray(Image.open(path))
        assert (levels == levels[..., :1]).all()
        made.update(levels[..., 0].ravel().tolist())
    made.pop(255, None)
    assert made == classes

    report = root / "report.json"
    models = ("--segmenter", segmenter, "--trust-torchscript", "--json", report)
    names = ("--generated", root / "images", "--labels", root / "labels")
    run("evaluate", *names, *options, *models)
    measured = json.loads(report.read_text())
    counted = {int(i): n for i, n in measured["label_pixels"]["classes"].items() if i != "255"}
    assert counted == classes


def test_an_id_that_the_palette_lacks_is_refused_by_all_three_before_anything_is_loaded(tmp_path):
    """No model and no server is there."""
    for side in ("images", "labels"):
        (tmp_path / side).mkdir()
    for i in range(40):
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "images" / f"{i:02}.png")
        ids = np.full((SIDE, SIDE), 300 if i == 33 else i, np.uint16)
        Image.fromarray(ids).save(tmp_path / "labels" / f"{i:02}.png")
    workflow = tmp_path / "workflow.json"
    workflow.write_text(json.dumps(ids_graph("grey_ids").prompt))
    nothing = tmp_path / "nothing.safetensors"
    palette = ("--palette", "grey_ids")
    said = [
        run(
            *("build", "--dataset", "pairs", "--root", tmp_path, *palette, "--vae", nothing),
            *("--size", f"{SIDE}x{SIDE}", "--out", tmp_path / "p.safetensors"),
            code=2,
        ),
        run(
            *("generate", "--workflow", workflow, "--labels", tmp_path / "labels", *palette),
            *("--server", "http://127.0.0.1:9", "--out", tmp_path / "made"),
            code=2,
        ),
        run(
            *("evaluate", "--generated", tmp_path / "images", "--labels", tmp_path / "labels"),
            *(*palette, "--segmenter", nothing),
            code=2,
        ),
    ]
    reason = "label map 33.png holds class ids 300, which palette 'grey_ids' (0..255) does not have"
    for text in said:
        assert reason in text and "--id-map" in text
        assert "nothing.safetensors" not in text and "127.0.0.1" not in text
    assert not (tmp_path / "p.safetensors").exists()
