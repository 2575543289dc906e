"""The workflow files that ComfyUI's template browser offers: listed, tidy, and run as they are."""

import json
import shutil
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from demo.scenes import CLASS_NAMES, generate_scene
from dev import weights
from dev.server import ComfyServer
from dev.templates import ALWAYS, template_names, template_prompt
from dev.templates import load_template as load
from dev.workspace import PACK_FOLDER, link_model
from prior_tools import PALETTES, load_prior

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "example_workflows"
WORKFLOWS = template_names()
COMPARE = "SCP-Diff for SD1.5 (ADE20K)"
COMPARE_XL = "SCP-Diff for SDXL (ADE20K)"
BUILD = "Build an SCP prior from a folder"
DEMO = "SCP-Diff demo (no downloads)"
# What its note says to set in the workflow that builds the prior, besides width and height.
FOR_XL = {
    "CheckpointLoaderSimple": {"ckpt_name": "sd_xl_base_1.0.safetensors"},
    "SCP_BuildPrior": {"latent_format": "sdxl", "filename": "ade20k_1024x1024_sdxl"},
}

# Only the browser knows these; they do not run.
NOTES = {"MarkdownNote", "Note"}
SIDE = 64
TITLE_HEIGHT = 30

# ADE20K's classes for those of the generated scenes; all others are "other".
ADE_NAMES = {
    **{name: name for name in ("road", "sidewalk", "building", "wall", "fence", "pole", "sky")},
    **{name: name for name in ("person", "car", "truck", "bus", "bicycle", "traffic light")},
    **{"traffic sign": "signboard", "vegetation": "tree", "terrain": "grass"},
}


# What a workflow shows or saves: the first picture of each node, by the node's title.
Pictures = dict[str, np.ndarray]


def ade_scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A generated street, and ADE20K's class ids for it."""
    ids = {name: i for i, name in PALETTES["ade20k"].names.items()}
    table = np.zeros(256, np.uint8)
    for train_id, name in enumerate(CLASS_NAMES):
        table[train_id] = ids[ADE_NAMES.get(name, "other")]
    scene = generate_scene(seed, SIDE, SIDE)
    return scene.image, table[scene.labels]


@pytest.fixture(scope="module")
def inputs(server: ComfyServer) -> ComfyServer:
    """The server, with all that the workflows name under exactly those names."""
    small = {"checkpoints": weights.tiny_checkpoint("eps"), "controlnet": weights.tiny_controlnet()}
    small_xl = {
        "checkpoints": weights.tiny_sdxl_checkpoint(),
        "controlnet": weights.tiny_sdxl_controlnet(),
    }
    for name, workflow in ((name, load(name)) for name in WORKFLOWS):
        files = small_xl if name == COMPARE_XL else small
        for node in workflow["nodes"]:
            for model in node["properties"].get("models", []):
                link_model(
                    server.base, model["directory"], files[model["directory"]], model["name"]
                )
            widgets = node.get("widgets_values")
            if node["type"] == "SCP_BuildPrior" and node["mode"] == ALWAYS:
                write_dataset(server.base / "input", *widgets[:2])
            if node["type"] == "SCP_LoadLabelMap":
                colors = PALETTES["ade20k"].paint(torch.from_numpy(ade_scene(100)[1].astype(int)))
                # Written, not uploaded: another test's picture of this name is replaced.
                Image.fromarray(colors.numpy()).save(server.base / "input" / widgets[0])
    return server


def write_dataset(root: Path, images: str, labels: str) -> None:
    """Six pairs, laid out and labelled as ADE20K's own archive is."""
    for folder in (root / images, root / labels):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for seed in range(6):
        image, ids = ade_scene(seed)
        Image.fromarray(image).save(root / images / f"ADE_train_{seed:08}.jpg")
        Image.fromarray(ids).save(root / labels / f"ADE_train_{seed:08}.png")


@pytest.fixture(scope="module")
def convert(server: ComfyServer) -> Callable[[str], dict[str, Any]]:
    """`convert(name)`: the prompt that comfy-cli makes of a workflow file."""
    nodes = server.object_info()
    return lambda name: template_prompt(name, nodes)


