"""What each template promises: a picture, a note, and rows that differ in one thing alone."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from demo.scenes import CLASS_COLORS, CLASS_NAMES
from dev.comfyui import REPOSITORY
from dev.server import ComfyServer
from dev.templates import load_template, template_names, template_prompt, thumbnail_of
from dev.thumbnails import BUILD_OWN, LOOKS, MAKERS, MOST_BYTES, OWN, PAINT, SIDE
from prior_tools import load_prior

pytestmark = pytest.mark.slow

DEMO = "SCP-Diff demo (no downloads)"
INPAINTING = "SCP-Diff inpainting (demo)"
SWEEP = "SCP-Diff mu sweep (demo)"
PRIORS = "SCP-Diff priors compared (demo)"
CUSTOM = "SCP-Diff custom sampler (demo)"

FROM_FILES = ("LoadImage", "SCP_LoadLabelMap", "CheckpointLoaderSimple", "ControlNetLoader")


@pytest.mark.parametrize("name", template_names())
def test_a_workflow_has_a_square_picture_for_the_template_browser(name):
    path = thumbnail_of(name)
    assert path.stat().st_size <= MOST_BYTES
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (SIDE, SIDE))
        assert np.asarray(picture).std() > 10
    assert name in MAKERS


def test_there_are_pictures_of_no_others():
    folder = thumbnail_of("any").parent
    assert {path.stem for path in folder.glob("*.jpg")} == set(template_names()) == set(MAKERS)


@pytest.mark.parametrize("name", template_names())
def test_a_workflow_has_one_note_and_colored_groups(name):
    workflow = load_template(name)
    (note,) = [node for node in workflow["nodes"] if node["type"] == "MarkdownNote"]
    text = note["widgets_values"][0]
    assert text.startswith("# ") and "## What to change first" in text
    assert "nothing is downloaded" in text.lower() or "models/" in text
    assert len(workflow["groups"]) >= 2
    for group in workflow["groups"]:
        assert group["title"] and group["color"].startswith("#")
        # Titles are 24 pixels high and not cut: longer ones lie over what is beside the group.
        assert 13 * len(group["title"]) <= group["bounding"][2], group["title"]


@pytest.mark.parametrize("name", template_names())
def test_a_node_that_the_note_names_is_called_so(name):
    """Hosts have other names for their nodes in each version."""
    nodes = load_template(name)["nodes"]
    (note,) = [node for node in nodes if node["type"] == "MarkdownNote"]
    for node in nodes:
        if f"**{node['type']}**" in note["widgets_values"][0]:
            assert node.get("title") == node["type"]


@pytest.mark.parametrize("name", [n for n in template_names() if "(demo)" in n])
def test_what_says_demo_model_needs_no_files_but_the_packs(name):
    workflow = load_template(name)
    folders = {"SCP_LoadDemoModel": "models", "SCP_LoadPrior": "priors"}
    files = []
    for node in workflow["nodes"]:
        assert "models" not in node["properties"]
        assert node["type"] not in FROM_FILES
        if folder := folders.get(node["type"]):
            files.append(REPOSITORY / "weights" / folder / node["widgets_values"][0])
    assert files and all(file.is_file() for file in files)


@pytest.mark.parametrize("name", template_names())
def test_links_run_over_reroutes_that_exist_and_no_node_is_led_back_to_the_left(name):
    """Else the host draws them across the graph, or behind nodes."""
    workflow = load_template(name)
    routes = {route["id"]: route for route in workflow["extra"].get("reroutes", [])}
    links = {link[0] for link in workflow["links"]}
    ends = {end["id"]: end["parentId"] for end in workflow["extra"].get("linkExtensions", [])}
    passed = {link: set() for link in links}
    for link, route in ends.items():
        while route is not None:
            passed[link].add(route)
            route = routes[route].get("parentId")
    for route in routes.values():
        assert set(route["linkIds"]) == {link for link in links if route["id"] in passed[link]}
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link, source, _, target, *_ in workflow["links"]:
        right_edge = nodes[source]["pos"][0] + nodes[source]["size"][0]
        stacked = nodes[source]["pos"][0] == nodes[target]["pos"][0]
        assert right_edge < nodes[target]["pos"][0] or stacked or passed[link], (source, target)


# A screen of 1920 x 1080 pixels. Newer hosts fit a template into this part of it when they open
# it; below this scale neither they nor older ones draw any text on the canvas.
SCREEN, FITTED, LEGIBLE = np.array([1920, 1080]), 0.75, 8 / 14


@pytest.mark.parametrize("name", [n for n in template_names() if "demo" in n])
def test_results_are_in_sight_when_a_workflow_of_the_demos_opens(name):
    workflow = load_template(name)
    view = workflow["extra"]["ds"]
    corners = np.array([np.reshape(g["bounding"], (2, 2)).sum(0) for g in workflow["groups"]])
    right, bottom = (corners.max(0) + view["offset"]) * view["scale"]
    assert right <= SCREEN[0] and view["scale"] >= LEGIBLE
    if len(workflow["groups"]) < 7:
        # Four rows of results are higher than a screen.
        assert bottom <= SCREEN[1]


NODE_TITLE, GAP = 30, 4
LARGE = [n for n in template_names() if " for SD" in n] + [INPAINTING, LOOKS, SWEEP, PRIORS]


@pytest.mark.parametrize("name", template_names())
def test_all_is_legible_where_it_is_fitted_into_the_window_or_it_says_to_zoom_in(name):
    workflow = load_template(name)
    hints = [g for g in workflow["groups"] if g["title"] == "Zoom in to read"]
    boxes = [g["bounding"] for g in workflow["groups"]]
    boxes += [[*node["pos"], *node["size"]] for node in workflow["nodes"]]
    boxes = np.array(boxes).reshape(-1, 2, 2)
    size = boxes.sum(1).max(0) - boxes[:, 0].min(0)
    legible = (FITTED * SCREEN / size).min() >= LEGIBLE
    assert legible == (name not in LARGE) == (not hints)
    # Titles of groups are drawn at any scale. This one is right above the note.
    (note,) = [node for node in workflow["nodes"] if node["type"] == "MarkdownNote"]
    for left, top, width, height in (hint["bounding"] for hint in hints):
        assert (left, width) == (note["pos"][0], note["size"][0])
        assert GAP <= note["pos"][1] - NODE_TITLE - (top + height) < 3 * GAP


ADDING = ("control_after_generate", "image_upload")
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


@pytest.mark.parametrize("name", template_names())
def test_our_nodes_are_saved_with_a_value_for_each_of_their_widgets(server, name):
    """So that a default of an input that comes later does not change what they make."""
    schemas = server.object_info()
    for node in load_template(name)["nodes"]:
        if not node["type"].startswith("SCP_"):
            continue
        given = schemas[node["type"]]["input"]
        specs = [*given.get("required", {}).values(), *given.get("optional", {}).values()]
        widgets = [x for x in specs if isinstance(x[0], list) or x[0] in WIDGETS]
        # The frontend adds one to choose a file, and one for what becomes of a seed.
        more = sum(bool(x[1].get(k)) for x in widgets for k in ADDING)
        assert len(node.get("widgets_values", [])) == len(widgets) + more, node["type"]


@pytest.mark.parametrize("name", template_names())
def test_the_demos_models_count_mu_in_their_own_time(server, name):
    demo = "demo" in name
    found = [n["inputs"].get("mu_of") for n in prompt_of(server, name).values()]
    assert set(found) - {None} <= {"model" if demo else "stable diffusion"}


def prompt_of(server: ComfyServer, name: str) -> dict[str, Any]:
    return template_prompt(name, server.object_info())


def rows(prompt: dict[str, Any], class_type: str, differing: str) -> tuple[list[Any], list[Any]]:
    """The values of an input in all nodes of a class, and what else these nodes are given."""
    nodes = [dict(n["inputs"]) for n in prompt.values() if n["class_type"] == class_type]
    return [node.pop(differing) for node in nodes], nodes


def test_the_sweep_differs_in_mu_alone(server):
    prompt = prompt_of(server, SWEEP)
    mus, others = rows(prompt, "SCP_PartialDenoiseKSampler", "mu")
    assert mus == sorted(set(mus)) and {0.8, 1} <= set(mus)
    assert all(other == others[0] for other in others)
    shown = [
        node["_meta"]["title"] for node in prompt.values() if node["class_type"] == "SaveImage"
    ]
    assert shown == [f"mu {mu:g}" for mu in mus]


def test_the_priors_are_compared_at_equal_seed_and_settings(server):
    prompt = prompt_of(server, PRIORS)
    modes, draws = rows(prompt, "SCP_JointPriorNoise", "mode")
    assert modes == ["normal", "spatial", "categorical", "joint"]
    assert all(draw == draws[0] for draw in draws)
    latents, samplers = rows(prompt, "SCP_PartialDenoiseKSampler", "latent_image")
    assert len({tuple(latent) for latent in latents}) == 4
    # The fair baseline starts from all the noise there is.
    assert [sampler.pop("mu") for sampler in samplers] == [1, 0.8, 0.8, 0.8]
    assert all(sampler == samplers[0] for sampler in samplers)


def test_looks_differ_in_their_prior_alone(server):
    prompt = prompt_of(server, LOOKS)
    priors, draws = rows(prompt, "SCP_JointPriorNoise", "prior")
    names = [prompt[loader]["inputs"]["prior_name"] for loader, _ in priors[1:]]
    looks = ("noon", "dusk", "night")
    assert names == [f"scp_diff_demo_{look}.safetensors" for look in looks]
    for name in names:
        assert not load_prior(REPOSITORY / "weights" / "priors" / name).labelled
    assert [draw.pop("mode") for draw in draws] == ["normal", "spatial", "spatial", "spatial"]
    assert all(draw == draws[0] for draw in draws)
    latents, samplers = rows(prompt, "SCP_PartialDenoiseKSampler", "latent_image")
    assert len({tuple(latent) for latent in latents}) == 4
    assert [sampler.pop("mu") for sampler in samplers] == [1, 0.8, 0.8, 0.8]
    assert all(sampler == samplers[0] for sampler in samplers)


def test_without_a_dataset_the_prior_is_of_what_was_painted_from_each_label_map(server):
    nodes = server.object_info()
    folder = server.base / "output" / "own"
    shutil.rmtree(folder, ignore_errors=True)
    painted = (3, 1)
    for index in painted:
        prompt = template_prompt(OWN, nodes, PAINT)
        given = {n["class_type"]: n["inputs"] for n in prompt.values()}
        assert "SCP_BuildPrior" not in given
        given["PrimitiveInt"]["value"] = index
        given["KSampler"]["steps"] = 4
        server.run(prompt)
    pictures, labels = (sorted((folder / kind).iterdir()) for kind in ("images", "labels"))
    assert [path.name for path in pictures] == [path.name for path in labels]
    for index, path in zip(painted, labels, strict=True):
        own = REPOSITORY / "weights" / "label_maps" / f"street_{index:02}.png"
        with Image.open(path) as saved, Image.open(own) as packs:
            assert np.array_equal(saved.convert("RGB"), packs.convert("RGB"))
    prompt = template_prompt(OWN, nodes, BUILD_OWN)
    given = {n["class_type"]: n["inputs"] for n in prompt.values()}
    assert "KSampler" not in given
    given["SCP_BuildPrior"]["overwrite"] = True
    server.run(prompt)
    prior = load_prior(server.base / "models" / "scp_priors" / "own_images.safetensors")
    assert prior.num_images == len(painted) and prior.labelled


def test_without_a_dataset_a_label_map_is_saved_only_once_it_is_painted(server):
    """Else a run that is stopped leaves one without a picture, and later names do not pair."""
    prompt = prompt_of(server, OWN)
    (saver,) = [i for i, n in prompt.items() if n["_meta"]["title"] == "Its label map"]
    needed, waiting = set(), [saver]
    while waiting:
        node = prompt[waiting.pop()]
        needed.add(node["class_type"])
        waiting += [value[0] for value in node["inputs"].values() if isinstance(value, list)]
    assert {"VAEDecode", "KSampler", "SCP_DemoLabelMap"} <= needed


def test_inpainting_changes_the_cells_of_the_class_and_no_others(server):
    prompt = prompt_of(server, INPAINTING)
    before, after = (decoder(prompt, title) for title in ("The image", "The trees made anew"))
    for node in prompt.values():
        if "steps" in node["inputs"]:
            node["inputs"]["steps"] = 4
    for name, node in (("before", before), ("after", after)):
        saved = {"samples": node["samples"], "filename_prefix": f"inpainting/{name}"}
        prompt[name] = {"class_type": "SaveLatent", "inputs": saved}
    # Shown whether the server remembers it or not.
    (labels,) = [i for i, n in prompt.items() if n["class_type"] == "SCP_DemoLabelMap"]
    prompt["label"] = {"class_type": "PreviewImage", "inputs": {"images": [labels, 0]}}
    images = server.images(server.run(prompt))
    (color,) = [
        n["inputs"]["color"] for n in prompt.values() if n["class_type"] == "ImageColorToMask"
    ]
    wanted = np.array([color >> 16, color >> 8 & 255, color & 255])
    assert (wanted == CLASS_COLORS[CLASS_NAMES.index("vegetation")]).all()
    pixels = (images["label"][0][..., :3] == wanted).all(-1)
    cells = pixels.reshape(18, 8, 36, 8).any((1, 3))
    assert 0.05 < cells.mean() < 0.5
    folder = server.base / "output" / "inpainting"
    old, new = (
        load_file(next(folder.glob(f"{name}_*")))["latent_tensor"] for name in ("before", "after")
    )
    off = (old - new).abs().amax((0, 1)).numpy()
    assert off[~cells].max() < 1e-4 * old.abs().max()
    assert off[cells].mean() > 0.1 * old.std()


def decoder(prompt: dict[str, Any], title: str) -> dict[str, Any]:
    """The inputs of the VAE Decode whose picture the node of this title shows, enlarged."""
    (shown,) = [n["inputs"] for n in prompt.values() if n.get("_meta", {}).get("title") == title]
    enlarged = prompt[shown["images"][0]]
    assert enlarged["class_type"] == "ImageScaleBy"
    found = prompt[enlarged["inputs"]["image"][0]]
    assert found["class_type"] == "VAEDecode"
    return found["inputs"]


def test_the_custom_sampler_makes_the_image_of_the_plain_one(server):
    prompt = prompt_of(server, CUSTOM)
    given = {n["class_type"]: n["inputs"] for n in prompt.values()}
    given["SCP_PartialDenoiseScheduler"]["steps"] = 6
    settings = given["SCP_PartialDenoiseScheduler"]
    plain = {
        "model": settings["model"],
        "positive": given["CFGGuider"]["positive"],
        "negative": given["CFGGuider"]["negative"],
        "latent_image": settings["latent_image"],
        "seed": given["RandomNoise"]["noise_seed"],
        "steps": settings["steps"],
        "cfg": given["CFGGuider"]["cfg"],
        "sampler_name": given["KSamplerSelect"]["sampler_name"],
        "scheduler": settings["scheduler"],
        "mu": settings["mu"],
        "mu_of": settings["mu_of"],
    }
    # The latent is checked on its way.
    (scheduler,) = [i for i, n in prompt.items() if n["inputs"] is settings]
    assert given["SamplerCustomAdvanced"]["sigmas"] == [scheduler, 0]
    assert given["SamplerCustomAdvanced"]["latent_image"] == [scheduler, 1]
    prompt["plain"] = {"class_type": "SCP_PartialDenoiseKSampler", "inputs": plain}
    custom = decoder(prompt, "Result")
    for name, latent in (("plain", ["plain", 0]), ("custom", custom["samples"])):
        decoded = {"samples": latent, "vae": custom["vae"]}
        prompt[f"{name} decoded"] = {"class_type": "VAEDecode", "inputs": decoded}
        shown = {"images": [f"{name} decoded", 0]}
        prompt[f"{name} shown"] = {"class_type": "PreviewImage", "inputs": shown}
    images = server.images(server.run(prompt))
    assert np.array_equal(images["plain shown"][0], images["custom shown"][0])
