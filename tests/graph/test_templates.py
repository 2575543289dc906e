"""What each template promises: a picture, a note, and rows that differ in one thing alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from demo.scenes import CLASS_COLORS
from dev.server import ComfyServer
from dev.templates import load_template, template_names, template_prompt, thumbnail_of
from dev.thumbnails import MAKERS, MOST_BYTES, SIDE

pytestmark = pytest.mark.slow

INPAINTING = "SCP-Diff inpainting one class (demo model)"
SWEEP = "SCP-Diff mu sweep (demo model)"
PRIORS = "SCP-Diff priors compared (demo model)"
CUSTOM = "SCP-Diff with SamplerCustomAdvanced (demo model)"
# As far as the decoder carries a change, in pixels.
REACH = 33


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
def test_a_workflow_has_one_note_and_coloured_groups(name):
    workflow = load_template(name)
    (note,) = [node for node in workflow["nodes"] if node["type"] == "MarkdownNote"]
    text = note["widgets_values"][0]
    assert text.startswith("# ") and "## What to change first" in text
    assert "nothing is downloaded" in text.lower() or "models/" in text
    assert len(workflow["groups"]) >= 2
    for group in workflow["groups"]:
        assert group["title"] and group["color"].startswith("#")


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


def test_inpainting_changes_the_class_and_nothing_far_from_it(server):
    prompt = prompt_of(server, INPAINTING)
    for node in prompt.values():
        if "steps" in node["inputs"]:
            node["inputs"]["steps"] = 4
    # Shown whether the server remembers it or not.
    (labels,) = [i for i, n in prompt.items() if n["class_type"] == "SCP_DemoLabelMap"]
    prompt["label"] = {"class_type": "PreviewImage", "inputs": {"images": [labels, 0]}}
    (color,) = [
        n["inputs"]["color"] for n in prompt.values() if n["class_type"] == "ImageColorToMask"
    ]
    images = server.images(server.run(prompt))
    titles = {i: node.get("_meta", {}).get("title") for i, node in prompt.items()}
    shown = {titles[i]: found[0].astype(int) for i, found in images.items() if i != "label"}
    off = np.abs(shown["The image"] - shown["The trees made anew"]).max(-1)
    wanted = np.array([color >> 16, color >> 8 & 255, color & 255])
    assert (wanted == CLASS_COLORS).all(-1).any()
    mask = (images["label"][0][..., :3] == wanted).all(-1)
    assert 0.02 < mask.mean() < 0.5
    near = Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * REACH + 1))
    far = np.asarray(near) == 0
    assert far.mean() > 0.1
    assert off[far].max() <= 2
    assert off[mask].mean() > 10


def test_the_custom_sampler_makes_the_image_of_the_plain_one(server):
    prompt = prompt_of(server, CUSTOM)
    given = {n["class_type"]: n["inputs"] for n in prompt.values()}
    given["SCP_PartialDenoiseScheduler"]["steps"] = 6
    settings = given["SCP_PartialDenoiseScheduler"]
    plain = {
        "model": settings["model"],
        "positive": given["CFGGuider"]["positive"],
        "negative": given["CFGGuider"]["negative"],
        "latent_image": given["SamplerCustomAdvanced"]["latent_image"],
        "seed": given["RandomNoise"]["noise_seed"],
        "steps": settings["steps"],
        "cfg": given["CFGGuider"]["cfg"],
        "sampler_name": given["KSamplerSelect"]["sampler_name"],
        "scheduler": settings["scheduler"],
        "mu": settings["mu"],
    }
    prompt["plain"] = {"class_type": "SCP_PartialDenoiseKSampler", "inputs": plain}
    decoded = {"samples": ["plain", 0], "vae": given["VAEDecode"]["vae"]}
    prompt["decoded"] = {"class_type": "VAEDecode", "inputs": decoded}
    prompt["shown"] = {"class_type": "PreviewImage", "inputs": {"images": ["decoded", 0]}}
    images = server.images(server.run(prompt))
    (custom,) = [i for i, n in prompt.items() if n["class_type"] == "SaveImage"]
    assert np.array_equal(images["shown"][0], images[custom][0])