@pytest.fixture(scope="module")
def run(inputs: ComfyServer, convert: Callable) -> Callable[..., Pictures]:
    """`run(name, {node type: {input: value}})`: execute a workflow, made small.

    Gives its pictures.
    """

    def execute(name: str, changes: dict[str, dict[str, Any]] | None = None) -> Pictures:
        prompt = convert(name)
        for node in prompt.values():
            values = node["inputs"]
            if node["class_type"] == "SCP_BuildPrior":
                # Another run may have built a prior of this name.
                values.update(width=SIDE, height=SIDE, overwrite=True)
            if "steps" in values:
                values["steps"] = 3
            values.update((changes or {}).get(node["class_type"], {}))
        images = inputs.images(inputs.run(prompt))
        return {prompt[i]["_meta"]["title"]: found[0] for i, found in images.items()}

    return execute


@pytest.fixture(scope="module")
def done(run: Callable[..., Pictures]) -> Callable[[str], Pictures]:
    """`done(name)`: the pictures of a workflow, executed once for all tests."""
    finished: dict[str, Pictures] = {}

    def once(name: str) -> Pictures:
        # They load the prior that the other one saves.
        if name == COMPARE:
            once(BUILD)
        if name == COMPARE_XL and name not in finished:
            run(BUILD, FOR_XL)
        if name not in finished:
            finished[name] = run(name)
        return finished[name]

    return once


def test_the_template_browser_lists_every_workflow_of_the_pack(server):
    assert {COMPARE, COMPARE_XL, BUILD, DEMO} <= set(WORKFLOWS)
    assert sorted(json.loads(server.get("/api/workflow_templates"))[PACK_FOLDER]) == WORKFLOWS
    for name in WORKFLOWS:
        path = urllib.parse.quote(f"/api/workflow_templates/{PACK_FOLDER}/{name}.json")
        assert json.loads(server.get(path)) == load(name)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_node_of_a_workflow_exists(server, name):
    nodes = server.object_info()
    assert {node["type"] for node in load(name)["nodes"]} <= set(nodes) | NOTES


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_node_covers_another_and_each_lies_wholly_inside_or_outside_a_group(name):
    workflow = load(name)
    boxes = [(n["id"], *n["pos"], *n["size"]) for n in workflow["nodes"]]
    # A node's own box begins below its title.
    boxes = [(i, x, y - TITLE_HEIGHT, x + w, y + h) for i, x, y, w, h in boxes]
    for index, box in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert not overlap(box, other), (box, other)
        for group in workflow["groups"]:
            x, y, width, height = group["bounding"]
            whole = (group["title"], x, y, x + width, y + height)
            _, left, top, right, bottom = box
            inside = left >= x and top >= y and right <= x + width and bottom <= y + height
            assert inside or not overlap(box, whole), (box, whole)


def overlap(a: tuple, b: tuple) -> bool:
    return a[1] < b[3] and b[1] < a[3] and a[2] < b[4] and b[2] < a[4]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_workflow_runs_and_makes_pictures(done, name):
    pictures = done(name)
    assert pictures
    for title, picture in pictures.items():
        assert picture.std() > 1, f"{title} is one color"


@pytest.mark.parametrize("name", [COMPARE, COMPARE_XL, BUILD])
def test_a_note_says_what_to_get_and_that_the_gain_is_not_shown(name):
    workflow = load(name)
    (note,) = [n["widgets_values"][0] for n in workflow["nodes"] if n["type"] in NOTES]
    assert "has not been shown" in note
    for node in workflow["nodes"]:
        for model in node["properties"].get("models", []):
            assert model["name"] in note
            assert model["name"] in node["widgets_values"]
            assert f"models/{model['directory']}" in note


@pytest.mark.parametrize(("name", "latent_format"), [(COMPARE, "sd15"), (COMPARE_XL, "sdxl")])
def test_building_saves_the_prior_that_the_other_workflow_loads(
    server, done, convert, name, latent_format
):
    done(name)
    (loader,) = of_type(convert(name), "SCP_LoadPrior")
    prior = load_prior(server.base / "models" / "scp_priors" / loader["prior_name"])
    assert prior.num_images == 6
    assert prior.metadata.latent_format == latent_format
    assert prior.class_name(7) == "road" and 7 in prior.class_ids


def test_the_note_says_how_to_build_the_prior_of_sdxl():
    (note,) = [n["widgets_values"][0] for n in load(COMPARE_XL)["nodes"] if n["type"] in NOTES]
    for values in FOR_XL.values():
        assert all(value in note for value in values.values())
    assert BUILD in note and "width and height 1024" in note


