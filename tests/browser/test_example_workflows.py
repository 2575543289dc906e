"""The example workflows as their users meet them: found, opened and run in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "example_workflows"
COMPARE = "SCP-Diff with an ADE20K segmentation ControlNet (SD1.5)"
BUILD = "Build an SCP prior from a folder"
DEMO = "SCP-Diff demo (no downloads)"
PRIOR = "ade20k_512x512_sd15.safetensors"

# The titles of the nodes that show a picture.
PICTURES = """() => app.graph.nodes
    .filter(n => n.imgs?.length && n.imgs.every(i => i.complete && i.naturalWidth > 0))
    .map(n => n.title)"""


def test_the_template_browser_shows_the_packs_workflows(show_templates, screenshot):
    assert sorted(show_templates()) == sorted(path.stem for path in FOLDER.glob("*.json"))
    screenshot("shown")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_a_template_opens_whole_and_with_the_values_of_its_file(
    page, open_template, screenshot, name
):
    workflow = open_template(name)
    expect(page.locator(".comfy-missing-nodes")).to_have_count(0)
    expect(page.locator(".comfy-missing-models")).to_have_count(0)
    shown = page.evaluate(
        """() => app.graph.nodes.map(n => ({
        id: n.id, type: n.type, size: [...n.size],
        values: (n.widgets ?? []).filter(w => w.serialize !== false).map(w => w.value)}))"""
    )
    screenshot("opened")
    shown = {node["id"]: node for node in shown}
    assert set(shown) == {node["id"] for node in workflow["nodes"]}
    for node in workflow["nodes"]:
        now = shown[node["id"]]
        assert now["type"] == node["type"]
        assert now["values"] == (node.get("widgets_values") or []), node["type"]
        # The browser enlarges a node that is too small for its widgets, over its neighbours.
        assert now["size"] == node["size"], node["type"]


def test_the_templates_run_one_after_the_other(
    page, street, open_template, set_widget, run, screenshot
):
    """First the prior is built, then the other workflow finds it under the name it expects."""
    saved = street.base / "models" / "scp_priors" / PRIOR
    saved.unlink(missing_ok=True)
    open_template(BUILD)
    for side in ("width", "height"):
        set_widget("SCP_BuildPrior", side, 128)
    assert run()["type"] == "execution_success"
    assert saved.exists()
    page.wait_for_function(f"({PICTURES})().length === 1")
    screenshot("built")

    open_template(COMPARE)
    for sampler in ("KSampler", "SCP_PartialDenoiseKSampler"):
        set_widget(sampler, "steps", 4)
    assert run()["type"] == "execution_success"
    page.wait_for_function(f"({PICTURES})().length === 3")
    assert sorted(page.evaluate(PICTURES)) == [
        "Label map",
        "Label map and draw, stock start and prior start",
        "The draw, decoded",
    ]
    screenshot("compared")


def test_the_demo_runs_as_it_is_and_shows_both_starts(page, street, open_template, run, screenshot):
    open_template(DEMO)
    assert run()["type"] == "execution_success"
    page.wait_for_function(f"({PICTURES})().length === 3")
    assert sorted(page.evaluate(PICTURES)) == ["Label map", "Prior start", "Stock start"]
    screenshot("demo")


def test_a_palette_that_does_not_fit_the_label_map_is_said_in_the_browser(
    open_template, set_widget, refused_by, screenshot
):
    open_template(COMPARE)
    set_widget("SCP_JointPriorNoise", "palette", "cityscapes")
    dialog = refused_by("SCP_JointPriorNoise")
    expect(dialog).to_contain_text("is in no color of palette 'cityscapes'")
    expect(dialog).to_contain_text("palette ade20k has 100% of them")
    screenshot("refused")


def test_a_prior_that_is_not_there_is_said_in_the_browser(
    open_template, set_widget, refused_by, screenshot
):
    """What everyone meets who opens the side by side first."""
    open_template(COMPARE)
    set_widget("SCP_LoadPrior", "prior_name", "not_built_yet.safetensors")
    expect(refused_by("SCP_LoadPrior")).to_contain_text("there is no prior 'not_built_yet")
    screenshot("refused")
