"""The example workflows as their users meet them: found, opened and run in a real browser."""

import itertools
import shutil
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from dev.comfyui import REPOSITORY
from dev.templates import load_template, template_names
from prior_tools import load_prior

pytestmark = [pytest.mark.slow, pytest.mark.every_frontend]

COMPARE = "SCP-Diff for SD1.5 (ADE20K)"
BUILD = "Build an SCP prior from a folder"
DEMO = "SCP-Diff demo (no downloads)"
OWN = "SCP-Diff no dataset (demo)"
LABEL_MAPS = REPOSITORY / "weights" / "label_maps"
PRIOR = "ade20k_512x512_sd15.safetensors"

# Pixels of the graph.
GAP = 8
GROUP_TITLE = 24

# What Run does where the batch count is this one.
BATCH = """count => {
    window.done = 0;
    app.api.addEventListener('execution_success', () => { window.done += 1; });
    return app.queuePrompt(0, count); }"""

# Where on the page the title of a group is, by how it begins.
TITLE = """start => {
    const group = app.graph.groups.find(group => group.title.startsWith(start));
    const [x, y] = group.boundingRect;
    return app.canvasPosToClientPos([x + 200, y + 12]); }"""

SHOWN = """() => app.graph.nodes.map(n => ({
    id: Number(n.id), type: n.type, size: [...n.size],
    values: (n.widgets ?? []).filter(w => w.serialize !== false).map(w => w.value)}))"""


def test_the_template_browser_shows_the_packs_workflows(show_templates, screenshot):
    assert sorted(show_templates()) == template_names()
    screenshot("shown")


@pytest.fixture
def assert_laid_out(page: Page, boxes: Callable) -> Callable[[], None]:
    """No two nodes of the graph overlap, and every node but the note lies in one of its groups."""

    def check() -> None:
        nodes = boxes()
        for (one, a), (other, b) in itertools.combinations(nodes.items(), 2):
            apart = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
            assert apart >= GAP, (one, other)
        groups = page.evaluate("app.graph.groups.map(group => [...group.boundingRect])")
        notes = page.evaluate(
            "app.graph.nodes.filter(n => n.type === 'MarkdownNote').map(n => Number(n.id))"
        )
        for node, (left, top, right, bottom) in nodes.items():
            around = [
                (x, y, width, height)
                for x, y, width, height in groups
                if x <= left and y + GROUP_TITLE <= top and right <= x + width
                if bottom <= y + height
            ]
            assert len(around) == (node not in notes), node

    return check


@pytest.mark.own_frontend
@pytest.mark.parametrize("name", template_names())
def test_a_template_opens_whole_and_with_the_values_of_its_file(
    page, open_template, screenshot, name
):
    workflow = open_template(name)
    expect(page.locator(".comfy-missing-nodes")).to_have_count(0)
    expect(page.locator(".comfy-missing-models")).to_have_count(0)
    shown = page.evaluate(SHOWN)
    screenshot("opened")
    shown = {node["id"]: node for node in shown}
    assert set(shown) == {node["id"] for node in workflow["nodes"]}
    for node in workflow["nodes"]:
        now = shown[node["id"]]
        assert now["type"] == node["type"]
        assert now["values"] == (node.get("widgets_values") or []), node["type"]
        # The browser enlarges a node that is too small for its widgets, over its neighbours.
        assert now["size"] == node["size"], node["type"]


@pytest.mark.parametrize("name", template_names())
def test_a_template_has_room_for_its_nodes(page, assert_laid_out, screenshot, name):
    """In nodes of HTML they are taller."""
    workflow = load_template(name)
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    assert_laid_out()
    values = {node["id"]: node["values"] for node in page.evaluate(SHOWN)}
    assert values == {node["id"]: node.get("widgets_values") or [] for node in workflow["nodes"]}
    screenshot("laid-out")