@pytest.mark.parametrize("name", [COMPARE, COMPARE_XL, DEMO])
def test_the_two_samplers_of_the_side_by_side_differ_in_nothing_but_the_start(convert, name):
    prompt = convert(name)
    (stock,) = of_type(prompt, "KSampler")
    (ours,) = of_type(prompt, "SCP_PartialDenoiseKSampler")
    assert stock.pop("denoise") == 1 and ours.pop("mu") == 0.8
    assert ours.pop("mu_of") == ("model" if name == DEMO else "stable diffusion")
    assert stock.pop("latent_image") != ours.pop("latent_image")
    assert stock == ours
    # One node drives every seed, under the title by which batch tools find it.
    (draw,) = of_type(prompt, "SCP_JointPriorNoise")
    (seed,) = [i for i, node in prompt.items() if node["_meta"]["title"] == "Seed"]
    assert stock["seed"] == draw["seed"] == [seed, 0]
    (label,) = [i for i, node in prompt.items() if node["_meta"]["title"] == "Label map"]
    assert draw["label_image"] == [label, 0]


def test_the_demo_asks_for_nothing_to_be_downloaded_or_prepared(convert):
    workflow = load(DEMO)
    assert not [n for n in workflow["nodes"] if n["properties"].get("models")]
    prompt = convert(DEMO)
    for files in ("LoadImage", "SCP_LoadLabelMap", "CheckpointLoaderSimple"):
        assert not of_type(prompt, files)
    files = [
        *(("models", node["weights"]) for node in of_type(prompt, "SCP_LoadDemoModel")),
        *(("priors", node["prior_name"]) for node in of_type(prompt, "SCP_LoadPrior")),
    ]
    assert len(files) == 2
    for folder, name in files:
        assert (FOLDER.parent / "weights" / folder / name).is_file()


def test_the_demo_shows_four_streets_of_each_start_at_equal_seeds(server, convert):
    prompt = convert(DEMO)
    images = server.images(server.run(prompt))
    shown = {prompt[i]["_meta"]["title"]: np.stack(found) for i, found in images.items()}
    stock, prior = shown["Stock start"], shown["Prior start"]
    assert stock.shape == prior.shape == (4, 144, 288, 3)
    assert np.abs(stock.astype(float) - prior).mean() > 1


def of_type(prompt: dict[str, Any], class_type: str) -> list[dict[str, Any]]:
    return [dict(n["inputs"]) for n in prompt.values() if n["class_type"] == class_type]


def panels(pictures: Pictures) -> Pictures:
    """The four pictures of the side by side, [SIDE, SIDE, 3] each."""
    sheet = pictures["Label map and draw, stock start and prior start"]
    assert sheet.shape == (2 * SIDE + 8, 2 * SIDE + 8, 3)
    assert (sheet[SIDE:-SIDE] == 255).all() and (sheet[:, SIDE:-SIDE] == 255).all()
    above, below = sheet[:SIDE], sheet[-SIDE:]
    return {
        "label map": above[:, :SIDE],
        "draw": above[:, -SIDE:],
        "stock": below[:, :SIDE],
        "prior": below[:, -SIDE:],
    }


@pytest.mark.parametrize("name", [COMPARE, COMPARE_XL])
def test_the_side_by_side_shows_label_map_and_draw_stock_start_and_prior_start(
    server, done, convert, name
):
    shown = panels(done(name))
    (file,) = of_type(convert(name), "SCP_LoadLabelMap")
    label = Image.open(server.base / "input" / file["image"]).convert("RGB")
    assert np.array_equal(shown["label map"], np.asarray(label))
    assert np.array_equal(shown["draw"], done(name)["The draw, decoded"])
    for name in ("draw", "stock", "prior"):
        assert shown[name].std() > 1, f"{name} is one color"
    assert np.abs(shown["stock"].astype(float) - shown["prior"]).mean() > 1


@pytest.mark.parametrize("name", [COMPARE, COMPARE_XL])
def test_without_a_prior_and_at_mu_1_both_starts_give_the_same_picture(run, done, name):
    """So what differs in the workflow comes from the start alone."""
    done(name)
    changes = {"SCP_JointPriorNoise": {"mode": "normal"}, "SCP_PartialDenoiseKSampler": {"mu": 1.0}}
    shown = panels(run(name, changes))
    assert shown["stock"].std() > 1
    assert np.array_equal(shown["stock"], shown["prior"])