def test_the_templates_run_one_after_the_other(
    page, street, open_template, set_widget, run, pictures, assert_laid_out, screenshot
):
    """First the prior is built, then the other workflow finds it under the name it expects."""
    saved = street.base / "models" / "scp_priors" / PRIOR
    saved.unlink(missing_ok=True)
    open_template(BUILD)
    for side in ("width", "height"):
        set_widget("SCP_BuildPrior", side, 128)
    assert run()["type"] == "execution_success"
    assert saved.exists()
    pictures("Build SCP Prior")
    assert_laid_out()
    screenshot("built")

    open_template(COMPARE)
    for sampler in ("KSampler", "SCP_PartialDenoiseKSampler"):
        set_widget(sampler, "steps", 4)
    assert run()["type"] == "execution_success"
    pictures("Label map", "Label map and draw, stock start and prior start", "The draw, decoded")
    assert_laid_out()
    screenshot("compared")


def test_the_demo_runs_as_it_is_and_shows_both_starts(
    page, frontend, open_template, set_widget, run, pictures, assert_laid_out, screenshot
):
    open_template(DEMO)
    if frontend.newer:
        # Where it runs for the sake of what is shown, a few steps will do.
        for sampler in ("KSampler", "SCP_PartialDenoiseKSampler"):
            set_widget(sampler, "steps", 2)
    assert run()["type"] == "execution_success"
    pictures("Label map", "Prior start", "Stock start")
    # Pictures make nodes of HTML taller.
    assert_laid_out()
    screenshot("demo")


def test_without_a_dataset_a_batch_is_painted_and_the_prior_built_of_it(
    page, street, open_template, set_widget, run, pictures, assert_laid_out, screenshot
):
    """As the note tells; the frontend goes on from label map to label map."""
    saved = street.base / "models" / "scp_priors" / "own_images.safetensors"
    saved.unlink(missing_ok=True)
    folder = street.base / "output" / "own"
    shutil.rmtree(folder, ignore_errors=True)
    open_template(OWN)
    set_widget("KSampler", "steps", 2)
    page.evaluate(BATCH, 3)
    page.wait_for_function("window.done === 3", timeout=90_000)
    pictures("Label map", "Picture", "Its label map")
    assert_laid_out()
    screenshot("painted")
    labels = sorted((folder / "labels").iterdir())
    assert [path.name for path in labels] == [
        path.name for path in sorted((folder / "images").iterdir())
    ]
    for path, own in zip(labels, sorted(LABEL_MAPS.iterdir())[:3], strict=True):
        with Image.open(path) as made, Image.open(own) as packs:
            assert made.convert("RGB").tobytes() == packs.convert("RGB").tobytes()

    for group, choice in (("1. Paint", "Never"), ("2. Build", "Always")):
        x, y = page.evaluate(TITLE, group)
        page.mouse.click(x, y, button="right")
        screenshot(f"menu-{choice}")
        page.get_by_role("menuitem", name=f"Set Group Nodes to {choice}").click()
    assert run()["type"] == "execution_success"
    assert load_prior(saved).num_images == 3
    assert_laid_out()
    screenshot("built")


def test_a_palette_that_does_not_fit_the_label_map_is_said_in_the_browser(
    open_template, set_widget, assert_refused, screenshot
):
    open_template(COMPARE)
    set_widget("SCP_LoadPrior", "prior_name", "scp_diff_demo.safetensors")
    set_widget("SCP_JointPriorNoise", "palette", "cityscapes")
    assert_refused(
        "SCP_JointPriorNoise",
        "in no color of palette 'cityscapes' in 100.0% of its pixels",
        "palette ade20k has 100% of them",
    )
    screenshot("refused")


def test_a_prior_that_is_not_there_is_said_in_the_browser(
    page, open_template, set_widget, assert_refused, screenshot
):
    """What everyone meets who opens the side by side first."""
    open_template(COMPARE)
    set_widget("SCP_LoadPrior", "prior_name", "not_built_yet.safetensors")
    words = "there is no prior 'not_built_yet.safetensors'"
    expect(page.locator(".scp-prior-card:visible")).to_contain_text(words)
    assert_refused("SCP_LoadPrior", words)
    screenshot("refused")
